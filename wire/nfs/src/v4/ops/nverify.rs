//! NVERIFY: goes on if the attributes differ.
//!
//! Spec: RFC 8881 §18.15.

use crate::{
    body::{xdr_body, xdr_void},
    v4::Fattr4,
};

/// What to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// NFS4ERR_SAME if the object has all of them.
    pub attributes: Fattr4,
}

xdr_body! { Args { attributes } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
