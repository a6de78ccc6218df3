//! LOOKUP: goes to a name in the current directory.
//!
//! Spec: RFC 8881 §18.13.

use bytes::Bytes;

use crate::{
    body::{xdr_body, xdr_void},
    limits::COMPONENT_BYTES_MAX,
};

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// One component.
    pub name: Bytes,
}

xdr_body! { Args { name: opaque(COMPONENT_BYTES_MAX) } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
