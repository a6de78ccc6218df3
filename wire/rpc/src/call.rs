//! The header of a call.
//!
//! Spec: RFC 5531 §9.

use wire_xdr::Writer;

use crate::{Credential, OpaqueAuth, RPC_VERSION};

/// Message type of a call.
pub(crate) const CALL: u32 = 0;

/// What stands in front of a call's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHeader {
    /// Pairs the call with its reply, on one connection and in one direction.
    pub xid: u32,
    /// The remote program.
    pub program: u32,
    /// The version of that program.
    pub version: u32,
    /// The procedure of that program.
    pub procedure: u32,
    /// Who the call is made for.
    pub credential: Credential,
    /// What proves the credential.
    pub verifier: OpaqueAuth,
}

/// Begins a call with an empty verifier; the caller appends the arguments.
///
/// # Panics
/// If a part of the credential is above its bound.
pub fn call(xid: u32, program: u32, version: u32, procedure: u32, credential: &Credential) -> Writer {
    let mut w = Writer::new();
    for word in [xid, CALL, RPC_VERSION, program, version, procedure] {
        w.u32(word);
    }
    credential.encode(&mut w);
    OpaqueAuth::default().encode(&mut w);
    w
}
