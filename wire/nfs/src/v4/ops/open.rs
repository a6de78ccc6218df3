//! OPEN: opens a regular file, and makes it if that is wanted.
//!
//! Spec: RFC 8881 §18.16.

use crate::{
    body::xdr_body,
    v4::{Bitmap, ChangeInfo, Stateid, owner::StateOwner},
};

mod claim;
mod delegation;
mod how;
pub mod share;

pub use claim::{Claim, DelegationType};
pub use delegation::{Ace, Delegation, ReadDelegation, SpaceLimit, WhyNoDelegation, WriteDelegation};
pub use how::{CreateHow, OpenHow};

/// Flags of the result.
pub mod result_flags {
    /// The open has to be confirmed. Never in NFSv4.1.
    pub const CONFIRM: u32 = 0x02;
    /// Locks behave as POSIX wants.
    pub const LOCKTYPE_POSIX: u32 = 0x04;
    /// The file stays as long as it is open, even if its last name is removed.
    pub const PRESERVE_UNLINKED: u32 = 0x08;
    /// The server may send CB_NOTIFY_LOCK.
    pub const MAY_NOTIFY_LOCK: u32 = 0x20;
}

/// What to open, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// Ignored in NFSv4.1.
    pub seqid: u32,
    /// The access, with what is wanted of delegations: see [`share`].
    pub share_access: u32,
    /// The access that others are denied.
    pub share_deny: u32,
    /// Who opens.
    pub owner: StateOwner,
    /// Whether the file is made.
    pub how: OpenHow,
    /// Which file, and by what right.
    pub claim: Claim,
}

xdr_body! { Args { seqid, share_access, share_deny, owner, how, claim } }

/// The open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// Its stateid.
    pub stateid: Stateid,
    /// Of the directory. Means nothing if no name was given.
    pub change: ChangeInfo,
    /// Bits of [`result_flags`].
    pub flags: u32,
    /// The attributes that were set while making the file.
    pub attrs_set: Bitmap,
    /// A delegation, or why there is none.
    pub delegation: Delegation,
}

xdr_body! { ResOk { stateid, change, flags, attrs_set, delegation } }
