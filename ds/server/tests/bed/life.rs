//! A life that ends at once, as that of a process that is killed: from then on nothing that it
//! waits for ever comes.
//!
//! What runs of a server in memory are tasks, and who kills it cannot take them all away. So its
//! clock and its network are its own: after the end no sleep is over, nothing is sent, and nothing
//! comes in.

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::BytesMut;
use env::net::{Listener, Net, Stream, StreamRead, StreamWrite};
use env::{BoxFuture, Clock, Env};

/// Whether something still lives. Clones are the same life.
#[derive(Clone, Default)]
pub(crate) struct Life {
    ended: Arc<AtomicBool>,
}

impl Life {
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// The same surroundings for a server that has this life.
    pub(crate) fn of(&self, env: Env) -> Env {
        Env {
            clock: Arc::new(MortalClock { clock: env.clock, life: self.clone() }),
            net: Arc::new(MortalNet { net: env.net, life: self.clone() }),
            ..env
        }
    }
}

struct MortalClock {
    clock: Arc<dyn Clock>,
    life: Life,
}

impl Clock for MortalClock {
    fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    fn wall_ns(&self) -> u64 {
        self.clock.wall_ns()
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        let (sleep, life) = (self.clock.sleep_ms(ms), self.life.clone());
        Box::pin(async move {
            sleep.await;
            if life.is_over() {
                std::future::pending::<()>().await;
            }
        })
    }
}

struct MortalNet {
    net: Arc<dyn Net>,
    life: Life,
}

impl Net for MortalNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let (listen, life) = (self.net.listen(addr), self.life.clone());
        Box::pin(async move {
            let door = listen.await?;
            Ok(Box::new(MortalDoor { door, life }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        let (connect, life) = (self.net.connect(addr), self.life.clone());
        Box::pin(async move {
            if life.is_over() {
                std::future::pending::<()>().await;
            }
            connect.await.map(|stream| mortal(stream, &life))
        })
    }
}

fn mortal(stream: Stream, life: &Life) -> Stream {
    Stream {
        read: Box::new(MortalRead { read: stream.read, life: life.clone() }),
        write: Box::new(MortalWrite { write: stream.write, life: life.clone() }),
        ..stream
    }
}

struct MortalDoor {
    door: Box<dyn Listener>,
    life: Life,
}

impl Listener for MortalDoor {
    fn local_addr(&self) -> SocketAddr {
        self.door.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { self.door.accept().await.map(|stream| mortal(stream, &self.life)) })
    }
}

struct MortalRead {
    read: Box<dyn StreamRead>,
    life: Life,
}

impl StreamRead for MortalRead {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        if self.life.is_over() {
            return Poll::Pending;
        }
        self.read.poll_read(context, buffer, bytes_max)
    }
}

struct MortalWrite {
    write: Box<dyn StreamWrite>,
    life: Life,
}

impl StreamWrite for MortalWrite {
    fn poll_write(&mut self, context: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.life.is_over() {
            return Poll::Pending;
        }
        self.write.poll_write(context, buffers)
    }
}
