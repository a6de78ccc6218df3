//! LOOKUPP: makes the parent directory the current filehandle. Nothing in, nothing out.
//!
//! Spec: RFC 8881 §18.14.

use crate::body::xdr_void;

/// No arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Args;

xdr_void! { Args }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
