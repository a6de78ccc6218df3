//! ACCESS: which kinds of access the caller would have.
//!
//! Spec: RFC 8881 §18.1; RFC 8276 §8.5.

use crate::body::xdr_body;

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// Bits of [`bits`].
    pub access: u32,
}

xdr_body! { Args { access } }

/// What is granted, of what can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// The bits that the server could check.
    pub supported: u32,
    /// The bits among them that are granted.
    pub access: u32,
}

xdr_body! { ResOk { supported, access } }

/// Kinds of access.
pub mod bits {
    /// Read a file, list a directory.
    pub const READ: u32 = 0x001;
    /// Look up a name in a directory.
    pub const LOOKUP: u32 = 0x002;
    /// Rewrite existing data or change existing entries.
    pub const MODIFY: u32 = 0x004;
    /// Write new data or add entries.
    pub const EXTEND: u32 = 0x008;
    /// Delete an entry.
    pub const DELETE: u32 = 0x010;
    /// Execute a file.
    pub const EXECUTE: u32 = 0x020;
    /// Read extended attributes (RFC 8276 §8.5).
    pub const XATTR_READ: u32 = 0x040;
    /// Write extended attributes.
    pub const XATTR_WRITE: u32 = 0x080;
    /// List extended attributes.
    pub const XATTR_LIST: u32 = 0x100;
}
