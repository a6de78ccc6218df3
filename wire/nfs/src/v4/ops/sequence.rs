//! SEQUENCE: the first operation of a compound in a session; names the slot and renews the lease.
//!
//! Spec: RFC 8881 §18.46.

use crate::{body::xdr_body, v4::SessionId};

/// Which request this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The session.
    pub session: SessionId,
    /// One more than the last on this slot, or the same in a retry.
    pub sequenceid: u32,
    /// The slot.
    pub slotid: u32,
    /// The highest slot on which the client has a request.
    pub highest_slotid: u32,
    /// The reply has to be kept for a retry.
    pub cache_this: bool,
}

xdr_body! { Args { session, sequenceid, slotid, highest_slotid, cache_this } }

/// The same again, and how the client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// As asked.
    pub session: SessionId,
    /// As asked.
    pub sequenceid: u32,
    /// As asked.
    pub slotid: u32,
    /// The highest slot that the server keeps.
    pub highest_slotid: u32,
    /// The highest slot that the server wants the client to use.
    pub target_highest_slotid: u32,
    /// Bits of [`status_flags`].
    pub status_flags: u32,
}

xdr_body! { ResOk { session, sequenceid, slotid, highest_slotid, target_highest_slotid, status_flags } }

/// What the client should know of its state (RFC 8881 §18.46.3).
pub mod status_flags {
    /// No callback path to the client.
    pub const CB_PATH_DOWN: u32 = 0x0001;
    /// GSS contexts of the callback path expire soon.
    pub const CB_GSS_CONTEXTS_EXPIRING: u32 = 0x0002;
    /// GSS contexts of the callback path have expired.
    pub const CB_GSS_CONTEXTS_EXPIRED: u32 = 0x0004;
    /// The lease expired and all state is gone.
    pub const EXPIRED_ALL_STATE_REVOKED: u32 = 0x0008;
    /// The lease expired and some state is gone.
    pub const EXPIRED_SOME_STATE_REVOKED: u32 = 0x0010;
    /// State was revoked by the administrator.
    pub const ADMIN_STATE_REVOKED: u32 = 0x0020;
    /// Delegations or layouts were revoked because they were not returned.
    pub const RECALLABLE_STATE_REVOKED: u32 = 0x0040;
    /// Responsibility for some file system has moved.
    pub const LEASE_MOVED: u32 = 0x0080;
    /// The server lost state: reclaim.
    pub const RESTART_RECLAIM_NEEDED: u32 = 0x0100;
    /// No callback path on this session.
    pub const CB_PATH_DOWN_SESSION: u32 = 0x0200;
    /// The backchannel's sequence is broken.
    pub const BACKCHANNEL_FAULT: u32 = 0x0400;
    /// Device ids have changed.
    pub const DEVID_CHANGED: u32 = 0x0800;
    /// Device ids were deleted.
    pub const DEVID_DELETED: u32 = 0x1000;
}
