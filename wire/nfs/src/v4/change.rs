//! `change_info4`: how an operation moved a directory's change attribute.
//!
//! Spec: RFC 8881 §3.3.3.

use wire_xdr::xdr_struct;

/// A directory's change attribute around an operation that modified it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeInfo {
    /// Whether nothing else can have happened between `before` and `after`: a client then keeps its
    /// cache.
    pub atomic: bool,
    /// The change attribute before.
    pub before: u64,
    /// The change attribute after.
    pub after: u64,
}

xdr_struct! { ChangeInfo { atomic, before, after } }
