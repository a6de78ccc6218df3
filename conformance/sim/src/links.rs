//! Hosts, the links between them, and the streams over these: what is there, and what passes.
//!
//! `network.rs` moves bytes over them, as events of the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use crate::chance::Chance;
use crate::limits::RETRY_NS;

/// A node's number: index into the cluster's nodes.
pub(crate) type NodeId = usize;

/// How good the links are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    pub(crate) delay_ns_min: u64,
    pub(crate) delay_ns_max: u64,
    /// Packets lost, in a million: each costs a retransmission.
    pub(crate) lost_per_million: u64,
    /// Packets that take ten times as long, in a million.
    pub(crate) late_per_million: u64,
}

/// Hosts, links, listeners and streams.
pub(crate) struct Network {
    pub(crate) chance: Chance,
    pub(crate) quality: Quality,
    /// What the seed drew: how good they are when nothing is wrong.
    pub(crate) quality_drawn: Quality,
    pub(crate) hosts: Vec<Host>,
    /// Ordered pairs of nodes between which nothing passes.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) doors: BTreeMap<SocketAddr, Door>,
    pub(crate) streams: BTreeMap<u64, Wire>,
    pub(crate) stream_next: u64,
}

#[derive(Clone, Copy)]
pub(crate) struct Host {
    pub(crate) powered: bool,
    /// Which life of the node's process it is.
    pub(crate) life: u32,
}

pub(crate) struct Door {
    pub(crate) node: NodeId,
    pub(crate) waiting: VecDeque<u64>,
    pub(crate) waker: Option<Waker>,
}

/// A stream: two ends, and a pipe from each end to the other.
pub(crate) struct Wire {
    pub(crate) ends: [End; 2],
    pub(crate) pipes: [Pipe; 2],
}

pub(crate) struct End {
    pub(crate) node: NodeId,
    pub(crate) life: u32,
    pub(crate) addr: SocketAddr,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    pub(crate) reset: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) flight: VecDeque<(u64, Option<Bytes>)>,
    pub(crate) flight_bytes: usize,
    pub(crate) received: BytesMut,
    pub(crate) ended: bool,
    pub(crate) last_ns: u64,
    pub(crate) stalled_ns: Option<u64>,
    pub(crate) retries: bool,
}

/// What a poll of an end comes to.
pub(crate) enum Polled<T> {
    Ready(T),
    Pending,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed, "network");
        let quality = Quality {
            delay_ns_min: chance.between(20_000, 300_000),
            delay_ns_max: chance.between(400_000, 2_000_000),
            lost_per_million: chance.below(4) * 500,
            late_per_million: chance.below(4) * 2_000,
        };
        Self {
            chance,
            quality,
            quality_drawn: quality,
            hosts: Vec::new(),
            cut: BTreeSet::new(),
            doors: BTreeMap::new(),
            streams: BTreeMap::new(),
            stream_next: 1,
        }
    }

    /// One more host; its process does not run yet.
    pub(crate) fn add_host(&mut self) -> NodeId {
        self.hosts.push(Host { powered: true, life: 0 });
        self.hosts.len() - 1
    }

    pub(crate) fn life(&self, node: NodeId) -> u32 {
        self.hosts[node].life
    }

    /// Cuts the link in this direction, or mends it.
    pub(crate) fn set_cut(&mut self, from: NodeId, to: NodeId, is_cut: bool) {
        if is_cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Links lose as much as when the run began.
    pub(crate) fn mend_quality(&mut self) {
        self.quality = self.quality_drawn;
    }

    pub(crate) fn mend_all(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn passes(&self, from: NodeId, to: NodeId) -> bool {
        self.hosts[from].powered && self.hosts[to].powered && !self.cut.contains(&(from, to))
    }

    /// How long the next packet takes.
    pub(crate) fn delay_ns(&mut self) -> u64 {
        let Quality { delay_ns_min, delay_ns_max, lost_per_million, late_per_million } = self.quality;
        let mut delay_ns = self.chance.between(delay_ns_min, delay_ns_max);
        if self.chance.per_million(late_per_million) {
            delay_ns *= 10;
        }
        while self.chance.per_million(lost_per_million) {
            delay_ns += RETRY_NS;
        }
        delay_ns
    }

    /// The host at an address.
    pub(crate) fn host_of(&self, addr: SocketAddr) -> Option<NodeId> {
        let SocketAddr::V4(addr) = addr else { return None };
        let node = usize::from(addr.ip().octets()[3]).checked_sub(1)?;
        (node < self.hosts.len()).then_some(node)
    }

    pub(crate) fn is_alive(&self, end: &End) -> bool {
        self.hosts[end.node].life == end.life
    }
}
