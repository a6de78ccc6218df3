//! A leader that is cut off stops answering alone before its followers may elect another. All in
//! one thread, in paused time that advances only when no task can run.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use env::memory::net::MemoryNet;
use env::memory::{MemoryDisk, SeededEntropy};
use env::net::{Listener, Net, Stream, StreamRead, StreamWrite};
use env::{BoxFuture, Clock, Env};
use mds_namespace::store::mem::MemStore;
use mds_raft::limits::{ELECTION_HEARTBEATS_MAX, LEASE_HEARTBEATS};
use mds_raft::{NodeConfig, Shard};
use tokio::time::{Instant, sleep, timeout};
use wire_nfs::control::ClusterKey;

use crate::scene::{create_all, format};

const MEMBERS: u64 = 3;
const STEP: Duration = Duration::from_millis(1);

/// The runtime's clock, which the engine reads too.
struct Paused(Instant);

impl Clock for Paused {
    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap()
    }

    fn wall_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(sleep(Duration::from_millis(ms)))
    }
}

/// The network as one node has it: once the node is cut off, nothing is received and nothing
/// arrives, without an error.
#[derive(Clone)]
struct Wire {
    net: MemoryNet,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    fn around(&self, stream: Stream) -> Stream {
        let read = Box::new(Half { wire: self.clone(), half: stream.read });
        let write = Box::new(Half { wire: self.clone(), half: stream.write });
        Stream { read, write, ..stream }
    }
}

impl Net for Wire {
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let (wire, listening) = (self.clone(), self.net.listen(addr));
        Box::pin(async move {
            let listener = Door { wire, listener: listening.await? };
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        let wire = self.clone();
        Box::pin(async move {
            if wire.is_cut() {
                std::future::pending::<()>().await;
            }
            Ok(wire.around(wire.net.connect(addr).await?))
        })
    }
}

struct Door {
    wire: Wire,
    listener: Box<dyn Listener>,
}

impl Listener for Door {
    fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async { Ok(self.wire.around(self.listener.accept().await?)) })
    }
}

struct Half<T> {
    wire: Wire,
    half: T,
}

impl StreamRead for Half<Box<dyn StreamRead>> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<io::Result<usize>> {
        // The node stays cut off: no task needs to be woken.
        if self.wire.is_cut() { Poll::Pending } else { self.half.poll_read(context, buffer, bytes_max) }
    }
}

impl StreamWrite for Half<Box<dyn StreamWrite>> {
    fn poll_write(&mut self, context: &mut Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.wire.is_cut() { Poll::Pending } else { self.half.poll_write(context, buffers) }
    }
}

fn config(id: u64) -> NodeConfig {
    let members = (1..=MEMBERS).map(|member| (member, format!("10.0.0.{member}:1"))).collect();
    NodeConfig { id, members, cluster_keys: ClusterKey::new([4; 32]).into(), ..NodeConfig::single([1; 16]) }
}

async fn start(id: u64, wire: Wire) -> Shard {
    let env = Env {
        clock: Arc::new(Paused(Instant::now())),
        entropy: Arc::new(SeededEntropy::new(id)),
        disk: Arc::new(MemoryDisk::new()),
        net: Arc::new(wire),
    };
    Shard::start_on(env, vec![Arc::new(MemStore::new())], Path::new("/shard"), config(id)).await.unwrap()
}

/// Whether a read is answered without a query of another node.
async fn reads_alone(shard: &Shard) -> bool {
    timeout(STEP / 2, shard.read_barrier()).await.is_ok_and(|passed| passed.is_ok())
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_to_read_alone_before_others_may_be_elected() {
    let net = MemoryNet::new();
    let wires: Vec<Wire> = (0..MEMBERS).map(|_| Wire { net: net.clone(), is_cut: Arc::default() }).collect();
    let starts = (1..=MEMBERS).zip(&wires).map(|(id, wire)| start(id, wire.clone()));
    let shards = futures_util::future::join_all(starts).await;
    let leader = loop {
        sleep(STEP).await;
        if let Some(leader) = shards.iter().position(Shard::is_leader) {
            break leader;
        }
    };
    shards[leader].propose(None, format()).await.unwrap();
    create_all(&shards[leader], &["before".to_owned()]).await;
    let heartbeat = Duration::from_millis(config(1).heartbeat_ms);
    // Each heartbeat renews the lease, with or without writes.
    for _ in 0..2 * 100 * ELECTION_HEARTBEATS_MAX {
        assert!(reads_alone(&shards[leader]).await && shards[leader].is_leader());
        sleep(STEP).await;
    }
    wires[leader].is_cut.store(true, Ordering::Relaxed);
    let cut = Instant::now();
    let mut alone = Duration::ZERO;
    while !shards.iter().enumerate().any(|(at, shard)| at != leader && shard.is_leader()) {
        if reads_alone(&shards[leader]).await || shards[leader].is_leader() {
            alone = cut.elapsed();
        }
        sleep(STEP).await;
    }
    // The last answered heartbeat was sent an interval ago at most, and its answer arrived later
    // than it was sent.
    let lease = heartbeat * u32::try_from(LEASE_HEARTBEATS).unwrap();
    assert!(lease <= alone + heartbeat + 2 * STEP && alone <= lease, "{alone:?} of {lease:?}");
    let promised = heartbeat * u32::try_from(ELECTION_HEARTBEATS_MAX - 1).unwrap();
    assert!(promised <= cut.elapsed(), "no leader is elected before the followers' promise is over");
}
