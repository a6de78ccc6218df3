//! FREE_STATEID: the client knows that a stateid was revoked, or drops a lock stateid without
//! locks.
//!
//! Spec: RFC 8881 §18.38.

use crate::{
    body::{xdr_body, xdr_void},
    v4::Stateid,
};

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The stateid.
    pub stateid: Stateid,
}

xdr_body! { Args { stateid } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
