//! The interface of a shard: propose commands, take views, query the leader.
//!
//! Clones are the same replica. `stop` stops it; dropping every clone, and its node, without `stop`
//! is a crash, and loses nothing that was acknowledged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use env::Env;
use mds_namespace::MetaStore;
use mds_state::limits::ENTRY_BYTES_MAX;
use mds_state::{Command, Entry, Origin, Outcome, StateView};
use openraft::async_runtime::{Instant as _, WatchReceiver};
use openraft::errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::impls::BasicNode;
use openraft::{ReadPolicy, ServerState};
use tokio::sync::Semaphore;

use crate::config::{NodeConfig, engine_config};
use crate::engine::applied::Applied;
use crate::engine::entry::EncodedEntry;
use crate::engine::identity::number_of;
use crate::engine::life::Life;
use crate::engine::log_store::LogStore;
use crate::engine::machine::{Machine, MachineState, NoView, Raft};
use crate::engine::network::Network;
use crate::engine::type_config::Types;
use crate::handles::{Node, Shard, ShardInner};
use crate::host::Host;
use crate::limits::{
    FORWARD_RETRIES_MAX, HEIR_POLL_MS, HEIR_WAIT_MS_MAX, PROPOSALS_MAX, PROPOSE_MS_MAX, RECOVERY_MS_MAX,
};
use crate::start_error::StartError;

mod cut;
mod forward;
mod group;
mod leading;
pub(crate) mod lease;
mod members;
mod propose;

use lease::Lease;

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
        assert!(inner.number == 0, "the first replica of a node is shard 0's");
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

    /// Time of the last entry that is applied here, nanoseconds since 1970; 0 before the first.
    ///
    /// # Errors
    /// As [`view`](Self::view); [`ProposeError::Stopped`] if the store fails.
    pub fn last_entry_unix_ns(&self) -> Result<u64, ProposeError> {
        let view = self.view()?;
        match Applied::load(view.namespace()) {
            Ok(applied) => Ok(applied.clock_unix_ns),
            Err(error) => Err(ProposeError::Stopped(error.to_string())),
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
