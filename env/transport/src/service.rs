//! What a server, or a client that lets itself be called back, does with a call.

use std::net::SocketAddr;

use env::BoxFuture;
use wire_rpc::CallHeader;
use wire_xdr::{Reader, Writer};

use crate::{Connection, Room};

/// One call that came in.
#[derive(Debug)]
pub struct Call {
    /// Program, version, procedure, credential.
    pub header: CallHeader,
    /// Stands at the arguments.
    pub args: Reader,
    /// Bytes of the whole record, header included.
    pub record_bytes: usize,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Monotonic milliseconds when it was complete.
    pub received_ms: u64,
}

/// What comes of a call.
#[derive(Debug)]
pub enum Answer {
    /// A whole reply message, header included: see `wire_rpc::reply`.
    Reply(Writer),
    /// The same, with the room that was taken before it was made
    /// ([`reserve`](crate::Connection::reserve)). A little more than that, such as headers, counts
    /// as nothing.
    Reserved(Writer, Room),
    /// The caller is not worth talking to.
    CloseConnection,
    /// No reply. The caller may wait for ever, so this is right only where the protocol wants
    /// silence.
    None,
}

/// Answers calls. Calls of one connection run concurrently, each in its own task; a call goes on
/// when its connection is gone, and its answer is then dropped.
pub trait Service: Send + Sync + 'static {
    /// Answers one call. The returned future must not block its thread.
    ///
    /// If it panics, the connection is closed, so that the caller does not wait for ever.
    fn call(&self, call: Call, connection: &Connection) -> BoxFuture<'static, Answer>;

    /// The connection is gone. Called once for each connection, also if it never brought a call;
    /// calls of it may still be running.
    fn closed(&self, connection_id: u64) {
        let _ = connection_id;
    }
}
