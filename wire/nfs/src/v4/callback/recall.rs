//! CB_RECALL: asks for a delegation back.
//!
//! Spec: RFC 8881 §20.2.

use crate::{
    body::{xdr_body, xdr_void},
    v4::{Filehandle, Stateid},
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The delegation.
    pub stateid: Stateid,
    /// The file will be cut to nothing, so its data need not be written back.
    pub truncate: bool,
    /// The file.
    pub filehandle: Filehandle,
}

xdr_body! { Args { stateid, truncate, filehandle } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
