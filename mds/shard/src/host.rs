//! What the shards of a node share: the log, the ways to other nodes, and who is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use env::Env;
use parking_lot::Mutex;

use crate::limits::{ELECTION_HEARTBEATS_MAX, LISTEN_HEARTBEATS};
use crate::liveness::{Beat, BeatReply, Facts, Liveness, Setup, Switch};
use crate::nodes::{Known, Nodes};
use crate::raft::NodeId;
use crate::raft::callers::Callers;
use crate::raft::log_store::SharedLog;
use crate::raft::network::Links;
use crate::shard::NodeConfig;

/// Shared by a node's shards. Holds none of them.
pub(crate) struct Host {
    pub(crate) env: Env,
    pub(crate) config: NodeConfig,
    /// What this node is called in its shards.
    pub(crate) id: NodeId,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) log: SharedLog,
    pub(crate) links: Arc<Links>,
    /// Who is connected to the leader's service addresses.
    pub(crate) callers: Arc<Callers>,
    liveness: Mutex<Liveness>,
    /// Heartbeats between nodes, sent and received.
    beats: AtomicU64,
    /// Shard 0 has this node. Others neither hear nor answer heartbeats: what they know of shards counts for nothing.
    takes_part: AtomicBool,
    /// Until then a lease may be in force that this node gave before it was started again, and has forgotten; monotonic.
    given_until_ms: u64,
}

impl Host {
    pub(crate) fn new(env: Env, config: NodeConfig, id: NodeId, log: SharedLog) -> Self {
        // Leases are not written down; how long they hold is.
        let has_given = !config.is_alone() && !log.is_blank();
        let lease_ms = config.heartbeat_ms * ELECTION_HEARTBEATS_MAX;
        let given_until_ms = if has_given { env.clock.monotonic_ms() + lease_ms } else { 0 };
        let setup = Setup {
            listen_ms: if has_given { lease_ms } else { config.heartbeat_ms * LISTEN_HEARTBEATS },
            me: config.id,
            // Zero is what nobody was heard to have.
            start: env.entropy.u64() | 1,
            members: config.members.iter().map(|(id, _)| *id).collect(),
            shards: config.shards,
            heartbeat_ms: config.heartbeat_ms,
            hibernate_ms: config.hibernate_ms,
        };
        let liveness = Mutex::new(Liveness::new(setup, env.clock.monotonic_ms()));
        let links = Arc::new(Links::new(env.clone(), config.cluster_key, id));
        let callers = Arc::new(Callers::new());
        let nodes = Arc::new(Nodes::new(config.members.clone()));
        let (beats, takes_part) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { env, config, id, nodes, log, links, callers, liveness, beats, takes_part, given_until_ms }
    }

    /// These are the nodes from now on.
    pub(crate) fn set_nodes(&self, list: Vec<Known>) {
        let numbers = list.iter().map(|(number, _)| *number).collect();
        if self.nodes.set(list) {
            self.liveness.lock().set_members(numbers);
        }
    }

    /// Whether shard 0 has this node.
    pub(crate) fn set_takes_part(&self, takes_part: bool) {
        self.takes_part.store(takes_part, Ordering::Release);
    }

    /// Whether a lease may be in force that this node gave before it was started again: it neither votes nor stands.
    pub(crate) fn may_have_given_lease(&self) -> bool {
        self.now_ms() < self.given_until_ms
    }

    /// Now, for liveness.
    ///
    /// # Units
    /// Milliseconds, monotonic.
    pub(crate) fn now_ms(&self) -> u64 {
        self.env.clock.monotonic_ms()
    }

    /// A heartbeat of another node came; none while this one takes no part.
    pub(crate) fn heard(&self, beat: &Beat) -> Option<BeatReply> {
        if !self.takes_part.load(Ordering::Acquire) {
            return None;
        }
        self.beats.fetch_add(1, Ordering::Relaxed);
        Some(self.liveness.lock().heard(self.now_ms(), beat))
    }

    /// See [`Liveness::has_other_leader`].
    pub(crate) fn has_other_leader(&self, shard: usize, candidate: u64) -> bool {
        self.liveness.lock().has_other_leader(self.now_ms(), shard, candidate)
    }

    /// See [`Liveness::is_held`].
    pub(crate) fn is_held(&self, shard: usize) -> bool {
        self.liveness.lock().is_held(self.now_ms(), shard)
    }

    /// See [`Liveness::is_alive`].
    pub(crate) fn is_alive(&self, node: u64) -> bool {
        self.liveness.lock().is_alive(node, self.now_ms())
    }

    /// See [`Liveness::is_gone`].
    pub(crate) fn is_gone(&self, node: u64) {
        self.liveness.lock().is_gone(node);
    }

    /// See [`Liveness::wake`].
    pub(crate) fn wake(&self, shard: usize) -> Option<Switch> {
        self.liveness.lock().wake(self.now_ms(), shard)
    }

    /// See [`Liveness::advance`].
    pub(crate) fn advance(&self, facts: &[Facts]) -> Vec<Switch> {
        self.liveness.lock().advance(self.now_ms(), facts)
    }

    /// See [`Liveness::hibernating`].
    pub(crate) fn hibernating(&self) -> usize {
        self.liveness.lock().hibernating()
    }

    /// Heartbeats between nodes, sent and received, so far.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Sends the heartbeat to another node, and takes in what it answers.
    pub(crate) async fn beat(&self, node: u64, addr: std::net::SocketAddr) {
        if !self.takes_part.load(Ordering::Acquire) {
            return;
        }
        let (beat, lease_ms) = {
            let liveness = self.liveness.lock();
            (liveness.beat_for(node), liveness.lease_ms())
        };
        let sent_ms = self.now_ms();
        self.beats.fetch_add(1, Ordering::Relaxed);
        if let Some(reply) = self.links.beat(addr, &beat, lease_ms).await {
            self.liveness.lock().answered(self.now_ms(), node, sent_ms, &reply);
        }
    }
}
