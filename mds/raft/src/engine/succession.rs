//! Starts an election at once when a leader's process has died, without waiting for its lease.
//!
//! When a member's connections end, this node probes the member's address. If the kernel refuses
//! the connection, no process listens there: the process is dead, and with it the lease by which it
//! answered reads alone. Silence proves nothing; then elections take their time.
//!
//! INVARIANT: a member counts a leader's lease as over only after it was itself refused at the
//! leader's address; a candidate needs the votes of a majority that did. Assumed: nothing between
//! members refuses connections in the name of a live member.
//! Spec: docs/protocol/raft.md, Succession.

mod passes;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Weak};

use env::Env;
use futures_util::{StreamExt, stream};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::identity::number_of;
use super::machine::Raft;
use super::type_config::{NodeId, Vote};
use crate::host::Host;
use crate::limits::{
    ELECTIONS_MAX, PROBE_MS_MAX, PROBE_PAUSES_MS, SUCCESSION_MS, SUCCESSION_STEP_MS, SUCCESSION_TRIES_MAX,
};
use crate::liveness::line;
use crate::nodes::Nodes;

use passes::passes;

/// Probes the leaders after each connection of a member that ended, until the service is dropped.
/// `rafts` are the engines of this node's shards, by number.
pub(crate) async fn watch(
    env: Env,
    me: u64,
    nodes: Arc<Nodes>,
    host: Weak<Host>,
    rafts: Vec<Raft>,
    ended: Weak<Notify>,
) {
    let followed = Followed::default();
    let pass = async |leader| {
        if !is_gone(&env, &nodes, leader).await {
            return;
        }
        if let Some(host) = host.upgrade() {
            if host.is_alive(number_of(leader)) {
                // It answered since its last succession, if there was one: this is another death.
                followed.forget(leader);
            }
            host.is_gone(number_of(leader));
        }
        let stands = !host.upgrade().is_some_and(|host| host.is_unfit());
        follow_all(&env, (me, stands), &nodes, &rafts, leader, &followed).await;
    };
    passes(&env, ended, || leaders(me, &rafts), pass).await;
}

/// For each shard the leader that was last succeeded there, and its vote. A leader is succeeded
/// once in that vote, however many of its connections end, and however late.
#[derive(Default)]
struct Followed {
    /// By number of the shard.
    last: Mutex<BTreeMap<usize, (NodeId, Vote)>>,
}

impl Followed {
    /// Records that a leader is being succeeded; false if it was before.
    fn is_first(&self, shard: usize, leader: NodeId, vote: Vote) -> bool {
        self.last.lock().insert(shard, (leader, vote)) != Some((leader, vote))
    }

    /// A node is alive after all, or again.
    fn forget(&self, leader: NodeId) {
        self.last.lock().retain(|_, (last, _)| *last != leader);
    }
}

/// Other nodes that lead some shard, as far as this node knows.
fn leaders(me: u64, rafts: &[Raft]) -> BTreeSet<NodeId> {
    let known = rafts.iter().filter_map(|raft| raft.server_metrics().borrow_watched().current_leader);
    known.filter(|leader| number_of(*leader) != me).collect()
}

/// Succeeds a node in all shards that it led.
///
/// This node stands for election only if it `stands`.
async fn follow_all(
    env: &Env,
    (me, stands): (u64, bool),
    nodes: &Nodes,
    rafts: &[Raft],
    gone: NodeId,
    followed: &Followed,
) {
    let nodes = nodes.numbers();
    let mut follows = Vec::new();
    for (shard, raft) in rafts.iter().enumerate() {
        let server = raft.server_metrics();
        let server = server.borrow_watched();
        if server.current_leader == Some(gone) && followed.is_first(shard, gone, server.vote) {
            let place = stands.then(|| turn(&nodes, me, shard, number_of(gone)));
            follows.push(follow(env, raft, (gone, server.vote), place));
        }
    }
    if follows.is_empty() {
        return;
    }
    tracing::info!(node = gone, shards = follows.len(), "a node's process is dead: its leases are over");
    // In the order of their numbers: shard 0 has clients.
    stream::iter(follows).buffer_unordered(ELECTIONS_MAX).collect::<()>().await;
}

/// Whether the leader's machine refuses connections at its address within the probes. A killed
/// process does not release all its sockets at once: its listener may outlive its connections.
async fn is_gone(env: &Env, nodes: &Nodes, leader: NodeId) -> bool {
    let address = nodes.address(number_of(leader)).and_then(|at| at.parse().ok());
    let Some(address) = address else { return false };
    for pause_ms in PROBE_PAUSES_MS {
        env.clock.sleep_ms(pause_ms).await;
        let refused = tokio::select! {
            biased;
            opened = env.net.connect(address) => {
                opened.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            }
            // Silence: the machine is dead, or the network to it.
            () = env.clock.sleep_ms(PROBE_MS_MAX) => return false,
        };
        if refused {
            return true;
        }
    }
    false
}

/// Counts the lease of a leader as over that had this vote when it was found dead, and stands for
/// election when it is this member's turn.
async fn follow(env: &Env, raft: &Raft, (leader, vote): (NodeId, Vote), place: Option<u64>) {
    if raft.server_metrics().borrow_watched().vote != vote {
        return; // Another node leads, or this one leads again after a restart.
    }
    // The engine ends a lease when the leader itself transfers the lead; this transfer names no
    // receiver that could stand.
    let over = TransferLeaderRequest::new(vote, leader, None);
    if raft.handle_transfer_leader(over).await.is_err() {
        return;
    }
    let Some(place) = place else { return };
    env.clock.sleep_ms(SUCCESSION_MS + place * SUCCESSION_STEP_MS).await;
    for _ in 0..SUCCESSION_TRIES_MAX {
        // Another member has stood meanwhile, or leads.
        if raft.server_metrics().borrow_watched().vote != vote {
            break;
        }
        if raft.trigger().elect(true).await.is_err() {
            return;
        }
        // The others may have been slower to detect it. After that elections take their own time.
        env.clock.sleep_ms(SUCCESSION_STEP_MS).await;
    }
}

/// How many members stand before this one.
fn turn(nodes: &[u64], me: u64, shard: usize, gone: u64) -> u64 {
    let ahead = line(nodes, shard).take_while(|node| *node != me);
    let before = ahead.filter(|node| *node != gone).count();
    assert!(before <= nodes.len(), "a node stands after others at most");
    u64::try_from(before).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_turn() {
        let turn = |me, shard, gone| turn(&[1, 2, 3], me, shard, gone);
        assert_eq!((turn(2, 0, 1), turn(3, 0, 1)), (0, 1));
        assert_eq!((turn(1, 0, 2), turn(3, 0, 2)), (0, 1));
        assert_eq!((turn(1, 0, 3), turn(2, 0, 3)), (0, 1));
        // Each shard has a line of its own.
        assert_eq!((turn(3, 1, 2), turn(1, 1, 2)), (0, 1));
        assert_eq!((turn(1, 4, 2), turn(3, 4, 2)), (0, 1));
    }

    /// A dead node may be probed many times: this member stands for a shard three times at most.
    #[test]
    fn a_leader_is_succeeded_once_in_its_term() {
        let followed = Followed::default();
        let vote = |term, leader| Vote::new_committed(term, leader);
        assert!(followed.is_first(0, 7, vote(3, 7)) && followed.is_first(1, 7, vote(3, 7)));
        assert!(!followed.is_first(0, 7, vote(3, 7)) && !followed.is_first(1, 7, vote(3, 7)));
        // It led again, and died again.
        assert!(followed.is_first(0, 7, vote(5, 7)));
        assert!(followed.is_first(1, 8, vote(4, 8)));
        assert!(!followed.is_first(0, 7, vote(5, 7)) && !followed.is_first(1, 8, vote(4, 8)));
        // It was not dead, and leads on.
        followed.forget(7);
        assert!(followed.is_first(0, 7, vote(5, 7)) && !followed.is_first(1, 8, vote(4, 8)));
    }
}
