//! A leader whose process has died is followed at once, without waiting for its lease.
//!
//! When a member's connections end, somebody asks at its door. A kernel that refuses says that nobody listens there: the process is gone, and
//! with it the lease by which it answered reads alone. Silence says nothing; then elections take their time.
//!
//! INVARIANT: a member counts a leader's lease as over only after it was itself refused at the leader's address; a candidate needs
//! the votes of a majority that did. Assumed: nothing between members refuses connections in the name of one that lives.
//! Spec: docs/protocol/raft.md, Succession.

use std::io::ErrorKind;
use std::sync::Weak;

use env::Env;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::Notify;

use super::{NodeId, Raft, Vote};
use crate::limits::{
    PROBE_MS_MAX, PROBE_PAUSES_MS, SUCCESSION_MS, SUCCESSION_STEP_MS, SUCCESSION_TRIES_MAX, WATCH_MS,
};
use crate::shard::NodeConfig;

/// Looks after each connection of a member that ended, until nobody rings any more.
pub(crate) async fn watch(env: Env, config: NodeConfig, raft: Raft, ended: Weak<Notify>) {
    let mut followed = None;
    while let Some(rings) = ended.upgrade() {
        // A ring wakes whoever waits, or the next who does: none is lost while a leader is looked at.
        tokio::select! {
            biased;
            () = rings.notified() => {}
            () = env.clock.sleep_ms(WATCH_MS) => continue,
        }
        drop(rings);
        let metrics = raft.metrics().borrow_watched().clone();
        let Some(leader) = metrics.current_leader.filter(|leader| *leader != config.id) else { continue };
        // A member has several connections: the others' ends are no further news.
        if followed == Some(metrics.vote) || !is_gone(&env, &config, leader).await {
            continue;
        }
        followed = Some(metrics.vote);
        if follow(&env, &config, &raft, leader, metrics.vote).await.is_none() {
            return;
        }
    }
}

/// Whether the leader's machine comes to say that nobody listens at its address. A process that is killed does not let go of all it has at
/// once: its door may still be open when its connections have ended.
async fn is_gone(env: &Env, config: &NodeConfig, leader: NodeId) -> bool {
    let address = config.members.iter().find(|(id, _)| *id == leader).and_then(|(_, at)| at.parse().ok());
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

/// Counts the leader's lease as over, and stands for election when it is this member's turn. `None` if the engine has stopped.
async fn follow(env: &Env, config: &NodeConfig, raft: &Raft, leader: NodeId, vote: Vote) -> Option<()> {
    // The engine ends a lease on the leader's own word that another one follows; this names nobody who could.
    let over = TransferLeaderRequest::new(vote, leader, None);
    raft.handle_transfer_leader(over).await.ok()?.ok();
    let place = turn(config, leader);
    tracing::info!(leader, place, "the leader's process is gone: its lease is over");
    env.clock.sleep_ms(SUCCESSION_MS + place * SUCCESSION_STEP_MS).await;
    for _ in 0..SUCCESSION_TRIES_MAX {
        // Another one has stood meanwhile, or leads.
        if raft.metrics().borrow_watched().vote != vote {
            break;
        }
        raft.trigger().elect(true).await.ok()?;
        // The others may have been slower to see it. After that elections take their own time.
        env.clock.sleep_ms(SUCCESSION_STEP_MS).await;
    }
    Some(())
}

/// How many members stand before this one.
fn turn(config: &NodeConfig, leader: NodeId) -> u64 {
    let before = config.members.iter().filter(|(id, _)| *id < config.id && *id != leader);
    u64::try_from(before.count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_turn() {
        let members: Vec<(u64, String)> = (1..=3).map(|id| (id, String::new())).collect();
        let of = |id| NodeConfig { id, members: members.clone(), ..NodeConfig::single([0; 16]) };
        assert_eq!((turn(&of(2), 1), turn(&of(3), 1)), (0, 1));
        assert_eq!((turn(&of(1), 2), turn(&of(3), 2)), (0, 1));
        assert_eq!((turn(&of(1), 3), turn(&of(2), 3)), (0, 1));
    }
}
