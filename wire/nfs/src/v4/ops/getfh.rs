//! GETFH: tells the current filehandle.
//!
//! Spec: RFC 8881 §18.8.

use crate::{
    body::{xdr_body, xdr_void},
    v4::Filehandle,
};

/// No arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Args;

xdr_void! { Args }

/// The current filehandle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// Opaque to the client.
    pub filehandle: Filehandle,
}

xdr_body! { ResOk { filehandle } }
