//! Begins shards once all nodes of the cluster are up.
//!
//! INVARIANT: the node that should lead a shard begins it, and only after all other nodes have
//! reported that they know nothing of it: a majority knows each promise that was ever made, and so
//! does one of them.
//! INVARIANT: a node begins nothing while a node that answers has another number of shards: entries
//! of a shard that the cluster does not have would keep the node from ever starting with the right
//! number.
//! Spec: docs/protocol/raft.md §The beginning.

use std::sync::{Arc, Weak};

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::engine::identity::number_of;
use crate::engine::message::{Identity, QueryIdentity, RaftProcedure, To};
use crate::engine::network::Links;
use crate::engine::type_config::NodeId;
use crate::handles::{NodeInner, Shard};
use crate::host::Host;
use crate::limits::{BOOTSTRAP_FAST_POLLS, BOOTSTRAP_IDLE_MS, BOOTSTRAP_POLL_MS, IDENTIFY_MS_MAX};
use crate::liveness::line;
use crate::start_error::StartError;

/// Begins a shard of a node alone, which has no other node to query.
pub(super) async fn begin_alone(host: &Host, shard: &Shard) -> Result<(), StartError> {
    if shard.has_begun().await? { Ok(()) } else { shard.initialize(&[host.id]).await }
}

/// Begins the shards that this node should lead. Runs until they have begun and the cluster knows
/// this node, or it stops or is dropped.
pub(super) async fn begin_shards(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    let (mut polls, mut said) = (0, None);
    loop {
        let Some(inner) = node.upgrade() else { return };
        match begin_ready_shards(&inner, polls).await {
            Ok(Begun::All) => return,
            Ok(Begun::NotYet) => {}
            Ok(Begun::Refused(words)) => {
                if said.as_ref() != Some(&words) {
                    tracing::error!(words, "shards cannot begin");
                }
                said = Some(words);
            }
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

/// Progress of the beginning.
enum Begun {
    /// Nothing is left to begin, and this node takes part.
    All,
    NotYet,
    /// The reason, in words.
    Refused(String),
}

/// Begins the shards that can begin.
async fn begin_ready_shards(inner: &NodeInner, polls: u32) -> Result<Begun, StartError> {
    let NodeInner { host, shards, .. } = inner;
    if !host.config.join.is_empty() {
        return Ok(Begun::All);
    }
    let numbers: Vec<u64> = host.config.members.iter().map(|(number, _)| *number).collect();
    assert!(numbers.contains(&host.config.id), "a node is one of the members");
    let mut blank = Vec::new();
    for shard in shards {
        let is_own = line(&numbers, shard.number()).next() == Some(host.config.id);
        if is_own && !shard.has_begun().await? {
            blank.push(shard);
        }
    }
    if blank.is_empty() && shards[0].has_this_node() {
        return Ok(Begun::All);
    }
    let others = host.config.members.iter().filter(|(number, _)| *number != host.config.id);
    let known = join_all(others.map(|(number, addr)| identify(host, *number, addr))).await;
    if let Some(words) = differs(shards.len(), shards[0].has_this_node(), known.iter().flatten()) {
        return Ok(Begun::Refused(words));
    }
    let is_first_asked_often = polls == BOOTSTRAP_FAST_POLLS;
    if is_first_asked_often && known.iter().flatten().any(|identity| identity.begun.contains(&0)) {
        let number = host.config.id;
        tracing::warn!("the cluster has begun without this directory: shoal admin mds readmit {number}");
    } else if is_first_asked_often {
        tracing::warn!("the cluster begins when all its metadata servers are there");
    }
    let Some(known) = known.into_iter().collect::<Option<Vec<Identity>>>() else {
        return Ok(Begun::NotYet);
    };
    let mut nodes: Vec<NodeId> = known.iter().map(|identity| identity.id).collect();
    nodes.push(host.id);
    assert!(nodes.len() == numbers.len(), "all nodes are up when a shard begins");
    for shard in blank {
        let number = u32::try_from(shard.number()).unwrap_or(u32::MAX);
        if !known.iter().any(|identity| identity.begun.contains(&number)) {
            shard.initialize(&nodes).await?;
        }
    }
    Ok(Begun::NotYet)
}

/// Why nothing can begin, if one of these nodes has another number of shards than this one. A
/// cluster without this node cannot change; of the nodes of a new cluster any may have the wrong
/// number.
fn differs<'a>(shards: usize, takes_part: bool, known: impl Iterator<Item = &'a Identity>) -> Option<String> {
    let others: Vec<&Identity> = known.filter(|identity| identity.shards as usize != shards).collect();
    let made = others.iter().find(|identity| !takes_part && !identity.begun.is_empty());
    if let Some(made) = made {
        let refused = StartError::Shards { made: made.shards as usize, asked: shards };
        return Some(refused.to_string());
    }
    let Identity { id, shards: has, .. } = others.first()?;
    let number = number_of(*id);
    Some(format!(
        "metadata server {number} was started with {has} shards, and this one with {shards}: the cluster begins when all have the same number"
    ))
}

/// Queries a node's identity; `None` if it does not answer.
pub(super) async fn identify(host: &Arc<Host>, number: u64, addr: &str) -> Option<Identity> {
    let identity = query_identity(&host.links, addr).await?;
    // The list may have another node's address.
    (number_of(identity.id) == number).then_some(identity)
}

/// Queries the identity of the node at an address.
pub(super) async fn query_identity(links: &Links, addr: &str) -> Option<Identity> {
    let addr = addr.parse().ok()?;
    links.query(addr, To::NODE, RaftProcedure::Identify, &QueryIdentity, IDENTIFY_MS_MAX).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_another_number_of_shards_is_named() {
        let identity = |id, shards, begun: &[u32]| Identity { id, shards, begun: begun.to_vec() };
        let said = |takes_part, known: &[Identity]| differs(8, takes_part, known.iter());
        assert_eq!(said(false, &[]), None);
        assert_eq!(said(false, &[identity(0x1_0002, 8, &[]), identity(0x1_0003, 8, &[0])]), None);
        let made = StartError::Shards { made: 4, asked: 8 }.to_string();
        assert_eq!(said(false, &[identity(0x1_0002, 16, &[]), identity(0x1_0003, 4, &[0])]), Some(made));
        let words = "metadata server 3 was started with 4 shards, and this one with 8: the cluster begins when all have the same number";
        assert_eq!(said(false, &[identity(0x1_0003, 4, &[])]).as_deref(), Some(words));
        assert_eq!(said(true, &[identity(0x1_0003, 4, &[0])]).as_deref(), Some(words));
    }
}
