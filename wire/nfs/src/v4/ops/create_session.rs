//! CREATE_SESSION: makes a session, and confirms a client id with the first.
//!
//! Spec: RFC 8881 §18.36.

use crate::{
    body::xdr_body,
    limits::{CALLBACK_SEC_PARMS_MAX, RDMA_IRD_MAX},
    v4::{SessionId, callback_sec::CallbackSec},
};

/// Flags of request and reply.
pub mod flags {
    /// The reply cache outlives the server.
    pub const PERSIST: u32 = 1;
    /// This connection carries callbacks too.
    pub const CONN_BACK_CHAN: u32 = 2;
    /// This connection goes over to RDMA.
    pub const CONN_RDMA: u32 = 4;
}

/// The bounds of one channel of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelAttrs {
    /// Bytes of padding in front of data.
    pub header_pad_bytes: u32,
    /// Bytes of the largest request.
    pub request_bytes_max: u32,
    /// Bytes of the largest reply.
    pub response_bytes_max: u32,
    /// Bytes of the largest reply that is kept for a retry.
    pub response_cached_bytes_max: u32,
    /// Operations of a compound.
    pub operations_max: u32,
    /// Slots.
    pub requests_max: u32,
    /// RDMA read credits; at most one value.
    pub rdma_ird: Vec<u32>,
}

xdr_body! {
    ChannelAttrs {
        header_pad_bytes,
        request_bytes_max,
        response_bytes_max,
        response_cached_bytes_max,
        operations_max,
        requests_max,
        rdma_ird: list(RDMA_IRD_MAX),
    }
}

/// The session that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// From EXCHANGE_ID.
    pub clientid: u64,
    /// From EXCHANGE_ID, and one more with each session: this operation has a slot of its own.
    pub sequence: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// The client's requests.
    pub fore: ChannelAttrs,
    /// The server's requests.
    pub back: ChannelAttrs,
    /// The RPC program number of the callbacks.
    pub cb_program: u32,
    /// The credentials the client accepts in callbacks, best first.
    pub sec_parms: Vec<CallbackSec>,
}

xdr_body! {
    Args { clientid, sequence, flags, fore, back, cb_program, sec_parms: list(CALLBACK_SEC_PARMS_MAX) }
}

/// The session that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResOk {
    /// Its name.
    pub session: SessionId,
    /// As asked.
    pub sequence: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// The client's requests.
    pub fore: ChannelAttrs,
    /// The server's requests.
    pub back: ChannelAttrs,
}

xdr_body! { ResOk { session, sequence, flags, fore, back } }
