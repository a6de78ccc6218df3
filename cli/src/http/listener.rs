//! Connections of the metrics port: few, short, and the oldest gives way.
//!
//! Every host that reaches the port may open connections, and needs no key for it. So the port
//! keeps a bounded number; one more takes the place of the oldest one of the address that has most.
//! A connection that brings no request, or takes no answer, is closed after a while, and any after
//! a minute: the next request opens another.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::serve::Listener;
use env::{BoxFuture, Clock};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::limits::{ACCEPT_RETRY_MS, CONNECTIONS_MAX, LIFE_MS_MAX, QUIET_MS_MAX};

/// Accepts within the bounds.
pub(crate) struct Bounded {
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    next_id: u64,
    /// Oldest first. Dropping the sender closes the connection.
    connections: Vec<(u64, IpAddr, oneshot::Sender<()>)>,
}

/// A connection that ends in time.
pub(crate) struct Brief {
    stream: TcpStream,
    clock: Arc<dyn Clock>,
    id: u64,
    inside: Arc<Mutex<Inside>>,
    /// Ends when another one takes its place.
    replaced: oneshot::Receiver<()>,
    life: BoxFuture<'static, ()>,
    quiet: BoxFuture<'static, ()>,
}

impl Bounded {
    /// Accepts what comes to a listener.
    pub(crate) fn new(listener: TcpListener, clock: Arc<dyn Clock>) -> Self {
        Self { listener, clock, inside: Arc::default() }
    }
}

impl Listener for Bounded {
    type Io = Brief;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Brief, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let (id, replaced) = lock(&self.inside).enter(peer.ip());
                    let brief = Brief {
                        stream,
                        clock: Arc::clone(&self.clock),
                        id,
                        inside: Arc::clone(&self.inside),
                        replaced,
                        life: self.clock.sleep_ms(LIFE_MS_MAX),
                        quiet: self.clock.sleep_ms(QUIET_MS_MAX),
                    };
                    return (brief, peer);
                }
                Err(_) => self.clock.sleep_ms(ACCEPT_RETRY_MS).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Inside {
    fn enter(&mut self, from: IpAddr) -> (u64, oneshot::Receiver<()>) {
        if CONNECTIONS_MAX <= self.connections.len() {
            let count = |ip: IpAddr| self.connections.iter().filter(|(_, other, _)| *other == ip).count();
            let most = self.connections.iter().map(|(_, ip, _)| count(*ip)).max().unwrap_or(0);
            if let Some(at) = self.connections.iter().position(|(_, ip, _)| count(*ip) == most) {
                self.connections.remove(at);
            }
        }
        let id = self.next_id;
        self.next_id += 1;
        let (sender, replaced) = oneshot::channel();
        self.connections.push((id, from, sender));
        (id, replaced)
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    // What it says is right after each of its acts.
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Brief {
    /// An error once its time is over.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_over = Pin::new(&mut self.replaced).poll(context).is_ready()
            || self.life.as_mut().poll(context).is_ready()
            || self.quiet.as_mut().poll(context).is_ready();
        if is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Bytes were taken: it has its time again.
    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.quiet = self.clock.sleep_ms(QUIET_MS_MAX);
        }
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        lock(&self.inside).connections.retain(|(id, ..)| *id != self.id);
    }
}

impl AsyncRead for Brief {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Brief {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
