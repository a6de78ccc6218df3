//! DELEGRETURN: gives a delegation back.
//!
//! Spec: RFC 8881 §18.6.

use crate::{
    body::{xdr_body, xdr_void},
    v4::Stateid,
};

/// What to give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The delegation.
    pub stateid: Stateid,
}

xdr_body! { Args { stateid } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
