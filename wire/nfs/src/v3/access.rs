//! ACCESS: what the caller may do with an object.
//!
//! Spec: RFC 1813 §3.3.4.

use wire_xdr::xdr_struct;

use super::{Fattr3, Fh3};

/// Read a file or a directory.
pub const ACCESS3_READ: u32 = 0x0001;
/// Look up a name in a directory.
pub const ACCESS3_LOOKUP: u32 = 0x0002;
/// Write over data or entries that exist.
pub const ACCESS3_MODIFY: u32 = 0x0004;
/// Write new data or add entries.
pub const ACCESS3_EXTEND: u32 = 0x0008;
/// Delete an entry.
pub const ACCESS3_DELETE: u32 = 0x0010;
/// Execute a file.
pub const ACCESS3_EXECUTE: u32 = 0x0020;

/// `ACCESS3args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The object.
    pub object: Fh3,
    /// What is asked about: [`ACCESS3_READ`] and its like.
    pub access: u32,
}

xdr_struct! { Args { object, access } }

/// `ACCESS3resok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// The object's attributes, if the server knows them.
    pub obj_attributes: Option<Fattr3>,
    /// What is allowed of what was asked.
    pub access: u32,
}

xdr_struct! { ResOk { obj_attributes, access } }

/// `ACCESS3res`.
pub type Res = super::Res<ResOk, Option<Fattr3>>;
