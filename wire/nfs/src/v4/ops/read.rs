//! READ: reads data through the metadata server.
//!
//! Spec: RFC 8881 §18.22.

use bytes::Bytes;

use crate::{body::xdr_body, limits::IO_BYTES_MAX, v4::Stateid};

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The open, lock or delegation that allows it, or a special stateid.
    pub stateid: Stateid,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub count: u32,
}

xdr_body! { Args { stateid, offset, count } }

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// Whether the data reaches the end of the file.
    pub eof: bool,
    /// At most as many bytes as asked for.
    pub data: Bytes,
}

xdr_body! { ResOk { eof, data: opaque(IO_BYTES_MAX) } }
