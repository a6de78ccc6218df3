//! Why commands are refused.

use mds_namespace::{FsError, StoreError};
use serde::{Deserialize, Serialize};

use super::lock;

/// Why a command was refused. The front maps each to one NFS status (`mds/server/src/status.rs`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The namespace refused it.
    #[error("{0}")]
    Namespace(mds_namespace::FsError),
    /// The client id is unknown (STALE_CLIENTID).
    #[error("unknown client id")]
    StaleClient,
    /// The client still has state or sessions (CLIENTID_BUSY).
    #[error("client still holds state")]
    ClientBusy,
    /// Another principal holds this owner (CLID_INUSE).
    #[error("client owner is in use by another principal")]
    ClientInUse,
    /// An update of a client that does not exist, or whose verifier differs (NOENT / NOT_SAME /
    /// PERM).
    #[error("client to update was not found")]
    NoSuchClient,
    /// The verifier of an update differs (NOT_SAME).
    #[error("client verifier is not the same")]
    NotSame,
    /// CREATE_SESSION's sequence is neither the last nor the next (SEQ_MISORDERED).
    #[error("create-session sequence out of order")]
    Misordered,
    /// RECLAIM_COMPLETE came twice (COMPLETE_ALREADY).
    #[error("reclaim was already complete")]
    CompleteAlready,
    /// A share reservation of another open conflicts (SHARE_DENIED).
    #[error("share reservation conflicts")]
    ShareDenied,
    /// The stateid names nothing (BAD_STATEID).
    #[error("stateid names no state")]
    BadStateid,
    /// The stateid's sequence is behind (OLD_STATEID).
    #[error("stateid is old")]
    OldStateid,
    /// The open does not allow this (OPENMODE).
    #[error("open mode does not allow it")]
    OpenMode,
    /// Locks are held under the state to be freed (LOCKS_HELD).
    #[error("locks are held")]
    LocksHeld,
    /// Another owner's lock conflicts (DENIED).
    #[error("lock is held by another owner")]
    LockDenied(lock::Conflict),
    /// A byte range that is empty or wraps (INVAL).
    #[error("bad byte range")]
    BadRange,
    /// A share mode of zero, or a downgrade that is no subset (INVAL).
    #[error("bad share mode")]
    BadShare,
    /// Reclaim of state that the client does not hold: there is no grace period.
    #[error("nothing to reclaim")]
    NoGrace,
    /// A truncation or fence of the extent is still being carried out (DELAY / LAYOUTTRYLATER).
    #[error("extent is being changed")]
    Busy,
    /// A layout recall is under way (RECALLCONFLICT).
    #[error("layout is being recalled")]
    Recalled,
    /// The content is not where the proposer expected it: it must look it up again and retry.
    #[error("content moved")]
    ContentMoved,
    /// The named extent has no record.
    #[error("no such extent")]
    NoSuchExtent,
    /// A per-client or per-file table is full (RESOURCE / DELAY).
    #[error("a table is full")]
    TableFull,
    /// The session of the request is unknown (BADSESSION).
    #[error("session of the request is unknown")]
    UnknownSession,
    /// The client has moved on, or another server has the session: the proposer is too late.
    #[error("request is superseded")]
    Superseded,
    /// Another request was carried out under this sequence (SEQ_FALSE_RETRY).
    #[error("another request had this sequence")]
    FalseRetry,
    /// A session with bounds that no server negotiates (INVAL).
    #[error("bad session")]
    BadSession,
    /// The session that the command names is unknown (BADSESSION).
    #[error("no such session")]
    NoSuchSession,
    /// A name leads to another inode than when the command was planned: its proposer must look it
    /// up again and retry.
    #[error("names moved")]
    NamesMoved,
}

impl From<FsError> for Refusal {
    fn from(error: FsError) -> Self {
        match error {
            // The front gets one variant for each case, from any module.
            FsError::ContentMoved => Self::ContentMoved,
            FsError::NoSuchExtent => Self::NoSuchExtent,
            FsError::Busy => Self::Busy,
            error => Self::Namespace(error),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Namespace(error.into())
    }
}
