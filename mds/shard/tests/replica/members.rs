//! Three replicas in one process: the leader dies, members come back from their logs or from a snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::scene::{create, env_with, format, has, runtime};
use env::Clock;
use env::memory::net::MemoryNet;
use env::memory::{Crash, MemoryDisk};
use env::os::OsClock;
use mds_namespace::store::mem::MemStore;
use mds_shard::command::{Command, Outcome};
use mds_shard::{Caller, NodeConfig, ProposeError, Shard};
use tokio::runtime::Runtime;

const MEMBERS: u64 = 3;

struct Node {
    disk: MemoryDisk,
    store: Arc<MemStore>,
    running: Option<(Runtime, Shard)>,
}

struct Cluster {
    /// A member that holds another key than the rest.
    stranger: Option<usize>,
    net: Arc<MemoryNet>,
    nodes: Vec<Node>,
    /// Who led last.
    leader: usize,
    heartbeat_ms: u64,
}

impl Cluster {
    fn new() -> Self {
        Self::with_stranger(None)
    }

    fn with_stranger(stranger: Option<usize>) -> Self {
        Self::with(stranger, 100)
    }

    fn with(stranger: Option<usize>, heartbeat_ms: u64) -> Self {
        let node = |_| Node { disk: MemoryDisk::new(), store: Arc::new(MemStore::new()), running: None };
        let nodes = (0..MEMBERS).map(node).collect();
        let mut cluster = Self { stranger, net: Arc::new(MemoryNet::new()), nodes, leader: 0, heartbeat_ms };
        (0..cluster.nodes.len()).for_each(|at| cluster.start(at));
        cluster
    }

    fn start(&mut self, at: usize) {
        let config = NodeConfig {
            id: at as u64 + 1,
            members: (1..=MEMBERS).map(|id| (id, format!("10.0.0.{id}:1"))).collect(),
            cluster_key: if self.stranger == Some(at) { [5; 32] } else { [4; 32] },
            log_entries_kept: 10,
            heartbeat_ms: self.heartbeat_ms,
            ..NodeConfig::single([1; 16])
        };
        let node = &mut self.nodes[at];
        let runtime = runtime();
        let env = env_with(Arc::new(node.disk.clone()), self.net.clone());
        let store = node.store.clone();
        let shard = runtime.block_on(Shard::start_on(env, vec![store], Path::new("/shard"), config)).unwrap();
        node.running = Some((runtime, shard));
    }

    /// The power of one node goes.
    fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (runtime, shard) = node.running.take().unwrap();
        node.disk.crash(Crash::Drop);
        runtime.shutdown_timeout(Duration::from_secs(10));
        drop(shard);
        node.store.crash();
    }

    /// Proposes to whoever leads.
    fn propose(&mut self, command: &Command) -> Outcome {
        for _ in 0..2_000 {
            let Some((runtime, shard)) = &self.nodes[self.leader].running else {
                self.leader = (self.leader + 1) % self.nodes.len();
                continue;
            };
            match runtime.block_on(shard.propose(None, command.clone())) {
                Ok(outcome) => return outcome,
                Err(ProposeError::NotLeader { leader: Some((id, addr)) }) => {
                    assert_eq!(addr, format!("10.0.0.{id}:1"));
                    self.leader = usize::try_from(id).unwrap() - 1;
                    if self.nodes[self.leader].running.is_none() {
                        // It is not known to be dead yet.
                        runtime.block_on(async { OsClock::new().sleep_ms(10).await });
                        self.leader = (self.leader + 1) % self.nodes.len();
                    }
                }
                Err(ProposeError::NotLeader { leader: None } | ProposeError::Unavailable) => {
                    self.leader = (self.leader + 1) % self.nodes.len();
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nobody leads");
    }

    fn create(&mut self, names: &[String]) {
        for name in names {
            let outcome = self.propose(&create(name));
            assert!(matches!(outcome, Outcome::Entry(_)), "{outcome:?}");
        }
    }

    fn shard(&self, at: usize) -> &Shard {
        &self.nodes[at].running.as_ref().unwrap().1
    }

    /// Proposes until member `at` has applied what the leader has.
    fn catch_up(&mut self, at: usize) {
        for _ in 0..20_000 {
            if self.shard(self.leader).status().applied_index <= self.shard(at).status().applied_index {
                return;
            }
            self.propose(&format());
        }
        panic!("member {at} did not catch up");
    }
}

fn names(round: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{round}-{at}")).collect()
}

#[test]
fn leader_dies_and_comes_back() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let first = names("first", 50);
    cluster.create(&first);
    let dead = cluster.leader;
    cluster.kill(dead);
    let second = names("second", 50);
    cluster.create(&second);
    assert_ne!(cluster.leader, dead);
    let (runtime, shard) = cluster.nodes[cluster.leader].running.as_ref().unwrap();
    runtime.block_on(shard.read_barrier()).unwrap();
    assert!(first.iter().chain(&second).all(|name| has(shard, name)));
    cluster.start(dead);
    cluster.catch_up(dead);
    assert!(first.iter().chain(&second).all(|name| has(cluster.shard(dead), name)));
    // A member that does not lead says so, and refuses to promise anything.
    let follower = (cluster.leader + 1) % cluster.nodes.len();
    let (runtime, shard) = cluster.nodes[follower].running.as_ref().unwrap();
    let barrier = runtime.block_on(shard.read_barrier());
    assert!(matches!(barrier, Err(ProposeError::NotLeader { .. })), "{barrier:?}");
    assert!(!shard.is_leader());
}

/// A member that was away while the log was cut gets the whole store, then goes on from its own disk.
#[test]
fn member_comes_back_by_snapshot() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let away = (cluster.leader + 1) % cluster.nodes.len();
    cluster.kill(away);
    let all = names("file", 200);
    cluster.create(&all);
    for _ in 0..20_000 {
        let (runtime, shard) = cluster.nodes[cluster.leader].running.as_ref().unwrap();
        if 100 < shard.status().cut_index {
            break;
        }
        runtime.block_on(shard.checkpoint()).unwrap();
        cluster.propose(&format());
    }
    assert!(100 < cluster.shard(cluster.leader).status().cut_index, "the log was not cut");
    cluster.start(away);
    cluster.catch_up(away);
    assert!(all.iter().all(|name| has(cluster.shard(away), name)));
    cluster.kill(away);
    cluster.start(away);
    cluster.catch_up(away);
    assert!(all.iter().all(|name| has(cluster.shard(away), name)));
}

/// Without a majority nothing is acknowledged.
#[test]
fn lone_member_acknowledges_nothing() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let leader = cluster.leader;
    for at in 0..cluster.nodes.len() {
        if at != leader {
            cluster.kill(at);
        }
    }
    let (runtime, shard) = cluster.nodes[leader].running.as_ref().unwrap();
    runtime.block_on(async {
        tokio::select! {
            outcome = shard.propose(None, create("late")) => panic!("{outcome:?}"),
            // Once its lease is over it takes nothing more.
            () = async { while shard.is_leader() { tokio::task::yield_now().await } } => {}
        }
        let outcome = shard.propose(None, create("later")).await;
        assert!(matches!(outcome, Err(ProposeError::NotLeader { leader: None })), "{outcome:?}");
    });
    assert!(!has(shard, "late"));
}

/// Who does not hold the cluster key gets no entry, and gives no vote.
#[test]
fn stranger_is_kept_out() {
    let mut cluster = Cluster::with_stranger(Some(2));
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    cluster.create(&names("file", 20));
    assert_eq!(cluster.shard(2).status().applied_index, 0);
    assert!(cluster.shard(2).leader().is_none());
}

/// A leader whose process is gone is followed at once: members that are refused at its address do not wait for its lease.
#[test]
fn dead_leader_is_followed_before_its_lease_is_over() {
    // A lease of 8 s, and elections 4 s after it at the earliest.
    let mut cluster = Cluster::with(None, 1_000);
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let dead = cluster.leader;
    cluster.kill(dead);
    let clock = OsClock::new();
    let began_ms = clock.monotonic_ms();
    while !(0..cluster.nodes.len()).any(|at| at != dead && cluster.shard(at).is_leader()) {
        assert!(clock.monotonic_ms() < began_ms + 6_000, "nobody leads before the lease is over");
        std::thread::yield_now();
    }
}

/// A leader that stops has another one lead first, without a lease running out.
#[test]
fn leader_hands_over() {
    let mut cluster = Cluster::with(None, 1_000);
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let first = cluster.leader;
    let (runtime, shard) = cluster.nodes[first].running.as_ref().unwrap();
    let term = shard.leading_term().unwrap();
    assert!(runtime.block_on(shard.hand_over()), "nobody took over");
    assert!(!shard.is_leader());
    cluster.create(&names("after", 5));
    assert_ne!(cluster.leader, first);
    assert!(cluster.shard(cluster.leader).leading_term().is_some_and(|now| term < now));
}

/// What a leader knows of its clients' connections the others know too, also one that comes back without a memory of it.
#[test]
fn members_hear_of_callers() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let caller =
        |port| Caller { service: ([10, 0, 0, 100], 2049).into(), client: ([10, 0, 0, 7], port).into() };
    let leader = cluster.leader;
    let term = cluster.shard(leader).leading_term().unwrap();
    cluster.shard(leader).tell_callers(term, vec![caller(700), caller(701)]);
    let heard = |cluster: &Cluster, at: usize, callers: &[Caller]| {
        let clock = OsClock::new();
        let began_ms = clock.monotonic_ms();
        while cluster.shard(at).callers() != callers {
            assert!(
                clock.monotonic_ms() < began_ms + 10_000,
                "member {at} has heard {:?}",
                cluster.shard(at).callers()
            );
            std::thread::yield_now();
        }
    };
    let other = (leader + 1) % cluster.nodes.len();
    heard(&cluster, other, &[caller(700), caller(701)]);
    cluster.shard(leader).tell_callers(term, vec![caller(701)]);
    heard(&cluster, other, &[caller(701)]);
    cluster.kill(other);
    cluster.start(other);
    heard(&cluster, other, &[caller(701)]);
}
