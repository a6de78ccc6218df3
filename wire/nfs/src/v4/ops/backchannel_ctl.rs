//! BACKCHANNEL_CTL: changes how the server calls the client back.
//!
//! Spec: RFC 8881 §18.33.

use crate::{
    body::{xdr_body, xdr_void},
    limits::CALLBACK_SEC_PARMS_MAX,
    v4::callback_sec::CallbackSec,
};

/// How to call back from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The RPC program number of the callbacks.
    pub cb_program: u32,
    /// The credentials the client accepts, best first.
    pub sec_parms: Vec<CallbackSec>,
}

xdr_body! { Args { cb_program, sec_parms: list(CALLBACK_SEC_PARMS_MAX) } }

/// No result but the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResOk;

xdr_void! { ResOk }
