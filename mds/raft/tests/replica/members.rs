//! Three replicas in one process: the leader dies, members come back from their logs or from a
//! snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::scene::{create, env_with, format, has, runtime};
use env::Clock;
use env::memory::net::MemoryNet;
use env::memory::{Crash, MemoryDisk, SeededEntropy};
use env::os::OsClock;
use mds_namespace::store::mem::MemStore;
use mds_raft::{Caller, NodeConfig, ProposeError, Readmission, Shard};
use mds_state::command::{Command, Outcome};
use tokio::runtime::Runtime;
use wire_nfs::control::ClusterKey;

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
    /// The last leader.
    leader: usize,
    heartbeat_ms: u64,
    /// How often a member was started: each start has another seed.
    starts: u64,
}

impl Cluster {
    fn new() -> Self {
        Self::with(100)
    }

    fn with(heartbeat_ms: u64) -> Self {
        let node = |_| Node { disk: MemoryDisk::new(), store: Arc::new(MemStore::new()), running: None };
        let nodes = (0..MEMBERS).map(node).collect();
        let net = Arc::new(MemoryNet::new());
        let mut cluster = Self { stranger: None, net, nodes, leader: 0, heartbeat_ms, starts: 0 };
        (0..cluster.nodes.len()).for_each(|at| cluster.start(at));
        cluster
    }

    fn start(&mut self, at: usize) {
        let config = NodeConfig {
            id: at as u64 + 1,
            members: (1..=MEMBERS).map(|id| (id, format!("10.0.0.{id}:1"))).collect(),
            cluster_keys: ClusterKey::new(if self.stranger == Some(at) { [5; 32] } else { [4; 32] }).into(),
            log_entries_kept: 10,
            heartbeat_ms: self.heartbeat_ms,
            ..NodeConfig::single([1; 16])
        };
        let node = &mut self.nodes[at];
        let runtime = runtime();
        let mut env = env_with(Arc::new(node.disk.clone()), self.net.clone());
        self.starts += 1;
        env.entropy = Arc::new(SeededEntropy::new(self.starts));
        let store = node.store.clone();
        let shard = runtime.block_on(Shard::start_on(env, vec![store], Path::new("/shard"), config)).unwrap();
        node.running = Some((runtime, shard));
    }

    /// Cuts the power of one node.
    fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (runtime, shard) = node.running.take().unwrap();
        node.disk.crash(Crash::Drop);
        runtime.shutdown_timeout(Duration::from_secs(10));
        drop(shard);
        node.store.crash();
    }

    /// Replaces a node's disk by an empty one.
    fn lose_disk(&mut self, at: usize) {
        self.kill(at);
        let node = &mut self.nodes[at];
        (node.disk, node.store) = (MemoryDisk::new(), Arc::new(MemStore::new()));
    }

    /// Requests a readmission from the leader, until all is done.
    fn readmit(&mut self, at: usize) {
        for _ in 0..1_000 {
            self.propose(&format());
            let (runtime, shard) = self.nodes[self.leader].running.as_ref().unwrap();
            let readmitted = runtime.block_on(shard.node().unwrap().readmit(at as u64 + 1));
            if readmitted == Ok(Readmission { shards: 1, done: 1 }) {
                return;
            }
            runtime.block_on(async { OsClock::new().sleep_ms(10).await });
        }
        panic!("member {at} was not readmitted");
    }

    /// Proposes to the leader.
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
                        // The leader is not known to be dead yet.
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
        panic!("no member leads");
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

/// Lets time pass.
fn pass(ms: u64) {
    runtime().block_on(async { OsClock::new().sleep_ms(ms).await });
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
    // A follower refuses to promise anything.
    let follower = (cluster.leader + 1) % cluster.nodes.len();
    let (runtime, shard) = cluster.nodes[follower].running.as_ref().unwrap();
    let barrier = runtime.block_on(shard.read_barrier());
    assert!(matches!(barrier, Err(ProposeError::NotLeader { .. })), "{barrier:?}");
    assert!(!shard.is_leader());
}

/// A member that was away while the log was cut gets the whole store, then continues from its own
/// disk.
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
            // Once its lease is over it accepts nothing more.
            () = async { while shard.is_leader() { tokio::task::yield_now().await } } => {}
        }
        // The engine uses the followers' promise, which is longer: until then it accepts the
        // proposal, and it has no outcome. A refused proposal is retried for a second.
        let outcome = loop {
            let later = shard.propose(None, create("later"));
            if let Ok(outcome) = tokio::time::timeout(Duration::from_secs(3), later).await {
                break outcome;
            }
        };
        assert!(matches!(outcome, Err(ProposeError::NotLeader { leader: None })), "{outcome:?}");
    });
    assert!(!has(shard, "late"));
}

/// A cluster begins when all its members are up, and not before.
#[test]
fn a_new_cluster_waits_for_all() {
    let node = |_| Node { disk: MemoryDisk::new(), store: Arc::new(MemStore::new()), running: None };
    let nodes = (0..MEMBERS).map(node).collect();
    let net = Arc::new(MemoryNet::new());
    let mut cluster = Cluster { stranger: None, net, nodes, leader: 0, heartbeat_ms: 20, starts: 0 };
    cluster.start(0);
    cluster.start(1);
    pass(500);
    assert!(!cluster.shard(0).node().unwrap().status().takes_part);
    assert!((0..2).all(|at| cluster.shard(at).leader().is_none()));
    cluster.start(2);
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    assert!(cluster.shard(cluster.leader).node().unwrap().status().takes_part);
}

/// Two of three have an acknowledged entry. If one of these loses its disk, it must not make a
/// majority with the third, which never received the entry.
#[test]
fn a_member_that_lost_its_disk_has_no_vote_until_it_is_readmitted() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let keeper = cluster.leader;
    let (late, lost) = ((keeper + 1) % 3, (keeper + 2) % 3);
    cluster.kill(late);
    let acknowledged = names("acknowledged", 20);
    cluster.create(&acknowledged);
    cluster.lose_disk(lost);
    cluster.kill(keeper);
    cluster.start(late);
    cluster.start(lost);
    pass(2_500);
    for at in [late, lost] {
        assert!(!cluster.shard(at).is_leader(), "member {at} leads without what was acknowledged");
    }
    assert!(!cluster.shard(lost).node().unwrap().status().takes_part);
    cluster.start(keeper);
    cluster.create(&names("after", 5));
    cluster.readmit(lost);
    // It counts from now on: with the third one dead it makes a majority.
    cluster.catch_up(lost);
    let gone = if cluster.leader == keeper { late } else { keeper };
    cluster.kill(gone);
    cluster.create(&names("with it", 5));
    assert!(acknowledged.iter().all(|name| has(cluster.shard(lost), name)));
    assert!(cluster.shard(lost).node().unwrap().status().takes_part);
    cluster.start(gone);
}

/// Each member in turn, the leader too, and one twice before its readmission is done.
#[test]
fn all_lose_their_disks_one_after_another() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let mut all = Vec::new();
    for round in 0..4 {
        let more = names(&format!("round-{round}"), 30);
        cluster.create(&more);
        all.extend(more);
        let lost = if round == 3 { cluster.leader } else { round };
        cluster.lose_disk(lost);
        cluster.start(lost);
        if round == 1 {
            cluster.propose(&format());
            let (runtime, shard) = cluster.nodes[cluster.leader].running.as_ref().unwrap();
            drop(runtime.block_on(shard.node().unwrap().readmit(lost as u64 + 1)));
            cluster.lose_disk(lost);
            cluster.start(lost);
        }
        cluster.readmit(lost);
        cluster.catch_up(lost);
        assert!(all.iter().all(|name| has(cluster.shard(lost), name)), "round {round}");
    }
}

/// A node without the cluster key gets no entry, and its vote does not count.
#[test]
fn stranger_is_kept_out() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    cluster.kill(2);
    cluster.stranger = Some(2);
    cluster.start(2);
    let first = names("file", 20);
    cluster.create(&first);
    assert!(first.iter().all(|name| has(cluster.shard(cluster.leader), name)));
    assert!(cluster.shard(2).status().applied_index < cluster.shard(cluster.leader).status().applied_index);
    let leader = cluster.leader;
    cluster.kill(leader);
    pass(1_500);
    assert!(!cluster.shard(1 - leader).is_leader(), "a stranger's vote counts");
}

/// A leader whose process has died is succeeded at once: members that are refused at its address do
/// not wait for its lease.
#[test]
fn dead_leader_is_succeeded_before_its_lease_is_over() {
    // A lease of 8 s, and elections 4 s after it at the earliest.
    let mut cluster = Cluster::with(1_000);
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let dead = cluster.leader;
    cluster.kill(dead);
    let clock = OsClock::new();
    let began_ms = clock.monotonic_ms();
    while !(0..cluster.nodes.len()).any(|at| at != dead && cluster.shard(at).is_leader()) {
        assert!(clock.monotonic_ms() < began_ms + 6_000, "no member leads before the lease is over");
        std::thread::yield_now();
    }
}

/// A leader that stops hands over first, without a lease running out.
#[test]
fn leader_hands_over() {
    let mut cluster = Cluster::with(1_000);
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let first = cluster.leader;
    let (runtime, shard) = cluster.nodes[first].running.as_ref().unwrap();
    let term = shard.leading_term().unwrap();
    assert!(runtime.block_on(shard.hand_over()), "no member took over");
    assert!(!shard.is_leader());
    cluster.create(&names("after", 5));
    assert_ne!(cluster.leader, first);
    assert!(cluster.shard(cluster.leader).leading_term().is_some_and(|now| term < now));
}

/// A node that led, did not lead, and leads again cannot append entries bound to its first term.
#[test]
fn an_entry_bound_to_a_term_is_not_for_the_next() {
    let mut cluster = Cluster::with(1_000);
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    let first = cluster.leader;
    let before = cluster.shard(first).leading_term().unwrap();
    let within = |cluster: &Cluster, term, name| {
        let (runtime, shard) = cluster.nodes[first].running.as_ref().unwrap();
        runtime.block_on(shard.propose_in(term, None, create(name)))
    };
    assert!(matches!(within(&cluster, before, "in time"), Ok(Outcome::Entry(_))));
    let mut turn = 0;
    while turn == 0 || cluster.leader != first {
        turn += 1;
        assert!(turn < 100, "it does not get to lead again");
        let (runtime, shard) = cluster.nodes[cluster.leader].running.as_ref().unwrap();
        runtime.block_on(shard.hand_over());
        cluster.create(&[format!("turn-{turn}")]);
        if turn == 1 {
            let elsewhere = within(&cluster, before, "late");
            assert!(matches!(elsewhere, Err(ProposeError::NotLeader { .. })), "{elsewhere:?}");
        }
    }
    let late = within(&cluster, before, "late");
    assert_eq!(late, Err(ProposeError::NotLeader { leader: None }));
    let now = cluster.shard(first).leading_term().unwrap();
    assert!(before < now && matches!(within(&cluster, now, "late"), Ok(Outcome::Entry(_))));
}

/// The other members learn the connections of a leader's clients, also a member that restarted.
#[test]
fn members_receive_callers() {
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

/// A restarted member may have promised a leader not to vote for another, and has forgotten it.
#[test]
fn no_member_leads_while_a_forgotten_lease_may_be_in_force() {
    let mut cluster = Cluster::with(200);
    assert_eq!(cluster.propose(&format()), Outcome::Done);
    (0..3).for_each(|at| cluster.kill(at));
    let clock = OsClock::new();
    let began_ms = clock.monotonic_ms();
    (0..3).for_each(|at| cluster.start(at));
    cluster.propose(&format());
    let passed_ms = clock.monotonic_ms() - began_ms;
    assert!(8 * 200 <= passed_ms, "a leader after {passed_ms} ms");
}
