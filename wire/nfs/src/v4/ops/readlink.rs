//! READLINK: reads a symbolic link.
//!
//! Spec: RFC 8881 §18.24.

use bytes::Bytes;

use crate::{
    body::{xdr_body, xdr_void},
    limits::LINK_TEXT_BYTES_MAX,
};

/// No arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Args;

xdr_void! { Args }

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// The target.
    pub link: Bytes,
}

xdr_body! { ResOk { link: opaque(LINK_TEXT_BYTES_MAX) } }
