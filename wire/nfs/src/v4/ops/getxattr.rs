//! GETXATTR: reads an extended attribute.
//!
//! Spec: RFC 8276 §8.4.1.

use bytes::Bytes;

use crate::{
    body::xdr_body,
    limits::{COMPONENT_BYTES_MAX, XATTR_VALUE_BYTES_MAX},
};

/// Which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The name, without the "user." of Linux.
    pub name: Bytes,
}

xdr_body! { Args { name: opaque(COMPONENT_BYTES_MAX) } }

/// What it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// The value.
    pub value: Bytes,
}

xdr_body! { ResOk { value: opaque(XATTR_VALUE_BYTES_MAX) } }
