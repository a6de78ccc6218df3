//! Commands about byte-range locks: LOCK, LOCKU, FREE_STATEID.
//!
//! Spec: RFC 8881 §9, §18.10, §18.12, §18.38.

use mds_namespace::Ino;
use serde::{Deserialize, Serialize};

use crate::stateid::StateidValue;

/// A byte range. `length_bytes` of `u64::MAX` means to the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First byte.
    pub offset_bytes: u64,
    /// Number of bytes; `u64::MAX` for all that follow.
    pub length_bytes: u64,
}

/// LOCK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Client id.
    pub client: u64,
    /// The file of the current filehandle.
    pub ino: Ino,
    /// A write lock; else a read lock.
    pub exclusive: bool,
    /// The range to lock.
    pub range: Range,
    /// The lock's owner and stateid.
    pub locker: Locker,
}

/// The two ways LOCK names its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Locker {
    /// First lock of this lock-owner on the file.
    New {
        /// The open it belongs to.
        open: StateidValue,
        /// Lock-owner, opaque.
        #[serde(with = "serde_bytes")]
        owner: Vec<u8>,
    },
    /// A further lock under an existing lock stateid.
    Existing {
        /// The lock stateid.
        stateid: StateidValue,
    },
}

/// The lock that conflicts with a lock (`LOCK4denied`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The conflicting range.
    pub range: Range,
    /// True for a write lock.
    pub exclusive: bool,
    /// Its client.
    pub client: u64,
    /// Its lock-owner.
    #[serde(with = "serde_bytes")]
    pub owner: Vec<u8>,
}

/// LOCKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlock {
    /// Client id.
    pub client: u64,
    /// The file of the current filehandle.
    pub ino: Ino,
    /// The lock stateid.
    pub stateid: StateidValue,
    /// The range to release.
    pub range: Range,
}

/// FREE_STATEID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeStateid {
    /// Client id.
    pub client: u64,
    /// A lock stateid without locks, or a revoked one.
    pub stateid: StateidValue,
}
