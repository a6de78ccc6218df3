//! CB_RECALL_ANY: asks for some delegations or layouts back; which, the client chooses.
//!
//! Spec: RFC 8881 §20.6; RFC 8435 §13.

use crate::{
    body::{xdr_body, xdr_void},
    v4::Bitmap,
};

/// Kinds of objects, as numbers in a bitmap.
pub mod kinds {
    /// Read delegations.
    pub const READ_DELEGATION: u32 = 0;
    /// Write delegations.
    pub const WRITE_DELEGATION: u32 = 1;
    /// Directory delegations.
    pub const DIRECTORY_DELEGATION: u32 = 2;
    /// Layouts of the files type.
    pub const FILE_LAYOUT: u32 = 3;
    /// Flexible-files layouts to read (RFC 8435 §13).
    pub const FLEX_FILES_READ: u32 = 16;
    /// Flexible-files layouts to read and write.
    pub const FLEX_FILES_RW: u32 = 17;
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// How many objects the client may keep.
    pub objects_to_keep: u32,
    /// Of which kinds: numbers of [`kinds`].
    pub kinds: Bitmap,
}

xdr_body! { Args { objects_to_keep, kinds } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
