//! The interface of a shard: propose commands, take views, query the leader.
//!
//! Clones are the same replica. `stop` stops it; dropping every clone, and its node, without `stop`
//! is a crash, and loses nothing that was acknowledged.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use env::Env;
use mds_namespace::MetaStore;
use openraft::async_runtime::{Instant as _, WatchReceiver};
use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::impls::BasicNode;
use openraft::{Config, ReadPolicy, ServerState, SnapshotPolicy};
use tokio::sync::Semaphore;
use wire_nfs::control::{ClusterKey, Keyring};

use crate::command::{Command, Outcome};
use crate::entry::{Entry, Origin};
use crate::host::Host;
use crate::limits::{
    APPEND_ENTRIES_MAX, ELECTION_HEARTBEATS_MAX, ELECTION_HEARTBEATS_MIN, ENTRY_BYTES_MAX,
    FORWARD_RETRIES_MAX, HEIR_POLL_MS, HEIR_WAIT_MS_MAX, HIBERNATE_MS_DEFAULT, LOG_ENTRIES_KEPT,
    LOG_SEGMENT_BYTES, PROPOSALS_MAX, PROPOSE_MS_MAX, RECOVERY_MS_MAX, REPLICATE_ENTRIES_MAX,
};
use crate::node::{LogGone, Node};
use crate::raft::identity::number_of;
use crate::raft::life::Life;
use crate::raft::log_store::LogStore;
use crate::raft::machine::{Machine, MachineState, NoView};
use crate::raft::network::Network;
use crate::raft::{EncodedEntry, Raft, Types};
use crate::view::StateView;

mod cut;
mod forward;
mod group;
mod leading;
mod lease;
mod members;
mod propose;

use lease::Lease;

/// A node's identity, and the behaviour of its replicas.
#[derive(Clone)]
pub struct NodeConfig {
    /// This node's number among the members.
    pub id: u64,
    /// All members: number and address, `ip:port`. One member needs no network.
    pub members: Vec<(u64, String)>,
    /// For a node that joins a running cluster: addresses of some of its nodes, `ip:port`.
    /// `members` is then this node alone.
    pub join: Vec<String>,
    /// The secrets that members prove to each other; unused with one member.
    pub cluster_keys: Keyring,
    /// Identity of the cluster: a directory of another cluster is refused.
    pub store_id: [u8; 16],
    /// Bytes of the stores kept in memory.
    pub cache_bytes: usize,
    /// Shards of the cluster, fixed when it is made. 0: the number it was made with, or one if it
    /// is new.
    pub shards: usize,
    /// An idle shard hibernates after this time, in milliseconds; 0: never. Shard 0 never does.
    pub hibernate_ms: u64,
    /// Most time between two checkpoints of a store that changes, in milliseconds.
    pub checkpoint_ms: u64,
    /// Log entries kept behind a checkpoint for members that were away; a member that was away for
    /// longer gets a snapshot.
    pub log_entries_kept: u64,
    /// Size of a segment of the log: it must hold the longest entry.
    pub log_segment_bytes: u64,
    /// Time between heartbeats of a leader, in milliseconds; elections start after 4 to 8 of them.
    pub heartbeat_ms: u64,
    /// A node that is alone may start without its log if its file system has this identity.
    pub accept_log_loss: Option<[u8; 16]>,
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("NodeConfig")
            .field("id", &self.id)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

impl NodeConfig {
    /// Whether there are no other nodes, and never will be.
    pub(crate) fn is_alone(&self) -> bool {
        self.members.len() == 1 && self.join.is_empty()
    }

    /// A shard with one replica.
    #[must_use]
    pub fn single(store_id: [u8; 16]) -> Self {
        Self {
            id: 1,
            members: vec![(1, String::new())],
            join: Vec::new(),
            cluster_keys: ClusterKey::new([0; 32]).into(),
            store_id,
            cache_bytes: mds_namespace::limits::DISK_CACHE_BYTES_DEFAULT,
            shards: 1,
            hibernate_ms: HIBERNATE_MS_DEFAULT,
            checkpoint_ms: 5_000,
            log_entries_kept: LOG_ENTRIES_KEPT,
            log_segment_bytes: LOG_SEGMENT_BYTES,
            heartbeat_ms: 100,
            accept_log_loss: None,
        }
    }
}

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid: too many members, or this node is none of them.
    #[error("bad configuration: {0}")]
    Config(&'static str),
    /// The cluster was made with another number of shards.
    #[error(
        "this cluster was made with {made} shards, and that cannot be changed: --shards {asked} is refused"
    )]
    Shards {
        /// The cluster's number.
        made: usize,
        /// The configured number.
        asked: usize,
    },
    /// The store cannot be opened.
    #[error("store: {0}")]
    Store(#[from] mds_namespace::StoreError),
    /// The log cannot be opened.
    #[error("log: {0}")]
    Log(String),
    /// The log of a node that is alone is gone, or an older one is in its place.
    #[error(transparent)]
    LogGone(#[from] LogGone),
    /// The directory cannot be used, or the address cannot be listened on.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The engine refused to start.
    #[error("raft: {0}")]
    Raft(String),
}

/// Why a proposal has no outcome. Except for `NotLeader` it may have been carried out, or may still
/// be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads: nothing was done.
    #[error("not the leader")]
    NotLeader {
        /// The leader's number and address, if known.
        leader: Option<(u64, String)>,
    },
    /// No majority answers, too many proposals wait, or a snapshot is being installed; retry later.
    #[error("shard is not available")]
    Unavailable,
    /// No outcome within the time a client would wait.
    #[error("no outcome in time")]
    Timeout,
    /// The command is longer than a log entry may be: nothing was done.
    #[error("command is too long")]
    TooLong,
    /// The shard was stopped, or its disk failed.
    #[error("shard has stopped: {0}")]
    Stopped(String),
}

/// A shard's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This node's number.
    pub id: u64,
    /// The leader's number, if known.
    pub leader: Option<u64>,
    /// Numbers of the nodes that vote.
    pub voters: Vec<u64>,
    /// Raft term.
    pub term: u64,
    /// Index of the last log entry.
    pub last_log_index: u64,
    /// Index of the last applied log entry.
    pub applied_index: u64,
    /// Index up to which the log was cut: a restart need not replay it.
    pub cut_index: u64,
    /// Syncs of the log with the device so far.
    pub log_flushes: u64,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
}

struct Inner {
    host: Arc<Host>,
    number: usize,
    raft: Raft,
    /// The leader as the engine reports it, for frequent queries.
    server: crate::raft::ServerMetrics,
    log: LogStore,
    machine: Arc<MachineState>,
    life: Life,
    lease: Lease,
    /// The term in which this replica last began to hand over what it led.
    handed_over: AtomicU64,
    /// A stop of the replica was requested.
    halted: AtomicBool,
    /// Highest time given to an entry here.
    clock_unix_ns: AtomicU64,
    /// When the shard was last active; monotonic.
    active_ms: AtomicU64,
    /// This replica leads, and its clock stands still.
    hibernates: AtomicBool,
    /// This replica votes, as of the last check.
    votes: AtomicBool,
    proposals: Semaphore,
}

/// One replica of a shard.
#[derive(Clone)]
pub struct Shard {
    inner: Arc<Inner>,
    /// The node, where this shard was started as the whole of it.
    node: Option<Node>,
}

impl Shard {
    /// Opens or makes a node in `dir`, joins its members, and gives its shard 0: see
    /// [`Node::start`]. The node stops with it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(env: Env, dir: &Path, config: NodeConfig) -> Result<Self, StartError> {
        Ok(Self::first_of(Node::start(env, dir, config).await?))
    }

    /// As [`start`](Self::start), on stores that the caller opened, one for each shard: for
    /// simulations.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_on(
        env: Env,
        stores: Vec<Arc<dyn MetaStore>>,
        dir: &Path,
        config: NodeConfig,
    ) -> Result<Self, StartError> {
        Ok(Self::first_of(Node::start_on(env, stores, dir, config).await?))
    }

    fn first_of(node: Node) -> Self {
        let inner = Arc::clone(&node.shards()[0].inner);
        Self { inner, node: Some(node) }
    }

    /// The node that was started with this shard.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// The shard's number.
    #[must_use]
    pub fn number(&self) -> usize {
        self.inner.number
    }

    fn address_of(&self, number: u64) -> String {
        self.inner.host.nodes.address(number).unwrap_or_default()
    }

    /// A consistent snapshot of the applied entries. Linearizable after
    /// [`read_barrier`](Self::read_barrier).
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] if the store fails; [`ProposeError::Unavailable`] while a snapshot
    /// replaces it, since no reader may see a part of one.
    pub fn view(&self) -> Result<StateView, ProposeError> {
        match self.inner.machine.view() {
            Ok(view) => Ok(StateView::new(view)),
            Err(NoView::Torn(_)) => Err(ProposeError::Unavailable),
            Err(NoView::Store(error)) => Err(ProposeError::Stopped(error.to_string())),
        }
    }

    /// Changes whenever the list of exports or the handle keys may have changed here: after the
    /// entry, or the snapshot, that changed them. For a caller that caches them.
    #[must_use]
    pub fn settings_moved(&self) -> u64 {
        self.inner.machine.settings_moved.load(Ordering::Acquire)
    }

    /// Whether a snapshot is replacing this replica's store.
    pub(crate) fn is_torn(&self) -> bool {
        self.inner.machine.is_torn()
    }

    /// Whether other nodes have copies of this shard.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        !self.inner.host.config.is_alone()
    }

    /// Returns when a view taken from now on shows everything acknowledged before this call. Of
    /// shards other than 0 any replica may be queried.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        if self.inner.host.config.is_alone() {
            // This node had applied all that it acknowledged.
            return Ok(());
        }
        self.note_activity();
        let passed = async {
            match self.inner.number {
                0 => self.linearize().await,
                _ => self.linearize_anywhere().await,
            }
        };
        tokio::select! {
            biased;
            passed = passed => passed,
            () = self.inner.host.env.clock.sleep_ms(PROPOSE_MS_MAX) => Err(ProposeError::Timeout),
        }
    }

    async fn linearize(&self) -> Result<(), ProposeError> {
        self.wake().await;
        // Within its lease a leader cannot have a successor, and needs to query no other node.
        let by_lease = self.inner.lease.read(&*self.inner.host.env.clock);
        if self.inner.raft.ensure_linearizable(by_lease).await.is_ok() {
            return Ok(());
        }
        let mut retries = 0;
        loop {
            match self.inner.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                    self.not_leading(&forward, None, &mut retries).await?;
                }
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                    return Err(ProposeError::Unavailable);
                }
                Err(error @ RaftError::Fatal(_)) => return Err(ProposeError::Stopped(error.to_string())),
            }
        }
    }

    /// The shard's state.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        Status {
            id: self.inner.host.config.id,
            leader: metrics.current_leader.map(number_of),
            voters: metrics
                .membership_config
                .voter_ids()
                .map(number_of)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: self.inner.machine.applied_index.load(Ordering::Acquire),
            cut_index: metrics.purged.map_or(0, |id| id.index()),
            log_flushes: self.inner.host.log.flushes(),
            store_bytes: self.inner.machine.store.bytes_on_disk(),
        }
    }

    /// Index of the last entry that is applied here.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.inner.machine.applied_index.load(Ordering::Acquire)
    }

    /// Begins a checkpoint of the store and lets the log be cut, without waiting for either.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`].
    pub async fn checkpoint(&self) -> Result<(), ProposeError> {
        let triggered = self.inner.raft.trigger().snapshot().await;
        triggered.map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    /// Stops: hands over the lead first, and makes everything durable. A shard that was started as
    /// a whole node stops that.
    pub async fn stop(&self) {
        match &self.node {
            Some(node) => node.stop().await,
            None => {
                self.give_up().await;
                self.halt().await;
            }
        }
    }
}

fn engine_config(config: &NodeConfig, ticks: bool) -> Result<Config, StartError> {
    let followers = !config.is_alone();
    let engine = Config {
        cluster_name: "shoal".to_owned(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.heartbeat_ms * ELECTION_HEARTBEATS_MIN,
        election_timeout_max: config.heartbeat_ms * ELECTION_HEARTBEATS_MAX,
        install_snapshot_timeout: PROPOSE_MS_MAX,
        max_payload_entries: REPLICATE_ENTRIES_MAX,
        max_append_entries: Some(APPEND_ENTRIES_MAX),
        // This crate schedules checkpoints: by bytes, entries and age.
        snapshot_policy: SnapshotPolicy::Never,
        // With followers `Shard::cut_covered` cuts the log. This policy may want to cut to an
        // earlier place than a previous request, which the engine takes for its own fault.
        max_in_snapshot_log_to_keep: if followers { u64::MAX } else { 0 },
        enable_pre_vote: Some(followers),
        // A leader sends entries to others while it still writes them. If it dies before they are
        // in its own log, they may be committed all the same. If it led on in its term it would
        // assign their places to other entries.
        enable_leader_restore: Some(!followers),
        // Liveness starts the clocks of all other shards, each in its turn.
        enable_tick: ticks,
        ..Config::default()
    };
    engine.validate().map_err(|error| StartError::Raft(error.to_string()))
}
