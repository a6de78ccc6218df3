//! REMOVE: removes a name from the current directory.
//!
//! Spec: RFC 8881 §18.25.

use bytes::Bytes;

use crate::{body::xdr_body, limits::COMPONENT_BYTES_MAX, v4::ChangeInfo};

/// What.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The name.
    pub name: Bytes,
}

xdr_body! { Args { name: opaque(COMPONENT_BYTES_MAX) } }

/// What became of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Of the current directory.
    pub change: ChangeInfo,
}

xdr_body! { ResOk { change } }
