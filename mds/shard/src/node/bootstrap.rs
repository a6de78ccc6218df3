//! Shards begin once all nodes of the cluster are there.
//!
//! INVARIANT: a shard is begun by the node that should lead it, and only after all others have said that they know nothing of it: what was
//! once promised is known to a majority, and so to one of them.
//! Spec: docs/protocol/raft.md §The beginning.

use std::sync::{Arc, Weak};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::Inner;
use crate::host::Host;
use crate::limits::{BOOTSTRAP_FAST_POLLS, BOOTSTRAP_IDLE_MS, BOOTSTRAP_POLL_MS, IDENTIFY_MS_MAX};
use crate::liveness::line;
use crate::raft::NodeId;
use crate::raft::identity::number_of;
use crate::raft::message::{AskIdentity, Identity, RaftProcedure, To};
use crate::raft::network::Links;
use crate::shard::{Shard, StartError};

/// A node alone has nobody to ask.
pub(super) async fn alone(host: &Host, shard: &Shard) -> Result<(), StartError> {
    if shard.has_begun().await? { Ok(()) } else { shard.initialize(&[host.id]).await }
}

/// Begins the shards that this node should lead. Runs until they have begun and the cluster knows this node, or it stops or is dropped.
pub(super) async fn run(node: Weak<Inner>, mut stopped: watch::Receiver<bool>) {
    let mut polls = 0;
    loop {
        let Some(inner) = node.upgrade() else { return };
        match begin(&inner, polls).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "the engine has stopped");
                return;
            }
        }
        polls += 1;
        let sleep_ms = if polls < BOOTSTRAP_FAST_POLLS { BOOTSTRAP_POLL_MS } else { BOOTSTRAP_IDLE_MS };
        let sleep = inner.host.env.clock.sleep_ms(sleep_ms);
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Begins what can be; true if nothing is left to begin and this node takes part.
async fn begin(inner: &Inner, polls: u32) -> Result<bool, StartError> {
    let Inner { host, shards, .. } = inner;
    if !host.config.join.is_empty() {
        return Ok(true);
    }
    let numbers: Vec<u64> = host.config.members.iter().map(|(number, _)| *number).collect();
    let mut blank = Vec::new();
    for shard in shards {
        let is_own = line(&numbers, shard.number()).next() == Some(host.config.id);
        if is_own && !shard.has_begun().await? {
            blank.push(shard);
        }
    }
    if blank.is_empty() && shards[0].has_this_node() {
        return Ok(true);
    }
    let others = host.config.members.iter().filter(|(number, _)| *number != host.config.id);
    let known = join_all(others.map(|(number, addr)| identify(host, *number, addr))).await;
    let is_first_asked_often = polls == BOOTSTRAP_FAST_POLLS;
    if is_first_asked_often && known.iter().flatten().any(|identity| identity.begun.contains(&0)) {
        let number = host.config.id;
        tracing::warn!("the cluster has begun without this directory: shoal admin mds readmit {number}");
    } else if is_first_asked_often {
        tracing::warn!("the cluster begins when all its metadata servers are there");
    }
    let Some(known) = known.into_iter().collect::<Option<Vec<Identity>>>() else { return Ok(false) };
    let mut nodes: Vec<NodeId> = known.iter().map(|identity| identity.id).collect();
    nodes.push(host.id);
    for shard in blank {
        let number = u32::try_from(shard.number()).unwrap_or(u32::MAX);
        if !known.iter().any(|identity| identity.begun.contains(&number)) {
            shard.initialize(&nodes).await?;
        }
    }
    Ok(false)
}

/// Asks a node who it is; none if it does not answer.
pub(super) async fn identify(host: &Arc<Host>, number: u64, addr: &str) -> Option<Identity> {
    let identity = ask(&host.links, addr).await?;
    // Somebody else's address is in the list.
    (number_of(identity.id) == number).then_some(identity)
}

/// Asks whoever is at an address who it is.
pub(super) async fn ask(links: &Links, addr: &str) -> Option<Identity> {
    let addr = addr.parse().ok()?;
    links.ask(addr, To::NODE, RaftProcedure::Identify, &AskIdentity, IDENTIFY_MS_MAX).await.ok()
}
