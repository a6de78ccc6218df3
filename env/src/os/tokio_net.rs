//! TCP through tokio.
//!
//! Sockets send without delay (a reply is never worth waiting for a fuller packet), rebind at once
//! after a restart, and probe a silent peer so that a vanished machine is noticed.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::GuardLine;
use crate::BoxFuture;
use crate::net::{Listener, Net, Stream, StreamRead, StreamWrite};

/// Connections that the kernel keeps before they are accepted: a whole cluster of clients comes
/// back at once.
const BACKLOG: u32 = 1024;

/// Seconds of silence before the first probe, between probes, and the number of probes without an
/// answer.
const KEEPALIVE: [(libc::c_int, libc::c_int); 3] =
    [(libc::TCP_KEEPIDLE, 30), (libc::TCP_KEEPINTVL, 10), (libc::TCP_KEEPCNT, 3)];

/// The machine's TCP. Needs a tokio runtime with I/O.
#[derive(Clone, Default)]
pub struct TokioNet {
    guard: GuardLine,
}

impl TokioNet {
    /// Opens nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new); connections that are accepted at service addresses outlive this
    /// process for a moment.
    pub fn guarded(guard: GuardLine) -> Self {
        Self { guard }
    }
}

impl Net for TokioNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let guard = self.guard.clone();
        Box::pin(async move {
            let socket = socket(addr)?;
            socket.set_reuseaddr(true)?;
            socket.bind(addr)?;
            let listener = socket.listen(BACKLOG)?;
            let local = listener.local_addr()?;
            Ok(Box::new(TcpDoor { listener, local, guard }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        Box::pin(async move { stream(socket(addr)?.connect(addr).await?, &GuardLine::default()) })
    }

    fn is_machine(&self) -> bool {
        true
    }
}

/// A socket that probes silent peers. What a listener accepts has the listener's options.
fn socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(true)?;
    for (option, value) in KEEPALIVE {
        let bytes = libc::socklen_t::try_from(size_of_val(&value)).expect("an int is small");
        // SAFETY: the descriptor is open while `socket` lives; `value` is a live int and its own
        // size is passed with it.
        let done = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const value).cast(), bytes)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(socket)
}

/// A connection that was made elsewhere, from an address or port that [`Net::connect`] does not
/// choose.
///
/// # Errors
/// If the connection has ended already.
pub fn connected(socket: TcpStream) -> io::Result<Stream> {
    stream(socket, &GuardLine::default())
}

fn stream(stream: TcpStream, guard: &GuardLine) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    let guarded = guard.guard(local.ip(), stream.as_fd());
    let (half, write) = stream.into_split();
    Ok(Stream { local, peer, read: Box::new(TcpRead { half, guarded }), write: Box::new(TcpWrite(write)) })
}

struct TcpDoor {
    listener: TcpListener,
    local: SocketAddr,
    guard: GuardLine,
}

impl Listener for TcpDoor {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { stream(self.listener.accept().await?.0, &self.guard) })
    }
}

struct TcpRead {
    half: OwnedReadHalf,
    /// Another process has a duplicate of the socket.
    guarded: bool,
}

impl Drop for TcpRead {
    fn drop(&mut self) {
        if self.guarded {
            // The other half does the same for what is sent; then the guard sees that the socket is
            // over, and lets it go.
            // SAFETY: the descriptor is open while the half lives. An error is the connection's
            // end, which is what is wanted.
            let _ = unsafe { libc::shutdown(self.half.as_ref().as_raw_fd(), libc::SHUT_RD) };
        }
    }
}

impl StreamRead for TcpRead {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        // The future holds nothing between polls, so one per poll reads straight into the buffer's
        // room.
        let mut room = buffer.limit(bytes_max);
        pin!(self.half.read_buf(&mut room)).poll(context)
    }
}

struct TcpWrite(OwnedWriteHalf);

impl StreamWrite for TcpWrite {
    fn poll_write(&mut self, context: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_is_seen() {
        let net = TokioNet::new();
        let mut listener = net.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let mut client = net.connect(listener.local_addr()).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        assert_eq!((client.local, client.peer), (server.peer, server.local));
        let sent = client.write.write(&[IoSlice::new(b"ab"), IoSlice::new(b"cde")]).await.unwrap();
        assert_eq!(sent, 5);
        let mut buffer = BytesMut::with_capacity(64);
        while buffer.len() < 5 {
            assert!(server.read.read(&mut buffer, 2).await.unwrap() <= 2);
        }
        assert_eq!(buffer, "abcde");
        drop(client);
        assert_eq!(server.read.read(&mut buffer, 9).await.unwrap(), 0);
    }
}
