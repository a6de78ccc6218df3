//! DEALLOCATE: punches a hole.
//!
//! Spec: RFC 7862 §15.4.

use crate::{
    body::{xdr_body, xdr_void},
    v4::Stateid,
};

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The open, lock or delegation that allows it, or a special stateid.
    pub stateid: Stateid,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

xdr_body! { Args { stateid, offset, length } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
