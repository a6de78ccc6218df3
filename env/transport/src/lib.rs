//! ONC RPC over byte streams: a server, a client, and calls in both directions on one connection.
//!
//! [`serve`] listens and hands each call to a [`Service`] in a task of its own; [`RpcClient`]
//! connects when it is first needed, again after a failure, and runs many calls at once on one
//! connection. Both sides drive the same kind of [`Connection`], so a server can call its client
//! back. Which program is served, who may call and what a call means is the service's business.
//!
//! Back-pressure instead of queues: a connection with too many calls under way is not read from, a
//! full write queue makes answers wait, and a peer that stops taking bytes is cut. Bytes in flight
//! are bounded over all connections, in both directions, with a share for each address
//! (`budget.rs`). Every bound is in [`Limits`].
//!
//! INVARIANT: every call that a service accepted is answered, or its connection is closed; no
//! caller waits for ever.
//! INVARIANT: bytes of a large record are moved once by us, from the socket to the buffer they stay
//! in.
//! Spec: RFC 5531 §9, §11; RFC 8881 §2.10.3.1 (calls in both directions).

#![forbid(unsafe_code)]

mod activity;
mod budget;
mod client;
mod connection;
mod door;
mod error;
mod limits;
mod link;
mod log_rate;
mod outbox;
mod pending;
mod server;
mod service;

pub use budget::Room;
pub use client::{Hello, Renewal, RpcClient};
pub use connection::Connection;
pub use error::CallError;
pub use limits::{
    ADDRESS_SHARE, CONNECT_MS_MAX, CUT_STALL_MS_MIN, DATA_BYTES_MAX, EXCESS_SHARE, FIRST_SHARE, Limits,
    MESSAGE_MS_MAX, METADATA_BYTES_MAX, PRESSED_STALL_MS_MAX, RECORD_MS_MAX, RECORD_STALL_MS_MAX,
    SHUTDOWN_MS_MAX, STANDING_STALL_MS_MAX, Traffic, WRITE_BATCH_MESSAGES_MAX, WRITE_BUFFERS_MAX,
    WRITE_STALL_MS_MAX,
};
pub use log_rate::LogRate;
pub use server::{Server, serve};
pub use service::{Answer, Call, Service};
