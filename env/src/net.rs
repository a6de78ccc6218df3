//! Byte streams as a trait: connect, listen, read, write. Nothing of RPC.
//!
//! Reads append to a `BytesMut` that the caller sized, writes take a list of buffers: what a large
//! message needs to be received where it stays and sent from where it lies. Both are polls, so that
//! a trait object costs no allocation per call; `read` and `write` on the trait objects make
//! futures of them. Dropping both halves of a stream closes it.
//!
//! INVARIANT: a poll that returns `Pending` has moved no bytes, so a dropped future loses nothing.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BytesMut;

use crate::BoxFuture;

/// A network.
pub trait Net: Send + Sync {
    /// Begins to listen. Port 0 takes a free port; the listener says which.
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;

    /// Opens a stream to a listener.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Stream>>;

    /// Whether this is the machine's own network: all who use it in this process share the memory
    /// of one machine.
    fn is_machine(&self) -> bool {
        false
    }
}

/// Takes connections. Dropping it ends the listening, not the streams it gave.
pub trait Listener: Send {
    /// Where it listens.
    fn local_addr(&self) -> SocketAddr;

    /// The next connection. Dropping the future loses none.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>>;
}

/// Two directions of bytes between two addresses.
pub struct Stream {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// What comes in.
    pub read: Box<dyn StreamRead>,
    /// What goes out.
    pub write: Box<dyn StreamWrite>,
}

/// The incoming half of a stream.
pub trait StreamRead: Send {
    /// Appends at most `bytes_max` received bytes to `buffer` and says how many; 0 is the end of
    /// the stream. Uses the room that the buffer has and grows it only if it has none. `bytes_max`
    /// is above 0.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>>;
}

/// The outgoing half of a stream.
pub trait StreamWrite: Send {
    /// Sends from the front of `buffers` and says how many bytes went.
    fn poll_write(&mut self, context: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
}

impl dyn StreamRead {
    /// [`poll_read`](StreamRead::poll_read) as a future.
    ///
    /// # Errors
    /// What the network says; the stream is of no use after it.
    pub async fn read(&mut self, buffer: &mut BytesMut, bytes_max: usize) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, buffer, bytes_max)).await
    }
}

impl dyn StreamWrite {
    /// [`poll_write`](StreamWrite::poll_write) as a future.
    ///
    /// # Errors
    /// What the network says; the stream is of no use after it.
    pub async fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        poll_fn(|context| self.poll_write(context, buffers)).await
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Stream({} - {})", self.local, self.peer)
    }
}
