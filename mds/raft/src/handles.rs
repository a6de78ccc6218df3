//! The handles of a node and of its shards, and what they share.
//!
//! A shard that was started as a whole node keeps that node, and a node has its shards: so both
//! are below what either does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use env_transport::Server;
use tokio::sync::{Semaphore, watch};

use crate::engine::life::Life;
use crate::engine::log_store::LogStore;
use crate::engine::machine::{MachineState, Raft};
use crate::engine::type_config::ServerMetrics;
use crate::host::Host;
use crate::node::failure::Failure;
use crate::shard::lease::Lease;

/// What one replica of a shard consists of.
pub(crate) struct ShardInner {
    pub(crate) host: Arc<Host>,
    pub(crate) number: usize,
    pub(crate) raft: Raft,
    /// The leader as the engine reports it, for frequent queries.
    pub(crate) server: ServerMetrics,
    pub(crate) log: LogStore,
    pub(crate) machine: Arc<MachineState>,
    pub(crate) life: Life,
    pub(crate) lease: Lease,
    /// The term in which this replica last began to hand over what it led.
    pub(crate) handed_over: AtomicU64,
    /// A stop of the replica was requested.
    pub(crate) halted: AtomicBool,
    /// Highest time given to an entry here.
    pub(crate) clock_unix_ns: AtomicU64,
    /// When the shard was last active; monotonic.
    pub(crate) active_ms: AtomicU64,
    /// This replica leads, and its clock stands still.
    pub(crate) hibernates: AtomicBool,
    /// This replica votes, as of the last check.
    pub(crate) votes: AtomicBool,
    pub(crate) proposals: Semaphore,
}

/// One replica of a shard.
#[derive(Clone)]
pub struct Shard {
    pub(crate) inner: Arc<ShardInner>,
    /// The node, where this shard was started as the whole of it.
    pub(crate) node: Option<Node>,
}

/// What a node consists of.
pub(crate) struct NodeInner {
    pub(crate) host: Arc<Host>,
    pub(crate) shards: Vec<Shard>,
    /// Serves the other nodes, if there are any.
    pub(crate) server: Option<Server>,
    pub(crate) stopped: watch::Sender<bool>,
    pub(crate) failure: Failure,
}

/// All replicas of a node.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<NodeInner>,
}
