//! DESTROY_CLIENTID: the client goes away.
//!
//! Spec: RFC 8881 §18.50.

use crate::body::{xdr_body, xdr_void};

/// Who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// From EXCHANGE_ID.
    pub clientid: u64,
}

xdr_body! { Args { clientid } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
