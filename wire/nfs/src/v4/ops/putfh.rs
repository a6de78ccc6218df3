//! PUTFH: makes a filehandle the current one.
//!
//! Spec: RFC 8881 §18.19.

use crate::{
    body::{xdr_body, xdr_void},
    v4::Filehandle,
};

/// Which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// As the server gave it.
    pub filehandle: Filehandle,
}

xdr_body! { Args { filehandle } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
