//! The door to a shard: propose a command, take a view, ask who leads.
//!
//! Clones are the same shard. It stops when `stop` is called; dropping every clone without `stop` is a crash, and
//! loses nothing that was acknowledged.

use std::path::Path;
use std::sync::Arc;

use env::Env;

use crate::command::{Command, Origin, Outcome};
use crate::view::StateView;

/// Who a node is, and how its replica behaves.
#[derive(Clone, Debug)]
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
    /// Time between heartbeats of a leader, in milliseconds; elections start after 4 to 8 of them.
    pub heartbeat_ms: u64,
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
    /// Index up to which the log was cut.
    pub cut_index: u64,
    /// Syncs of the log with the device so far.
    pub log_flushes: u64,
    /// Bytes of the store on disk.
    pub store_bytes: u64,
}

struct Inner {}

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
        let _ = (env, dir, config);
        Err(StartError::Config("not yet"))
    }

    /// Puts a command into the log and answers what it came to, once it is durable on a majority and applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]. A command that was carried out and refused is an `Ok(Outcome::Refused)`.
    pub async fn propose(&self, origin: Option<Origin>, command: Command) -> Result<Outcome, ProposeError> {
        let _ = (&self.inner, origin, command);
        Err(ProposeError::Unavailable)
    }

    /// A consistent snapshot of what is applied here. Linearizable after [`read_barrier`](Self::read_barrier).
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] if the store fails.
    pub fn view(&self) -> Result<StateView, ProposeError> {
        Err(ProposeError::Unavailable)
    }

    /// Returns when a view taken from now on shows everything acknowledged before this call.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        Err(ProposeError::Unavailable)
    }

    /// Whether this replica leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        false
    }

    /// The leader's number and address, if known.
    #[must_use]
    pub fn leader(&self) -> Option<(u64, String)> {
        None
    }

    /// How the shard is.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Stops: everything is made durable first.
    pub async fn stop(&self) {}
}
