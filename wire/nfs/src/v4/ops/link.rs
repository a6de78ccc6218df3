//! LINK: makes a hard link, in the current directory, to the saved file.
//!
//! Spec: RFC 8881 §18.9.

use bytes::Bytes;

use crate::{body::xdr_body, limits::COMPONENT_BYTES_MAX, v4::ChangeInfo};

/// Where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The new name.
    pub name: Bytes,
}

xdr_body! { Args { name: opaque(COMPONENT_BYTES_MAX) } }

/// What became of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Of the directory that has the new name.
    pub change: ChangeInfo,
}

xdr_body! { ResOk { change } }
