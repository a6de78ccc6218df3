//! CB_NOTIFY_LOCK: tells that a lock may be had now.
//!
//! Spec: RFC 8881 §20.11.

use crate::{
    body::{xdr_body, xdr_void},
    v4::{Filehandle, owner::StateOwner},
};

/// Which lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The file.
    pub filehandle: Filehandle,
    /// Who wanted it.
    pub owner: StateOwner,
}

xdr_body! { Args { filehandle, owner } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
