//! A node joins a cluster that runs: it asks the nodes it knows, until shard 0 has it.
//!
//! Spec: docs/protocol/raft.md §Joining.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use env::Env;
use tokio::sync::watch;

use super::{Inner, bootstrap};
use crate::host::Host;
use crate::limits::{IDENTIFY_MS_MAX, JOIN_POLL_MS, MEMBERS_MAX};
use crate::raft::identity::number_of;
use crate::raft::message::{Join, Joined, RaftProcedure, To};
use crate::raft::network::Links;
use crate::shard::{NodeConfig, Shard};

/// How many shards the cluster has that a node is to join. Asks until one of its nodes answers.
pub(super) async fn shards_of(env: &Env, config: &NodeConfig) -> usize {
    let links = Links::new(env.clone(), config.cluster_key);
    loop {
        for addr in &config.join {
            if let Some(identity) = bootstrap::ask(&links, addr).await
                && !identity.begun.is_empty()
            {
                return identity.shards as usize;
            }
        }
        tracing::info!("asking for the cluster to join");
        env.clock.sleep_ms(JOIN_POLL_MS).await;
    }
}

/// Asks to be taken in. Runs until shard 0 has this node for good, or it stops or is dropped.
pub(super) async fn run(node: Weak<Inner>, mut stopped: watch::Receiver<bool>) {
    loop {
        let Some(inner) = node.upgrade() else { return };
        let host = &inner.host;
        if inner.shards[0].has_taken_in_this_node() {
            return;
        }
        for addr in &host.config.join {
            let answer = match join(host, addr).await {
                // Whoever leads may be none of those that this node was told of.
                Some(Joined::Leader(leader)) if !host.config.join.contains(&leader) => {
                    join(host, &leader).await
                }
                answer => answer,
            };
            if let Some(Joined::Refused(words)) = answer {
                tracing::error!(words, "this node is not taken in");
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
    host.links.ask(addr, To::NODE, RaftProcedure::Join, &asked, IDENTIFY_MS_MAX).await.ok()
}

impl Shard {
    /// Another node asks to be taken in. Of shard 0.
    pub(crate) async fn take_in(&self, asked: Join) -> Joined {
        if !self.is_leader() {
            return Joined::Leader(self.leader().map(|(_, addr)| addr).unwrap_or_default());
        }
        let members = self.members();
        if members.has(asked.id) {
            return Joined::Done;
        }
        let (number, known) = (number_of(asked.id), self.nodes());
        if known.iter().any(|(known, _)| *known == number) {
            let words = "another metadata server has that number; one that lost its disk is taken in by shoal admin mds readmit";
            return Joined::Refused(words.to_owned());
        }
        if MEMBERS_MAX <= known.len() {
            return Joined::Refused(format!("a cluster has {MEMBERS_MAX} metadata servers at most"));
        }
        if asked.address.parse::<SocketAddr>().is_err() {
            return Joined::Refused("its address is none".to_owned());
        }
        tracing::info!(number, address = asked.address, "a metadata server joins");
        match self.learn_at(members.learn(asked.id), &asked.address).await {
            Ok(()) => Joined::Done,
            Err(error) => {
                tracing::warn!(number, %error, "it has not joined yet");
                Joined::Leader(String::new())
            }
        }
    }
}
