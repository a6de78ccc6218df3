//! BIND_CONN_TO_SESSION: gives a connection to a session, forwards, backwards or both.
//!
//! Spec: RFC 8881 §18.34.

use crate::{body::xdr_body, enumeration::xdr_enum, v4::SessionId};

/// What to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    /// The session.
    pub session: SessionId,
    /// Which channels.
    pub direction: DirectionAsked,
    /// Use the connection in RDMA mode.
    pub rdma_mode: bool,
}

xdr_body! { Args { session, direction, rdma_mode } }

/// What was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// The session.
    pub session: SessionId,
    /// Which channels.
    pub direction: DirectionGranted,
    /// Whether the connection is in RDMA mode.
    pub rdma_mode: bool,
}

xdr_body! { ResOk { session, direction, rdma_mode } }

xdr_enum! {
    /// The channels that a client wants a connection for.
    pub enum DirectionAsked, "channel_dir_from_client4" {
        /// Requests of the client.
        Fore = 1,
        /// Requests of the server.
        Back = 2,
        /// Requests of the client, the server's too if that is possible. QUIRK(linux): asks for
        /// this, and binds again and again unless the answer is both.
        ForeOrBoth = 3,
        /// Requests of the server, the client's too if that is possible.
        BackOrBoth = 7,
    }
}

xdr_enum! {
    /// The channels that a server uses a connection for.
    pub enum DirectionGranted, "channel_dir_from_server4" {
        /// Requests of the client.
        Fore = 1,
        /// Requests of the server.
        Back = 2,
        /// Requests of both.
        Both = 3,
    }
}
