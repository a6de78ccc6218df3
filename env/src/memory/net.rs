//! A network in memory: addresses are names, streams are bounded pipes, and a test can cut them.
//!
//! A pipe holds a bounded number of bytes, so that a peer who does not read makes the writer wait,
//! as TCP would. Needs no runtime of its own.
//!
//! INVARIANT: bytes come out in the order they went in; a cut loses what was in the pipe.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::sync::mpsc;

use crate::BoxFuture;
use crate::net::{Listener, Net, Stream, StreamRead, StreamWrite};

/// Bytes under way in one direction, unless the test says otherwise.
const PIPE_BYTES_MAX: usize = 64 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: usize = 128;

const FIRST_FREE_PORT: u16 = 1024;

/// A network of its own. Clones share it.
#[derive(Clone)]
pub struct MemoryNet {
    world: Arc<Mutex<World>>,
    pipe_bytes_max: usize,
    /// Where streams come from that are opened here.
    from: IpAddr,
    /// Their source port; `None`: another one for each, from the free ones.
    from_port: Option<u16>,
}

struct World {
    doors: HashMap<SocketAddr, mpsc::Sender<Stream>>,
    /// Every pipe, under the address of the listener it goes through.
    pipes: Vec<(SocketAddr, Weak<Pipe>)>,
    port_next: u16,
}

impl MemoryNet {
    /// An empty network.
    pub fn new() -> Self {
        Self::with_pipe_bytes(PIPE_BYTES_MAX)
    }

    /// An empty network that holds `pipe_bytes_max` bytes under way in each direction of a stream.
    pub fn with_pipe_bytes(pipe_bytes_max: usize) -> Self {
        assert!(0 < pipe_bytes_max);
        let world = World { doors: HashMap::new(), pipes: Vec::new(), port_next: FIRST_FREE_PORT };
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { world: Arc::new(Mutex::new(world)), pipe_bytes_max, from, from_port: None }
    }

    /// The same network, as a machine with another address has it.
    #[must_use]
    pub fn seen_from(&self, from: IpAddr) -> Self {
        Self { from, ..self.clone() }
    }

    /// The same network, for a program that opens its streams from this source port.
    #[must_use]
    pub fn from_source_port(&self, port: u16) -> Self {
        Self { from_port: Some(port), ..self.clone() }
    }

    /// Breaks every stream that goes through the listener at `addr`: both ends see a reset.
    pub fn cut(&self, addr: SocketAddr) {
        let mut world = lock(&self.world);
        let (cut, rest) = std::mem::take(&mut world.pipes).into_iter().partition(|(door, _)| *door == addr);
        world.pipes = rest;
        drop(world);
        let cut: Vec<(SocketAddr, Weak<Pipe>)> = cut;
        cut.iter().filter_map(|(_, pipe)| pipe.upgrade()).for_each(|pipe| pipe.end(|state| state.cut = true));
    }

    fn open_listener(&self, mut addr: SocketAddr) -> io::Result<MemoryDoor> {
        let mut world = lock(&self.world);
        world.doors.retain(|_, door| !door.is_closed());
        if addr.port() == 0 {
            addr.set_port(world.free_port());
        }
        if world.doors.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let (sender, streams) = mpsc::channel(BACKLOG);
        world.doors.insert(addr, sender);
        Ok(MemoryDoor { addr, streams })
    }

    fn open_stream(&self, addr: SocketAddr) -> io::Result<Stream> {
        let mut world = lock(&self.world);
        let own = SocketAddr::new(self.from, self.from_port.unwrap_or_else(|| world.free_port()));
        let (there, back) = (Pipe::new(self.pipe_bytes_max), Pipe::new(self.pipe_bytes_max));
        let stream = |local, peer, read: &Arc<Pipe>, write: &Arc<Pipe>| Stream {
            local,
            peer,
            read: Box::new(ReadEnd(Arc::clone(read))),
            write: Box::new(WriteEnd(Arc::clone(write))),
        };
        let (client, server) = (stream(own, addr, &back, &there), stream(addr, own, &there, &back));
        let door = world.doors.get(&addr).ok_or(ErrorKind::ConnectionRefused)?;
        door.try_send(server).map_err(|_| ErrorKind::ConnectionRefused)?;
        world.pipes.retain(|(_, pipe)| 0 < pipe.strong_count());
        world.pipes.extend([there, back].map(|pipe| (addr, Arc::downgrade(&pipe))));
        Ok(client)
    }
}

impl Default for MemoryNet {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    fn free_port(&mut self) -> u16 {
        let port = self.port_next;
        self.port_next = port.checked_add(1).unwrap_or(FIRST_FREE_PORT);
        port
    }
}

impl Net for MemoryNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let door = self.open_listener(addr);
        Box::pin(async move { door.map(|door| Box::new(door) as Box<dyn Listener>) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        let net = self.clone();
        Box::pin(async move { net.open_stream(addr) })
    }
}

struct MemoryDoor {
    addr: SocketAddr,
    streams: mpsc::Receiver<Stream>,
}

impl Listener for MemoryDoor {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { self.streams.recv().await.ok_or_else(|| ErrorKind::NotConnected.into()) })
    }
}

struct Pipe {
    state: Mutex<PipeState>,
    bytes_max: usize,
}

#[derive(Default)]
struct PipeState {
    bytes: BytesMut,
    writer_gone: bool,
    reader_gone: bool,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), bytes_max })
    }

    /// Changes the pipe's state and wakes both ends to see it.
    fn end(&self, change: impl FnOnce(&mut PipeState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

struct ReadEnd(Arc<Pipe>);

impl StreamRead for ReadEnd {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        assert!(0 < bytes_max);
        let mut state = lock(&self.0.state);
        if state.cut {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if state.bytes.is_empty() {
            if state.writer_gone {
                return Poll::Ready(Ok(0));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let room = buffer.capacity() - buffer.len();
        let room = if room == 0 { bytes_max } else { room };
        let count = state.bytes.len().min(bytes_max).min(room);
        buffer.extend_from_slice(&state.bytes[..count]);
        state.bytes.advance(count);
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.0.end(|state| state.reader_gone = true);
    }
}

struct WriteEnd(Arc<Pipe>);

impl StreamWrite for WriteEnd {
    fn poll_write(&mut self, context: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0.state);
        if state.cut || state.reader_gone {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = self.0.bytes_max - state.bytes.len();
        if room == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut left = room;
        for buffer in buffers {
            let count = buffer.len().min(left);
            state.bytes.extend_from_slice(&buffer[..count]);
            left -= count;
        }
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(room - left))
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.0.end(|state| state.writer_gone = true);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves the state whole, so a panicking holder did no harm.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair(net: &MemoryNet) -> (Box<dyn Listener>, Stream, Stream) {
        let mut listener = net.listen(SocketAddr::from(([10, 0, 0, 1], 0))).await.unwrap();
        let client = net.connect(listener.local_addr()).await.unwrap();
        let server = listener.accept().await.unwrap();
        (listener, client, server)
    }

    #[tokio::test]
    async fn writer_waits_for_the_reader() {
        let net = MemoryNet::with_pipe_bytes(4);
        let (_listener, mut client, mut server) = pair(&net).await;
        assert_eq!(client.write.write(&[IoSlice::new(b"abc"), IoSlice::new(b"def")]).await.unwrap(), 4);
        let waiting = tokio::spawn(async move {
            let sent = client.write.write(&[IoSlice::new(b"ef")]).await.unwrap();
            (sent, client)
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let mut buffer = BytesMut::new();
        assert_eq!(server.read.read(&mut buffer, 3).await.unwrap(), 3);
        assert_eq!(waiting.await.unwrap().0, 2);
        while server.read.read(&mut buffer, 64).await.unwrap() != 0 {}
        assert_eq!(buffer, "abcdef");
    }

    #[tokio::test]
    async fn cut_and_refused() {
        let net = MemoryNet::new();
        let (listener, mut client, mut server) = pair(&net).await;
        let addr = listener.local_addr();
        net.cut(addr);
        let mut buffer = BytesMut::new();
        assert_eq!(server.read.read(&mut buffer, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(
            client.write.write(&[IoSlice::new(b"x")]).await.unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        assert!(net.listen(addr).await.is_err());
        drop(listener);
        assert_eq!(net.connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(net.listen(addr).await.is_ok());
    }
}
