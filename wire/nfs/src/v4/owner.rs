//! `state_owner4`: who opens or locks a file, in the client's own terms.
//!
//! Spec: RFC 8881 §3.3.10.

use bytes::Bytes;

use crate::{body::xdr_body, limits::OPAQUE_BYTES_MAX};

/// An open owner or a lock owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateOwner {
    /// The client. Ignored in NFSv4.1 requests, where the session tells (RFC 8881 §18.16.3).
    pub clientid: u64,
    /// The owner, opaque to the server.
    pub owner: Bytes,
}

xdr_body! { StateOwner { clientid, owner: opaque(OPAQUE_BYTES_MAX) } }
