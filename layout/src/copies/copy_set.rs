//! The set of data servers that keep an extent, and its bounds.
//!
//! Spec: docs/protocol/replicate.md.

use serde::{Deserialize, Serialize};

use crate::data_server::DataServerId;
use crate::epoch::Epoch;

/// Replicas of one extent at most.
pub const BACKUPS_MAX: usize = 2;
/// Copies of an extent at most, the primary's included.
pub const COPIES_MAX: usize = 1 + BACKUPS_MAX;

/// A data server that keeps a further copy of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Backup {
    /// Which one.
    pub server: DataServerId,
    /// The extent's epoch when it became a replica this time.
    pub since: Epoch,
    /// It does not hold everything yet.
    pub filling: bool,
}

/// The copies of an extent as they are, or as they should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Who serves it.
    pub home: DataServerId,
    /// Who else keeps it: server, and whether it is still being filled.
    pub backups: Vec<(DataServerId, bool)>,
}

impl Copies {
    /// All servers of the set.
    #[must_use]
    pub fn servers(&self) -> Vec<DataServerId> {
        std::iter::once(self.home).chain(self.backups.iter().map(|(server, _)| *server)).collect()
    }
}
