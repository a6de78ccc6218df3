//! Where one extent of a file lives, and under which epoch it may be written.

use layout::{DataServerId, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

/// Where one extent of a file lives. Made by `op::extent::allocate`, removed with its file; a truncation keeps it, so
/// that an epoch is never used twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentRecord {
    /// Which extent.
    pub extent: ExtentId,
    /// The data server that serves it.
    pub home: DataServerId,
    /// Raised whenever who may write changes; handles of an older epoch are refused.
    pub epoch: Epoch,
    /// The work item its home must carry out before new handles may be given out.
    pub pending_work: Option<u64>,
}
