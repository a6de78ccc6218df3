//! The bits of `share_access` and `share_deny`.
//!
//! Spec: RFC 8881 §18.16.1, §18.16.3.

/// Open for reading.
pub const ACCESS_READ: u32 = 1;
/// Open for writing.
pub const ACCESS_WRITE: u32 = 2;
/// Open for both.
pub const ACCESS_BOTH: u32 = 3;
/// The bits of the access itself.
pub const ACCESS_MASK: u32 = 3;

/// Deny others nothing.
pub const DENY_NONE: u32 = 0;
/// Deny others reading.
pub const DENY_READ: u32 = 1;
/// Deny others writing.
pub const DENY_WRITE: u32 = 2;
/// Deny others both.
pub const DENY_BOTH: u32 = 3;

/// The bits that say which delegation is wanted.
pub const WANT_DELEG_MASK: u32 = 0xff00;
/// Any, or none.
pub const WANT_NO_PREFERENCE: u32 = 0x0000;
/// A read delegation.
pub const WANT_READ_DELEG: u32 = 0x0100;
/// A write delegation.
pub const WANT_WRITE_DELEG: u32 = 0x0200;
/// Either.
pub const WANT_ANY_DELEG: u32 = 0x0300;
/// None.
pub const WANT_NO_DELEG: u32 = 0x0400;
/// None, and an earlier wish is withdrawn.
pub const WANT_CANCEL: u32 = 0x0500;
/// Tell the client when there is room for a delegation.
pub const WANT_SIGNAL_DELEG_WHEN_RESRC_AVAIL: u32 = 0x1_0000;
/// Send the delegation when no other client wants the file.
pub const WANT_PUSH_DELEG_WHEN_UNCONTENDED: u32 = 0x2_0000;
/// The delegation may cover the times too (RFC 9754 §5).
pub const WANT_DELEG_TIMESTAMPS: u32 = 0x10_0000;
/// Either an open stateid or a delegation will do (RFC 9754 §4).
pub const WANT_OPEN_XOR_DELEGATION: u32 = 0x20_0000;

/// The access without the wishes: 0 to 3. 0 is INVAL.
#[must_use]
pub const fn access(share_access: u32) -> u32 {
    share_access & ACCESS_MASK
}

/// Whether the client says anything of delegations: then NONE_EXT may answer it (RFC 8881
/// §18.16.3).
#[must_use]
pub const fn has_wishes(share_access: u32) -> bool {
    share_access & WANT_DELEG_MASK != WANT_NO_PREFERENCE
}
