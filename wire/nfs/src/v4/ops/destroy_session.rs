//! DESTROY_SESSION: ends a session.
//!
//! Spec: RFC 8881 §18.37.

use crate::{
    body::{xdr_body, xdr_void},
    v4::SessionId,
};

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The session.
    pub session: SessionId,
}

xdr_body! { Args { session } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
