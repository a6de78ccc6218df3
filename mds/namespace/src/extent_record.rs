//! Where one extent of a file lives, and under which epoch it may be written.

use layout::copies::Copies;
use layout::ec::Profile;
use layout::{Backup, DataServerId, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

/// Where one extent of a file lives. Made by `op::extent::allocate`, removed with its file; a
/// truncation keeps it, so that an epoch is never used twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentRecord {
    /// Which extent.
    pub extent: ExtentId,
    /// The data server that serves it.
    pub home: DataServerId,
    /// The data servers that keep further copies, at most [`layout::copies::BACKUPS_MAX`].
    pub backups: Vec<Backup>,
    /// Raised whenever who may write, or where the copies are, changes; handles of an older epoch
    /// are refused.
    pub epoch: Epoch,
    /// The work item its primary must carry out before new handles may be given out.
    pub pending_work: Option<u64>,
    /// The erasure code that it is to be sealed under: that of the export it was made through, if
    /// that has one of its own; `None` is the cluster's. Never changes.
    pub code: Option<Profile>,
    /// No primary has promised yet that any byte of it is on stable storage, nor may promise it
    /// before the log says otherwise. Once false it stays so.
    ///
    /// Spec: docs/protocol/seal.md §12.
    // Answers that are kept for a request that is sent again do not say it: no caller decides by
    // it.
    #[serde(skip)]
    pub unpromised: bool,
}

impl ExtentRecord {
    /// Where its copies are, for a decision.
    #[must_use]
    pub fn copies(&self) -> Copies {
        let backups = self.backups.iter().map(|backup| (backup.server, backup.filling)).collect();
        Copies { home: self.home, backups }
    }

    /// All data servers that keep it, the primary first.
    pub fn servers(&self) -> impl Iterator<Item = DataServerId> + '_ {
        std::iter::once(self.home).chain(self.backups.iter().map(|backup| backup.server))
    }
}
