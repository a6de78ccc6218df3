//! A leader whose process has died is followed at once, without waiting for its lease.
//!
//! When a member's connections end, somebody asks at its door. A kernel that refuses says that nobody listens there: the process is gone, and
//! with it the lease by which it answered reads alone. Silence says nothing; then elections take their time.
//!
//! INVARIANT: a member counts a leader's lease as over only after it was itself refused at the leader's address; a candidate needs
//! the votes of a majority that did. Assumed: nothing between members refuses connections in the name of one that lives.
//! Spec: docs/protocol/raft.md, Succession.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::{Arc, Weak};

use env::Env;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::Notify;

use super::identity::number_of;
use super::{NodeId, Raft, Vote};
use crate::host::Host;
use crate::limits::{
    ELECTIONS_MAX, PROBE_MS_MAX, PROBE_PAUSES_MS, SUCCESSION_MS, SUCCESSION_STEP_MS, SUCCESSION_TRIES_MAX,
    WATCH_MS,
};
use crate::liveness::line;
use crate::nodes::Nodes;

/// Looks after each connection of a member that ended, until nobody rings any more. `rafts` are the engines of this node's shards, by number.
pub(crate) async fn watch(
    env: Env,
    me: u64,
    nodes: Arc<Nodes>,
    host: Weak<Host>,
    rafts: Vec<Raft>,
    ended: Weak<Notify>,
) {
    let (mut asked, mut followed) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut asking = BTreeSet::new();
    while let Some(rings) = ended.upgrade() {
        // A ring wakes whoever waits, or the next who does: none is lost while a leader is followed.
        tokio::select! {
            biased;
            Some((leader, gone)) = asked.next(), if !asked.is_empty() => {
                asking.remove(&leader);
                if gone {
                    if let Some(host) = host.upgrade() {
                        host.is_gone(number_of(leader));
                    }
                    // Beside what goes on: what was seen of this one must not grow old behind another one.
                    followed.push(follow_all(&env, me, &nodes, &rafts, leader));
                }
            }
            Some(()) = followed.next(), if !followed.is_empty() => {}
            () = rings.notified() => {
                // It is not known whose connection ended. A member has several: the others' ends are no further news.
                for leader in leaders(me, &rafts) {
                    if asking.insert(leader) {
                        let (env, nodes) = (&env, &nodes);
                        asked.push(async move { (leader, is_gone(env, nodes, leader).await) });
                    }
                }
            }
            () = env.clock.sleep_ms(WATCH_MS) => {}
        }
    }
}

/// Other nodes that lead some shard, as far as is known here.
fn leaders(me: u64, rafts: &[Raft]) -> BTreeSet<NodeId> {
    let known = rafts.iter().filter_map(|raft| raft.server_metrics().borrow_watched().current_leader);
    known.filter(|leader| number_of(*leader) != me).collect()
}

/// Follows a node in all shards that it led.
async fn follow_all(env: &Env, me: u64, nodes: &Nodes, rafts: &[Raft], gone: NodeId) {
    let nodes = nodes.numbers();
    let mut follows = Vec::new();
    for (shard, raft) in rafts.iter().enumerate() {
        let server = raft.server_metrics();
        let server = server.borrow_watched();
        if server.current_leader == Some(gone) {
            follows.push(follow(env, raft, (gone, server.vote), turn(&nodes, me, shard, number_of(gone))));
        }
    }
    if follows.is_empty() {
        return;
    }
    tracing::info!(node = gone, shards = follows.len(), "a node's process is gone: its leases are over");
    // In the order of their numbers: shard 0 has clients.
    stream::iter(follows).buffer_unordered(ELECTIONS_MAX).collect::<()>().await;
}

/// Whether the leader's machine comes to say that nobody listens at its address. A process that is killed does not let go of all it has at
/// once: its door may still be open when its connections have ended.
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
            // Silence: the machine is gone, or the way to it.
            () = env.clock.sleep_ms(PROBE_MS_MAX) => return false,
        };
        if refused {
            return true;
        }
    }
    false
}

/// Counts the lease of a leader as over that had this vote when it was found to be gone, and stands for election when it is this member's turn.
async fn follow(env: &Env, raft: &Raft, (leader, vote): (NodeId, Vote), place: u64) {
    if raft.server_metrics().borrow_watched().vote != vote {
        return; // Another one leads, or the same one, started again.
    }
    // The engine ends a lease on the leader's own word that another one follows; this names nobody who could.
    let over = TransferLeaderRequest::new(vote, leader, None);
    if raft.handle_transfer_leader(over).await.is_err() {
        return;
    }
    env.clock.sleep_ms(SUCCESSION_MS + place * SUCCESSION_STEP_MS).await;
    for _ in 0..SUCCESSION_TRIES_MAX {
        // Another one has stood meanwhile, or leads.
        if raft.server_metrics().borrow_watched().vote != vote {
            break;
        }
        if raft.trigger().elect(true).await.is_err() {
            return;
        }
        // The others may have been slower to see it. After that elections take their own time.
        env.clock.sleep_ms(SUCCESSION_STEP_MS).await;
    }
}

/// How many members stand before this one.
fn turn(nodes: &[u64], me: u64, shard: usize, gone: u64) -> u64 {
    let before = line(nodes, shard).take_while(|node| *node != me).filter(|node| *node != gone);
    u64::try_from(before.count()).unwrap_or(u64::MAX)
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
}
