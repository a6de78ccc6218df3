//! Readmits a node that lost its disk, under its new name.
//!
//! Shard 0 learns the node first; then each shard's leader brings its own shard in line. Shard 0
//! comes last: its leader must have replicas of all others.
//!
//! Spec: docs/protocol/raft.md §Taking a node in again.

use std::sync::Weak;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::bootstrap;
use crate::engine::message::Identity;
use crate::engine::type_config::NodeId;
use crate::handles::{Node, NodeInner, Shard};
use crate::limits::{RECONCILE_MS, RECONCILE_POLL_MS, STORES_AT_ONCE};
use crate::roster::{Change, Plan};

/// Progress of a node's readmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readmission {
    /// Shards of the cluster.
    pub shards: u64,
    /// Shards that have the node under its new name.
    pub done: u64,
}

/// Why a node cannot be readmitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadmitError {
    /// Not a metadata server of the cluster.
    #[error("no metadata server has the number {0}")]
    Unknown(u64),
    /// It was started for a cluster of another number of shards.
    #[error(
        "metadata server {number} was started with {has} shards, and the cluster has {all}: start it with --shards {all}"
    )]
    Shards {
        /// The node.
        number: u64,
        /// The number of shards that it has.
        has: u64,
        /// The cluster's number of shards.
        all: u64,
    },
    /// It must run to be readmitted.
    #[error("metadata server {0} does not answer")]
    Unreachable(u64),
    /// Another node leads.
    #[error("not the leader")]
    NotLeader,
    /// Nothing can be changed without a majority.
    #[error("no majority of the metadata servers answers")]
    Unavailable,
}

impl Node {
    /// Readmits a node that lost its disk and was started with an empty directory. Begins the
    /// readmission, or returns its progress.
    /// Changes nothing for a node that has everything.
    ///
    /// # Errors
    /// See [`ReadmitError`].
    pub async fn readmit(&self, number: u64) -> Result<Readmission, ReadmitError> {
        let NodeInner { host, shards, .. } = &*self.inner;
        let addr = host.nodes.address(number).ok_or(ReadmitError::Unknown(number))?;
        if !shards[0].is_leader() {
            return Err(ReadmitError::NotLeader);
        }
        if number == host.config.id {
            return Ok(self.readmission(host.id));
        }
        let identity = bootstrap::identify(host, number, &addr).await;
        let Identity { id, shards: has, .. } = identity.ok_or(ReadmitError::Unreachable(number))?;
        if has as usize != shards.len() {
            return Err(ReadmitError::Shards { number, has: u64::from(has), all: shards.len() as u64 });
        }
        let members = shards[0].members();
        if !members.has(id) {
            tracing::info!(number, "readmitting a metadata server that lost its disk");
            let learned = shards[0].change_members(members.learn(id)).await;
            learned.map_err(|_| ReadmitError::Unavailable)?;
        }
        Ok(self.readmission(id))
    }

    fn readmission(&self, id: NodeId) -> Readmission {
        let shards = &self.inner.shards;
        let first = shards[0].members_for_good();
        // An operator who reads that all is done may remove the next disk.
        let has = |shard: &&Shard| {
            let (Some(members), Some(first)) = (shard.members_for_good(), &first) else { return false };
            members.is_as_for(&first.plan(shard.number()), id)
        };
        let done = shards.iter().filter(has).count();
        assert!(done <= shards.len(), "the progress is of the cluster's shards");
        Readmission { shards: shards.len() as u64, done: done as u64 }
    }
}

/// Brings the shards that are led here in line with shard 0. Runs until the node stops or is
/// dropped.
pub(super) async fn reconcile(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    loop {
        let Some(inner) = node.upgrade() else { return };
        let is_done = bring_in_line(&inner).await;
        let sleep = inner.host.env.clock.sleep_ms(if is_done { RECONCILE_MS } else { RECONCILE_POLL_MS });
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Takes one step for each led shard that is not in line. True if all are.
async fn bring_in_line(inner: &NodeInner) -> bool {
    let Some((first, others)) = inner.shards.split_first() else { return true };
    others.iter().for_each(Shard::update_vote);
    learn_addresses(inner, first);
    let members = first.members();
    let led = |shard: &&Shard| {
        shard.leads_engine() && shard.members().next(&members.plan(shard.number())).is_some()
    };
    let due: Vec<Shard> = others.iter().filter(led).cloned().collect();
    let is_first_due = first.leads_engine() && members.next(&members.plan(0)).is_some();
    if due.is_empty() && !is_first_due {
        return true;
    }
    // This node's view of shard 0 may be old.
    if first.pass_anywhere().await.is_err() {
        return false;
    }
    learn_addresses(inner, first);
    let members = first.members();
    let steps = stream::iter(due).map(|shard| {
        let plan = members.plan(shard.number());
        async move { step(&shard, &plan).await }
    });
    steps.buffer_unordered(STORES_AT_ONCE).collect::<()>().await;
    // Shard 0 last: it names the nodes to learn.
    if is_first_due {
        step_of_first(first, others).await;
    }
    false
}

/// Renames a node in shard 0 once all other shards have its new name. A node that is down, or that
/// cannot get its vote in another shard, delays only itself.
async fn step_of_first(first: &Shard, others: &[Shard]) {
    let members = first.members();
    let Some(change) = members.next(&members.plan(0)) else { return };
    let is_known = |id| others.iter().all(|shard| shard.members().has_only_name(id));
    let has_names = |shard: &Shard| shard.members().has_names_of(&members.plan(shard.number()));
    let change = match change {
        change if members.is_joint() => change,
        Change::Rename(voters) => Change::Rename(members.renamed(&voters, is_known)),
        change if others.iter().all(has_names) => change,
        _ => return,
    };
    make(first, change).await;
}

/// Learns the addresses of the nodes that shard 0 knows.
fn learn_addresses(inner: &NodeInner, first: &Shard) {
    let nodes = first.nodes();
    if !nodes.is_empty() {
        inner.host.set_nodes(nodes);
    }
}

async fn step(shard: &Shard, plan: &Plan) {
    let members = shard.members();
    let Some(change) = members.next(plan) else { return };
    let is_none_ready = |to| members.voters.last() == Some(&shard.renamed(&members, to));
    let change = match change {
        // A node that is not ready under its new name does not keep the others from voting.
        Change::Rename(to) if !members.is_joint() && is_none_ready(&to) => Change::Vote(plan.voters.clone()),
        change => change,
    };
    make(shard, change).await;
}

async fn make(shard: &Shard, change: Change) {
    if let Err(error) = shard.change_members(change).await {
        tracing::debug!(shard = shard.number(), %error, "members of a shard were not changed, retrying later");
    }
}
