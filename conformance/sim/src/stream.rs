//! A node's door to the network, as the product sees it.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BytesMut;
use env::BoxFuture;
use env::net::{Listener, Net, Stream, StreamRead, StreamWrite};

use crate::links::Polled;
use crate::world::{NodeId, World};

/// First wait before a connection is asked for again.
const CONNECT_RETRY_NS: u64 = 1_000_000_000;

/// The network as one life of a node has it.
pub(crate) struct SimNet {
    pub(crate) world: World,
    pub(crate) node: NodeId,
}

impl Net for SimNet {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let (world, node) = (self.world.clone(), self.node);
        Box::pin(async move {
            let life = {
                let mut state = world.lock();
                state.listen(node, addr)?;
                state.network.life(node)
            };
            Ok(Box::new(SimListener { world, node, life, addr }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        Box::pin(connect(self.world.clone(), self.node, addr))
    }
}

async fn connect(world: World, node: NodeId, addr: SocketAddr) -> io::Result<Stream> {
    let mut retry_ns = CONNECT_RETRY_NS;
    loop {
        let delay_ns = world.lock().network.delay_ns();
        world.sleep(delay_ns, node).await;
        let reaches = world.lock().reaches(node, addr).ok_or(ErrorKind::HostUnreachable)?;
        if reaches {
            break;
        }
        world.sleep(retry_ns, node).await;
        retry_ns *= 2;
    }
    let opened = world.lock().open(node, addr);
    let stream = opened.map(|(id, own)| stream(&world, id, 0, own, addr));
    loop {
        let delay_ns = world.lock().network.delay_ns();
        world.sleep(delay_ns, node).await;
        if world.lock().answers(node, addr) {
            return stream;
        }
        world.sleep(CONNECT_RETRY_NS, node).await;
    }
}

fn stream(world: &World, id: u64, side: usize, local: SocketAddr, peer: SocketAddr) -> Stream {
    let half = |writes| Half { world: world.clone(), id, side, writes };
    Stream { local, peer, read: Box::new(half(false)), write: Box::new(half(true)) }
}

struct SimListener {
    world: World,
    node: NodeId,
    life: u32,
    addr: SocketAddr,
}

impl Listener for SimListener {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (id, peer) = poll_fn(|context| match self.world.lock().accept(self.addr, context.waker()) {
                Polled::Ready(accepted) => Poll::Ready(accepted),
                Polled::Pending => Poll::Pending,
            })
            .await;
            Ok(stream(&self.world, id, 1, self.addr, peer))
        })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.world.lock().close_door(self.node, self.life, self.addr);
    }
}

struct Half {
    world: World,
    id: u64,
    side: usize,
    writes: bool,
}

impl StreamRead for Half {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        match self.world.lock().read(self.id, self.side, context.waker(), buffer, bytes_max) {
            Polled::Ready(result) => Poll::Ready(result),
            Polled::Pending => Poll::Pending,
        }
    }
}

impl StreamWrite for Half {
    fn poll_write(&mut self, context: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.world.lock().write(self.id, self.side, context.waker(), buffers) {
            Polled::Ready(result) => Poll::Ready(result),
            Polled::Pending => Poll::Pending,
        }
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.world.lock().drop_half(self.id, self.side, self.writes);
    }
}
