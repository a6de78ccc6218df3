//! LOCKT: asks whether a lock could be had. Its DENIED carries a
//! [`lock::Denied`](super::lock::Denied).
//!
//! Spec: RFC 8881 §18.11.

use crate::{
    body::{xdr_body, xdr_void},
    v4::{ops::lock::LockType, owner::StateOwner},
};

/// What might be locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// How.
    pub lock_type: LockType,
    /// First byte.
    pub offset: u64,
    /// Bytes; all ones is up to the end.
    pub length: u64,
    /// Whose own locks are not in the way.
    pub owner: StateOwner,
}

xdr_body! { Args { lock_type, offset, length, owner } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
