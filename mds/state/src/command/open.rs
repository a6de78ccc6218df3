//! Commands about opens: OPEN, OPEN_DOWNGRADE, CLOSE.
//!
//! Spec: RFC 8881 §9, §18.2, §18.16, §18.18.

use mds_namespace::{Caller, DirectoryChange, Ino, Inode, SetAttributes};
use serde::{Deserialize, Serialize};

use crate::stateid::StateidValue;

/// Share access and deny bits: 1 read, 2 write (RFC 8881 §18.16.1), without the WANT bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Access of the open.
    pub access: u32,
    /// Access that it denies to other opens.
    pub deny: u32,
}

/// OPEN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Client id.
    pub client: u64,
    /// Open-owner, opaque.
    #[serde(with = "serde_bytes")]
    pub owner: Vec<u8>,
    /// The caller.
    pub caller: Caller,
    /// Access and deny.
    pub share: Share,
    /// Which file.
    pub target: Target,
}

/// The file that an OPEN names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// CLAIM_NULL without creation.
    Name {
        /// Directory.
        directory: Ino,
        /// Name in it.
        #[serde(with = "serde_bytes")]
        name: Vec<u8>,
    },
    /// CLAIM_NULL with creation.
    Create {
        /// Directory.
        directory: Ino,
        /// Name in it.
        #[serde(with = "serde_bytes")]
        name: Vec<u8>,
        /// How.
        how: How,
        /// Attributes for a new file; of an existing one only the size applies (UNCHECKED with size
        /// 0).
        attributes: SetAttributes,
    },
    /// CLAIM_FH; also CLAIM_PREVIOUS, which only confirms an existing open of the same owner again,
    /// if that has the access it claims.
    Handle {
        /// The file.
        ino: Ino,
        /// True for CLAIM_PREVIOUS.
        reclaim: bool,
    },
    /// CLAIM_NULL for a name in the directory of another shard: the governor has looked it up, and
    /// its lock keeps the name unchanged meanwhile.
    Foreign {
        /// The file.
        ino: Ino,
        /// The open truncates it to zero bytes.
        truncate: bool,
        /// The same request made the file (EXCLUSIVE4, EXCLUSIVE4_1), so it may be opened whatever
        /// its mode.
        made: bool,
    },
}

/// How a file is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// Open the existing file, or make one.
    Unchecked,
    /// Refuse if it exists.
    Guarded,
    /// Refuse if it exists unless it was made with this verifier (EXCLUSIVE4 and EXCLUSIVE4_1).
    Exclusive([u8; 8]),
}

/// Answer to [`Open`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The open stateid.
    pub stateid: StateidValue,
    /// The file afterwards.
    pub inode: Inode,
    /// The directory's change counter (equal values where nothing changed; zero for
    /// `Target::Handle`).
    pub directory: DirectoryChange,
    /// A new file was made.
    pub created: bool,
    /// An existing file was truncated (UNCHECKED with a size): extents whose data servers must
    /// still be notified.
    pub truncated: Option<super::namespace::Truncation>,
}

/// OPEN_DOWNGRADE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDowngrade {
    /// Client id.
    pub client: u64,
    /// The file of the current filehandle.
    pub ino: Ino,
    /// The open stateid.
    pub stateid: StateidValue,
    /// The share mode that remains.
    pub share: Share,
}

/// CLOSE. Removes the locks under the open; refused with `LocksHeld` only where the RFC leaves no
/// choice (we drop them).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// Client id.
    pub client: u64,
    /// The file of the current filehandle.
    pub ino: Ino,
    /// The open stateid.
    pub stateid: StateidValue,
}
