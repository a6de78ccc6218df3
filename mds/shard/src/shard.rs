//! The door to a shard: propose a command, take a view, ask who leads.
//!
//! Clones are the same shard. It stops when `stop` is called; dropping every clone without `stop` is a crash, and
//! loses nothing that was acknowledged.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use env::Env;
use env_transport::Server;
use mds_namespace::MetaStore;
use mds_namespace::store::disk::DiskStore;
use openraft::async_runtime::{Instant as _, WatchReceiver};
use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::impls::BasicNode;
use openraft::{Config, ReadPolicy, SnapshotPolicy};
use tokio::sync::{Semaphore, watch};

use crate::command::{Command, Entry, Origin, Outcome};
use crate::limits::{
    APPEND_ENTRIES_MAX, CHECKPOINT_LOG_BYTES, CHECKPOINT_LOG_ENTRIES, CHECKPOINT_POLL_MS,
    ELECTION_HEARTBEATS_MAX, ELECTION_HEARTBEATS_MIN, LOG_ENTRIES_KEPT, MEMBERS_MAX, PROPOSALS_MAX,
    PROPOSE_MS_MAX, PROPOSE_RETRIES_MAX, RECOVERY_MS_MAX, REPLICATE_ENTRIES_MAX,
};
use crate::raft::log_store::{LogStore, SharedLog};
use crate::raft::machine::{Machine, MachineState};
use crate::raft::network::{self, Network};
use crate::raft::service::RaftService;
use crate::raft::{EncodedEntry, Raft, Types};
use crate::view::StateView;

/// Who a node is, and how its replica behaves.
#[derive(Clone)]
pub struct NodeConfig {
    /// This node's number among the members.
    pub id: u64,
    /// All members: number and address, `ip:port`. One member needs no network.
    pub members: Vec<(u64, String)>,
    /// The secret that members prove to each other; unused with one member.
    pub cluster_key: [u8; 32],
    /// Identity of the cluster: a directory of another one is refused.
    pub store_id: [u8; 16],
    /// Bytes of the store kept in memory.
    pub cache_bytes: usize,
    /// Most time between two checkpoints of a store that changes, in milliseconds.
    pub checkpoint_ms: u64,
    /// Log entries kept behind a checkpoint for members that were away; one that was away for longer gets a snapshot.
    pub log_entries_kept: u64,
    /// Time between heartbeats of a leader, in milliseconds; elections start after 4 to 8 of them.
    pub heartbeat_ms: u64,
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
    /// A shard with one replica.
    #[must_use]
    pub fn single(store_id: [u8; 16]) -> Self {
        Self {
            id: 1,
            members: vec![(1, String::new())],
            cluster_key: [0; 32],
            store_id,
            cache_bytes: mds_namespace::limits::DISK_CACHE_BYTES_DEFAULT,
            checkpoint_ms: 5_000,
            log_entries_kept: LOG_ENTRIES_KEPT,
            heartbeat_ms: 100,
        }
    }
}

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense: too many members, or this node is none of them.
    #[error("bad configuration: {0}")]
    Config(&'static str),
    /// The store cannot be opened.
    #[error("store: {0}")]
    Store(#[from] mds_namespace::StoreError),
    /// The log cannot be opened.
    #[error("log: {0}")]
    Log(String),
    /// The directory cannot be used, or the address cannot be listened on.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The engine refused to start.
    #[error("raft: {0}")]
    Raft(String),
}

/// Why a proposal has no outcome. Except for `NotLeader` it may have been, or yet be, carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads: nothing was done.
    #[error("not the leader")]
    NotLeader {
        /// Its number and address, if known.
        leader: Option<(u64, String)>,
    },
    /// No majority answers, or too many proposals wait; try again.
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

/// How a shard is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This node's number.
    pub id: u64,
    /// The leader's number, if known.
    pub leader: Option<u64>,
    /// Raft term.
    pub term: u64,
    /// Index of the last log entry.
    pub last_log_index: u64,
    /// Index of the last applied log entry.
    pub applied_index: u64,
    /// Index up to which the log was cut: what a restart need not repeat.
    pub cut_index: u64,
    /// Syncs of the log with the device so far.
    pub log_flushes: u64,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
}

struct Inner {
    env: Env,
    config: NodeConfig,
    raft: Raft,
    /// Answers the other members, if there are any.
    server: Option<Server>,
    shared: SharedLog,
    log: LogStore,
    machine: Arc<MachineState>,
    /// Highest time given to an entry here.
    clock_unix_ns: AtomicU64,
    proposals: Semaphore,
    stopped: watch::Sender<bool>,
}

/// One replica of a shard.
#[derive(Clone)]
pub struct Shard {
    inner: Arc<Inner>,
}

impl Shard {
    /// Opens or makes the replica in `dir`, and joins its members. Returns when everything that was acknowledged
    /// before is applied (one member), or when the replica takes part (several).
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(env: Env, dir: &Path, config: NodeConfig) -> Result<Self, StartError> {
        env.disk.create_dir_all(dir).await?;
        let (path, cache_bytes) = (dir.join("state.redb"), config.cache_bytes);
        let store = tokio::task::spawn_blocking(move || DiskStore::open(&path, cache_bytes))
            .await
            .map_err(std::io::Error::other)??;
        Self::start_on(env, Arc::new(store), dir, config).await
    }

    /// As [`start`](Self::start), on a store that the caller opened: for simulations.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_on(
        env: Env,
        store: Arc<dyn MetaStore>,
        dir: &Path,
        config: NodeConfig,
    ) -> Result<Self, StartError> {
        check(&config)?;
        env.disk.create_dir_all(dir).await?;
        let (disk, clock) = (Arc::clone(&env.disk), Arc::clone(&env.clock));
        let shared = SharedLog::open(disk, clock, &dir.join("log"), config.store_id, 1).await;
        let shared = shared.map_err(|error| StartError::Log(error.to_string()))?;
        let log = shared.group(0);
        let machine = Arc::new(MachineState::new(store));
        let raft = Raft::new(
            config.id,
            Arc::new(engine_config(&config)?),
            Network { env: env.clone(), key: config.cluster_key },
            log.clone(),
            Machine::new(Arc::clone(&machine)),
        )
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
        let server = listen(&env, dir, &config, &raft).await?;
        let inner = Inner {
            env,
            config,
            raft,
            server,
            shared,
            log,
            machine,
            clock_unix_ns: AtomicU64::new(0),
            proposals: Semaphore::new(PROPOSALS_MAX),
            stopped: watch::Sender::new(false),
        };
        let shard = Self { inner: Arc::new(inner) };
        shard.join().await?;
        tokio::spawn(checkpoints(Arc::downgrade(&shard.inner), shard.inner.stopped.subscribe()));
        Ok(shard)
    }

    /// Begins the life of the members if they are new; waits for what was acknowledged if there is only this one.
    async fn join(&self) -> Result<(), StartError> {
        let Inner { raft, config, env, .. } = &*self.inner;
        let failed = |error: &dyn fmt::Display| StartError::Raft(error.to_string());
        if !raft.is_initialized().await.map_err(|error| failed(&error))? {
            let members = config.members.iter().map(|(id, addr)| (*id, BasicNode::new(addr)));
            let begun = raft.initialize(members.collect::<std::collections::BTreeMap<_, _>>()).await;
            // Another member may have been faster: then this one has its vote or entries already.
            if let Err(error @ RaftError::Fatal(_)) = begun {
                return Err(failed(&error));
            }
        }
        if 1 < config.members.len() {
            return Ok(());
        }
        // An entry of its own behind all others: once it is applied, so are they.
        let recovered = async {
            loop {
                match raft.write_blank().await {
                    Ok(_) => return Ok(()),
                    Err(RaftError::APIError(_)) => env.clock.sleep_ms(config.heartbeat_ms / 10 + 1).await,
                    Err(error @ RaftError::Fatal(_)) => return Err(failed(&error)),
                }
            }
        };
        tokio::select! {
            recovered = recovered => recovered,
            () = env.clock.sleep_ms(RECOVERY_MS_MAX) => Err(StartError::Raft("no recovery in time".to_owned())),
        }
    }

    /// Puts a command into the log and answers what it came to, once it is durable on a majority and applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]. A command that was carried out and refused is an `Ok(Outcome::Refused)`.
    pub async fn propose(&self, origin: Option<Origin>, command: Command) -> Result<Outcome, ProposeError> {
        self.propose_as(0, origin, command).await
    }

    /// As [`propose`](Self::propose), to a shard other than the first, from the node that governs all in this term
    /// (docs/protocol/shards.md §2).
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    pub async fn propose_as(
        &self,
        governor: u64,
        origin: Option<Origin>,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        let Ok(_permit) = self.inner.proposals.try_acquire() else { return Err(ProposeError::Unavailable) };
        let entry = Entry { now_unix_ns: self.stamp(), origin, governor, command };
        let encoded = EncodedEntry::encode(&entry).map_err(|_| ProposeError::TooLong)?;
        tokio::select! {
            biased;
            outcome = self.write(encoded) => outcome,
            () = self.inner.env.clock.sleep_ms(PROPOSE_MS_MAX) => Err(ProposeError::Timeout),
        }
    }

    async fn write(&self, encoded: EncodedEntry) -> Result<Outcome, ProposeError> {
        let mut retries = 0;
        loop {
            match self.inner.raft.client_write(encoded.clone()).await {
                Ok(written) => return Ok(written.data.0),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                    self.not_leading(&forward, &mut retries).await?;
                }
                // The entry went with a leader's term; it may come back with another's.
                Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                    return Err(ProposeError::Timeout);
                }
                Err(error) => return Err(ProposeError::Stopped(error.to_string())),
            }
        }
    }

    /// Waits if this node may lead again in a moment: an election is on, or a leader's lease has just run out.
    async fn not_leading(
        &self,
        forward: &ForwardToLeader<Types>,
        retries: &mut u32,
    ) -> Result<(), ProposeError> {
        match forward.leader_id {
            Some(leader) if leader != self.inner.config.id => {
                Err(ProposeError::NotLeader { leader: Some((leader, self.address_of(leader))) })
            }
            _ if *retries == PROPOSE_RETRIES_MAX => Err(ProposeError::NotLeader { leader: None }),
            _ => {
                *retries += 1;
                self.inner.env.clock.sleep_ms(self.inner.config.heartbeat_ms / 2 + 1).await;
                Ok(())
            }
        }
    }

    fn stamp(&self) -> u64 {
        let wall = self.inner.env.clock.wall_ns();
        self.inner.clock_unix_ns.fetch_max(wall, Ordering::AcqRel).max(wall)
    }

    fn address_of(&self, id: u64) -> String {
        let member = self.inner.config.members.iter().find(|(member, _)| *member == id);
        member.map(|(_, addr)| addr.clone()).unwrap_or_default()
    }

    /// A consistent snapshot of what is applied here. Linearizable after [`read_barrier`](Self::read_barrier).
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] if the store fails.
    pub fn view(&self) -> Result<StateView, ProposeError> {
        let view = self.inner.machine.store.view();
        view.map(StateView::new).map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    /// Returns when a view taken from now on shows everything acknowledged before this call.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        if self.inner.config.members.len() == 1 {
            // What this node acknowledged it had applied.
            return Ok(());
        }
        tokio::select! {
            biased;
            passed = self.linearize() => passed,
            () = self.inner.env.clock.sleep_ms(PROPOSE_MS_MAX) => Err(ProposeError::Timeout),
        }
    }

    async fn linearize(&self) -> Result<(), ProposeError> {
        // Within its lease a leader cannot have a successor, and needs to ask nobody.
        if self.inner.raft.ensure_linearizable(ReadPolicy::LeaseRead).await.is_ok() {
            return Ok(());
        }
        let mut retries = 0;
        loop {
            match self.inner.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                Ok(_) => return Ok(()),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                    self.not_leading(&forward, &mut retries).await?;
                }
                Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                    return Err(ProposeError::Unavailable);
                }
                Err(error @ RaftError::Fatal(_)) => return Err(ProposeError::Stopped(error.to_string())),
            }
        }
    }

    /// Whether this replica leads, as far as it knows: a majority has answered it not long ago.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        let Ok(leader) = self.inner.raft.as_leader() else { return false };
        // The engine keeps real time by itself; a leader that hears from nobody for this long has a successor.
        let lease = Duration::from_millis(self.inner.config.heartbeat_ms * ELECTION_HEARTBEATS_MAX);
        self.inner.config.members.len() == 1
            || leader.last_quorum_acked().is_some_and(|acked| acked.elapsed() < lease)
    }

    /// The term in which this replica leads, as far as it knows. Another number: others may have led meanwhile.
    #[must_use]
    pub fn leading_term(&self) -> Option<u64> {
        self.is_leader().then(|| self.inner.raft.metrics().borrow_watched().current_term)
    }

    /// The leader's number and address, if known.
    #[must_use]
    pub fn leader(&self) -> Option<(u64, String)> {
        let leader = self.inner.raft.metrics().borrow_watched().current_leader?;
        Some((leader, self.address_of(leader)))
    }

    /// How the shard is.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        Status {
            id: self.inner.config.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: self.inner.machine.applied_index.load(Ordering::Acquire),
            cut_index: metrics.purged.map_or(0, |id| id.index()),
            log_flushes: self.inner.shared.flushes(),
            store_bytes: self.inner.machine.store.bytes_on_disk(),
        }
    }

    /// Makes a checkpoint of the store now and lets the log be cut, without waiting for either.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`].
    pub async fn checkpoint(&self) -> Result<(), ProposeError> {
        let triggered = self.inner.raft.trigger().snapshot().await;
        triggered.map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    /// Stops: everything is made durable first.
    pub async fn stop(&self) {
        self.inner.stopped.send_replace(true);
        if let Some(server) = &self.inner.server {
            server.shutdown().await;
        }
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "the raft engine did not stop cleanly");
        }
        if let Err(error) = self.inner.machine.checkpoint().await {
            tracing::error!(%error, "the last checkpoint failed; the log repeats it");
        }
        if let Err(error) = self.inner.shared.close().await {
            tracing::error!(%error, "the log did not close cleanly");
        }
    }
}

async fn listen(
    env: &Env,
    dir: &Path,
    config: &NodeConfig,
    raft: &Raft,
) -> Result<Option<Server>, StartError> {
    if config.members.len() == 1 {
        return Ok(None);
    }
    let own = config.members.iter().find(|(id, _)| *id == config.id);
    let addr = own.and_then(|(_, addr)| addr.parse().ok()).ok_or(StartError::Config("own address"))?;
    let service = RaftService::new(raft.clone(), env.clone(), config.cluster_key, dir.join("snapshot.part"));
    let (net, clock) = (Arc::clone(&env.net), Arc::clone(&env.clock));
    Ok(Some(env_transport::serve(net, clock, addr, Arc::new(service), network::limits()).await?))
}

fn check(config: &NodeConfig) -> Result<(), StartError> {
    if config.members.is_empty() || MEMBERS_MAX < config.members.len() {
        return Err(StartError::Config("number of members"));
    }
    if !config.members.iter().any(|(id, _)| *id == config.id) {
        return Err(StartError::Config("this node is no member"));
    }
    if config.heartbeat_ms == 0 || config.checkpoint_ms == 0 {
        return Err(StartError::Config("a time of zero"));
    }
    Ok(())
}

fn engine_config(config: &NodeConfig) -> Result<Config, StartError> {
    let followers = 1 < config.members.len();
    let engine = Config {
        cluster_name: "shoal".to_owned(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.heartbeat_ms * ELECTION_HEARTBEATS_MIN,
        election_timeout_max: config.heartbeat_ms * ELECTION_HEARTBEATS_MAX,
        install_snapshot_timeout: PROPOSE_MS_MAX,
        max_payload_entries: REPLICATE_ENTRIES_MAX,
        max_append_entries: Some(APPEND_ENTRIES_MAX),
        // Checkpoints are ours to time: by bytes, entries and age.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: if followers { config.log_entries_kept } else { 0 },
        enable_pre_vote: Some(followers),
        // A leader sends entries to others while it still writes them. If it dies before they are in its own log, they may
        // be committed all the same; leading on in its term it would give their places to other entries.
        enable_leader_restore: Some(!followers),
        ..Config::default()
    };
    engine.validate().map_err(|error| StartError::Raft(error.to_string()))
}

/// Has the store checkpointed when enough has happened since the last time, so that a restart repeats little.
async fn checkpoints(shard: std::sync::Weak<Inner>, mut stopped: watch::Receiver<bool>) {
    let (mut at_index, mut waited_ms) = (0, 0);
    loop {
        let Some(inner) = shard.upgrade() else { return };
        let sleep = inner.env.clock.sleep_ms(CHECKPOINT_POLL_MS);
        let (bytes, _) = inner.log.uncut();
        let applied = inner.machine.applied_index.load(Ordering::Acquire);
        let fresh = applied.saturating_sub(at_index);
        let due = inner.config.checkpoint_ms <= waited_ms
            || CHECKPOINT_LOG_ENTRIES <= fresh
            || CHECKPOINT_LOG_BYTES <= bytes && inner.config.log_entries_kept < fresh;
        if 0 < fresh && due {
            if inner.raft.trigger().snapshot().await.is_err() {
                return;
            }
            (at_index, waited_ms) = (applied, 0);
        }
        drop(inner);
        tokio::select! {
            () = sleep => waited_ms += CHECKPOINT_POLL_MS,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}
