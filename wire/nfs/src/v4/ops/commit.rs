//! COMMIT: puts unstable writes on stable storage.
//!
//! Spec: RFC 8881 §18.3.

use crate::{body::xdr_body, v4::Verifier};

/// What to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 is up to the end.
    pub count: u32,
}

xdr_body! { Args { offset, count } }

/// What it was committed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// Differs from that of a WRITE if its data may have been lost.
    pub verifier: Verifier,
}

xdr_body! { ResOk { verifier } }
