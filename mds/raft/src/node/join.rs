//! Joins a running cluster: the node sends JOIN to the nodes it knows, until shard 0 has it.
//!
//! Spec: docs/protocol/raft.md §Joining.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use env::Env;
use tokio::sync::watch;

use super::bootstrap;
use super::readmit::ReadmitError;
use crate::config::NodeConfig;
use crate::engine::identity::number_of;
use crate::engine::message::{Identity, Join, Joined, RaftProcedure, To};
use crate::engine::network::Links;
use crate::handles::{NodeInner, Shard};
use crate::host::Host;
use crate::limits::{JOIN_MS_MAX, JOIN_POLL_MS, MEMBERS_MAX};
use crate::nodes::Known;

/// The number of shards of the cluster to join. Queries its nodes until one answers.
pub(super) async fn shards_of(env: &Env, config: &NodeConfig) -> usize {
    let links = Links::new(env.clone(), config.cluster_keys.clone(), config.id);
    loop {
        for addr in &config.join {
            if let Some(identity) = bootstrap::query_identity(&links, addr).await
                && !identity.begun.is_empty()
            {
                return identity.shards as usize;
            }
        }
        tracing::info!("no node of the cluster to join answers yet");
        env.clock.sleep_ms(JOIN_POLL_MS).await;
    }
}

/// Sends JOIN until shard 0 has this node for good, or the node stops or is dropped.
pub(super) async fn join_cluster(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    loop {
        let Some(inner) = node.upgrade() else { return };
        let host = &inner.host;
        if inner.shards[0].has_admitted_this_node() {
            return;
        }
        for addr in &host.config.join {
            let answer = match join(host, addr).await {
                // The leader may be none of the nodes in this node's configuration.
                Some(Joined::Leader(leader)) if !host.config.join.contains(&leader) => {
                    join(host, &leader).await
                }
                answer => answer,
            };
            if let Some(Joined::Refused(words)) = answer {
                tracing::error!(words, "the cluster refuses this node");
            }
        }
        let sleep = host.env.clock.sleep_ms(JOIN_POLL_MS);
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

async fn join(host: &Arc<Host>, addr: &str) -> Option<Joined> {
    let own = host.config.members.iter().find(|(number, _)| *number == host.config.id);
    let asked = Join { id: host.id, address: own?.1.clone() };
    let addr = addr.parse().ok()?;
    host.links.query(addr, To::NODE, RaftProcedure::Join, &asked, JOIN_MS_MAX).await.ok()
}

impl Shard {
    /// Handles another node's JOIN. Only in shard 0.
    pub(crate) async fn admit_node(&self, asked: Join) -> Joined {
        if let Err(answer) = self.may_admit_node(&asked) {
            return answer;
        }
        let Join { id, address } = &asked;
        let number = number_of(*id);
        // The node's stored address is never changed afterwards.
        let identity = bootstrap::query_identity(self.links(), address).await;
        if let Err(words) = is_there(&asked, identity, self.node_config().shards) {
            return Joined::Refused(words);
        }
        if let Err(answer) = self.may_admit_node(&asked) {
            return answer;
        }
        tracing::info!(number, address, "a metadata server joins");
        match self.learn_at(self.members().learn(*id), address).await {
            Ok(()) => Joined::Done,
            Err(error) => {
                tracing::warn!(number, %error, "metadata server has not joined yet");
                Joined::Leader(String::new())
            }
        }
    }

    /// Checks that there is room for a node and nothing known against it, without querying it; else
    /// the reply to it.
    fn may_admit_node(&self, asked: &Join) -> Result<(), Joined> {
        if !self.is_leader() {
            return Err(Joined::Leader(self.leader().map(|(_, addr)| addr).unwrap_or_default()));
        }
        if self.members().has(asked.id) {
            return Err(Joined::Done);
        }
        let (number, known) = (number_of(asked.id), self.nodes());
        if known.iter().any(|(known, _)| *known == number) {
            let words = "another metadata server has that number; one that lost its disk is taken in by shoal admin mds readmit";
            return Err(Joined::Refused(words.to_owned()));
        }
        if MEMBERS_MAX <= known.len() {
            return Err(Joined::Refused(format!("a cluster has {MEMBERS_MAX} metadata servers at most")));
        }
        if !may_be_reached(&asked.address, &known) {
            let words = format!("others do not reach it at its address {}", asked.address);
            return Err(Joined::Refused(words));
        }
        Ok(())
    }
}

/// Whether other machines may reach this address at all. Nodes of one machine, for a trial, have
/// only its own address.
fn may_be_reached(address: &str, known: &[Known]) -> bool {
    let is_loopback = |address: &str| address.parse().is_ok_and(|addr: SocketAddr| addr.ip().is_loopback());
    address.parse().is_ok_and(|addr: SocketAddr| !addr.ip().is_unspecified() && addr.port() != 0)
        && (!is_loopback(address) || known.iter().all(|(_, known)| is_loopback(known)))
}

/// Checks that the joining node is the one at its address, and was started for this cluster; else
/// the error, in words.
fn is_there(asked: &Join, answers: Option<Identity>, shards: usize) -> Result<(), String> {
    let (number, address) = (number_of(asked.id), &asked.address);
    let Some(Identity { id, shards: has, .. }) = answers else {
        return Err(format!("no metadata server answers at its address {address}"));
    };
    if id != asked.id {
        let other = number_of(id);
        return Err(format!(
            "at its address {address} another metadata server answers, with the number {other}"
        ));
    }
    if has as usize != shards {
        let differs = ReadmitError::Shards { number, has: u64::from(has), all: shards as u64 };
        return Err(differs.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_addresses_are_refused() {
        let known = |addr: &str| vec![(1, addr.to_owned())];
        let (far, here) = (known("10.0.0.1:1"), known("127.0.0.1:1"));
        for address in ["10.0.0.2:1", "[fd00::1]:1"] {
            assert!(may_be_reached(address, &far) && may_be_reached(address, &here), "{address}");
        }
        for address in ["", "somewhere:1", "10.0.0.2", "10.0.0.2:0", "0.0.0.0:1", "[::]:1"] {
            assert!(!may_be_reached(address, &far) && !may_be_reached(address, &here), "{address}");
        }
        for address in ["127.0.0.1:2", "[::1]:2"] {
            assert!(!may_be_reached(address, &far) && may_be_reached(address, &here), "{address}");
        }
    }

    #[test]
    fn a_joining_node_must_answer_at_its_address() {
        let asked = Join { id: 0x1_0004, address: "10.0.0.4:1".to_owned() };
        let answers = |id, shards| is_there(&asked, Some(Identity { id, shards, begun: Vec::new() }), 8);
        assert_eq!(answers(0x1_0004, 8), Ok(()));
        assert!(
            is_there(&asked, None, 8)
                .unwrap_err()
                .contains("no metadata server answers at its address 10.0.0.4:1")
        );
        assert!(answers(0x1_0003, 8).unwrap_err().contains("another metadata server"));
        assert!(answers(0x2_0004, 8).unwrap_err().contains("another metadata server"));
        assert!(answers(0x1_0004, 4).unwrap_err().contains("start it with --shards 8"));
    }
}
