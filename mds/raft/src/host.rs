//! State that the shards of a node share: the log, the links to other nodes, and which nodes are
//! alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use env::{BoxFuture, Clock, Env};
use parking_lot::Mutex;

use crate::clocks::{Clocks, Reading, Witness};
use crate::config::NodeConfig;
use crate::engine::callers::Callers;
use crate::engine::identity::number_of;
use crate::engine::log_store::SharedLog;
use crate::engine::network::Links;
use crate::engine::type_config::NodeId;
use crate::limits::{ELECTION_HEARTBEATS_MAX, LISTEN_HEARTBEATS};
use crate::liveness::{Beat, BeatReply, Facts, Liveness, Setup, Switch};
use crate::nodes::{Known, Nodes};

/// Shared by a node's shards. Holds none of them.
pub(crate) struct Host {
    pub(crate) env: Env,
    pub(crate) config: NodeConfig,
    /// This node's name in its shards.
    pub(crate) id: NodeId,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) log: SharedLog,
    pub(crate) links: Arc<Links>,
    /// Clients that are connected to the leader's service addresses.
    pub(crate) callers: Arc<Callers>,
    liveness: Mutex<Liveness>,
    /// Heartbeats between nodes, sent and received.
    beats: AtomicU64,
    /// Shard 0 has this node. A node it does not have neither handles nor answers heartbeats: its
    /// view of shards does not count.
    takes_part: AtomicBool,
    /// The time by more clocks than this node's.
    clocks: Mutex<Clocks>,
    /// A majority's clocks show this node's clock so wrong that it should not lead.
    unfit: AtomicBool,
    /// Until then a lease may be in force that this node gave before a restart and has forgotten;
    /// monotonic.
    given_until_ms: u64,
}

impl Host {
    pub(crate) fn new(env: Env, config: NodeConfig, id: NodeId, log: SharedLog) -> Self {
        // Leases are not stored, but their length is known.
        let has_given = !config.is_alone() && !log.is_blank();
        let lease_ms = config.heartbeat_ms * ELECTION_HEARTBEATS_MAX;
        let given_until_ms = if has_given { env.clock.monotonic_ms() + lease_ms } else { 0 };
        let setup = Setup {
            listen_ms: if has_given { lease_ms } else { config.heartbeat_ms * LISTEN_HEARTBEATS },
            me: config.id,
            // Zero means that no start was received.
            start: env.entropy.u64() | 1,
            members: config.members.iter().map(|(id, _)| *id).collect(),
            shards: config.shards,
            heartbeat_ms: config.heartbeat_ms,
            hibernate_ms: config.hibernate_ms,
        };
        assert!(setup.start != 0, "zero means that no start was received");
        assert!(number_of(id) == config.id, "a node's name has its number");
        let liveness = Mutex::new(Liveness::new(setup, env.clock.monotonic_ms()));
        let links = Arc::new(Links::new(env.clone(), config.cluster_keys.clone(), id));
        let callers = Arc::new(Callers::new());
        let nodes = Arc::new(Nodes::new(config.members.clone()));
        let (beats, takes_part) = (AtomicU64::new(0), AtomicBool::new(false));
        let (clocks, unfit) = (Mutex::default(), AtomicBool::new(false));
        Self {
            env,
            config,
            id,
            nodes,
            log,
            links,
            callers,
            liveness,
            beats,
            takes_part,
            clocks,
            unfit,
            given_until_ms,
        }
    }

    /// Sets the list of nodes.
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

    /// Whether a lease may be in force that this node gave before a restart: it then neither votes
    /// nor stands.
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

    /// Handles another node's heartbeat; no reply while this node takes no part.
    pub(crate) fn handle_beat(&self, beat: &Beat) -> Option<BeatReply> {
        if !self.takes_part.load(Ordering::Acquire) {
            return None;
        }
        self.beats.fetch_add(1, Ordering::Relaxed);
        Some(self.liveness.lock().handle_beat(self.now_ms(), beat))
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

    /// Sends the heartbeat to another node, and handles its reply.
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
            self.liveness.lock().handle_reply(self.now_ms(), node, sent_ms, &reply);
        }
    }
}

impl Host {
    /// This node's clocks now.
    fn reading(&self) -> Reading {
        let clock = &self.env.clock;
        let suspended_ns = clock.suspended_ms().saturating_mul(1_000_000);
        Reading { monotonic_ns: clock.monotonic_ns().saturating_add(suspended_ns), wall_ns: clock.wall_ns() }
    }

    fn members(&self) -> usize {
        if self.config.is_alone() { 1 } else { self.nodes.all().len() }
    }

    /// The time, nanoseconds since 1970, by the clocks that counted at the last check: it stamps
    /// each command.
    pub(crate) fn wall_ns(&self) -> u64 {
        let reading = self.reading();
        let mut clocks = self.clocks.lock();
        match clocks.shown(reading.monotonic_ns) {
            Some(shown_ns) => shown_ns,
            None => clocks.now(self.members(), reading),
        }
    }

    /// Records another clock's reading of a moment ago. `sent_ns` of [`Self::clock_ns`] is the time
    /// of the query, if there was one.
    pub(crate) fn record_clock(&self, witness: Witness, sent_ns: Option<u64>, wall_ns: u64) {
        let now_ns = self.reading().monotonic_ns;
        self.clocks.lock().record(witness, sent_ns.unwrap_or(now_ns), now_ns, wall_ns);
    }

    /// The time by which clocks are compared: monotonic, with suspensions.
    pub(crate) fn clock_ns(&self) -> u64 {
        self.reading().monotonic_ns
    }

    /// Whether this node needs the log's own times: it had no majority of clocks since its start.
    pub(crate) fn needs_log_time(&self) -> bool {
        !self.config.is_alone() && !self.clocks.lock().is_settled()
    }

    /// Records the time of an entry of a shard's log, nanoseconds since 1970.
    pub(crate) fn record_log_time(&self, entry_ns: u64) {
        let now_ns = self.reading().monotonic_ns;
        self.clocks.lock().record_log_time(entry_ns, now_ns);
    }

    /// Checks the clocks; returns whether this node should not lead.
    pub(crate) fn check_clocks(&self) -> bool {
        let (members, reading) = (self.members(), self.reading());
        let mut clocks = self.clocks.lock();
        clocks.now(members, reading);
        let unfit = clocks.is_unfit(members, reading);
        drop(clocks);
        self.unfit.store(unfit, Ordering::Release);
        unfit
    }

    /// Whether this node should not lead, as of the last check of the clocks.
    pub(crate) fn is_unfit(&self) -> bool {
        self.unfit.load(Ordering::Acquire)
    }

    /// Whether another node should not lead, as far as this node knows.
    pub(crate) fn is_unfit_node(&self, node: u64) -> bool {
        self.clocks.lock().unfit_nodes().contains(&node)
    }

    /// How far clocks are ahead of the time that counts, this node's too, nanoseconds.
    pub(crate) fn clocks_off_ns(&self) -> Vec<(Witness, i64)> {
        let reading = self.reading();
        let clocks = self.clocks.lock();
        let own = (Witness::Node(self.config.id), clocks.off_ns(reading));
        std::iter::once(own).chain(clocks.others_off_ns()).collect()
    }
}

/// The machine's clock, with the cluster's time as wall time.
pub(crate) struct ClusterClock {
    pub(crate) host: Arc<Host>,
    pub(crate) machine: Arc<dyn Clock>,
}

impl Clock for ClusterClock {
    fn monotonic_ns(&self) -> u64 {
        self.machine.monotonic_ns()
    }

    fn awake_ns(&self) -> u64 {
        self.machine.awake_ns()
    }

    fn suspended_ms(&self) -> u64 {
        self.machine.suspended_ms()
    }

    fn wall_ns(&self) -> u64 {
        self.host.wall_ns()
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        self.machine.sleep_ms(ms)
    }
}
