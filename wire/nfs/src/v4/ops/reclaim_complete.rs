//! RECLAIM_COMPLETE: the client has reclaimed all it wants.
//!
//! Spec: RFC 8881 §18.51.

use crate::body::{xdr_body, xdr_void};

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// Only of the file system of the current filehandle.
    pub one_fs: bool,
}

xdr_body! { Args { one_fs } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
