//! REMOVEXATTR: removes an extended attribute.
//!
//! Spec: RFC 8276 §8.4.4.

use bytes::Bytes;

use crate::{body::xdr_body, limits::COMPONENT_BYTES_MAX, v4::ChangeInfo};

/// Which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The name, without the "user." of Linux.
    pub name: Bytes,
}

xdr_body! { Args { name: opaque(COMPONENT_BYTES_MAX) } }

/// What became of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Of the object that had the attribute.
    pub change: ChangeInfo,
}

xdr_body! { ResOk { change } }
