//! Snapshots that take long to install: no reader sees a part of one, and no other node waits for
//! it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use env::Clock;
use env::os::OsClock;
use mds_raft::ProposeError;

use crate::failure::Fault;
use crate::many::{Cluster, SHARDS, formatted, leader_of, names};
use crate::scene::{create, has};

/// Longer than unanswered heartbeats of all shards would take to fill a connection: 40 a second
/// from each of two nodes, of 256 places.
const INSTALL_MS: u64 = 12_000;
/// A stop takes much less.
const STOP_MS_MAX: u64 = 20_000;

fn torn(cluster: &Cluster, at: usize) -> BTreeSet<usize> {
    let view = |shard: usize| cluster.node(at).shard(shard).unwrap().view();
    (0..SHARDS).filter(|shard| matches!(view(*shard), Err(ProposeError::Unavailable))).collect()
}

/// Makes a node need snapshots of these shards after a long absence, and keeps their installation
/// from ending.
fn installing(cluster: &mut Cluster, at: usize, shards: &BTreeSet<usize>) -> Vec<String> {
    let behind: Vec<u64> =
        (0..SHARDS).map(|shard| cluster.node(at).shard(shard).unwrap().status().applied_index).collect();
    cluster.kill(at);
    let all: Vec<String> = (0..60).map(|number| format!("while-away-{number}")).collect();
    for shard in shards {
        for name in &all {
            cluster.propose(*shard, &create(&format!("{name}-of-{shard}")));
        }
    }
    cluster.wait_until("their logs are cut", |cluster| {
        let is_cut = |shard: &usize| {
            let mut up = cluster.up().into_iter();
            up.all(|at| behind[*shard] < cluster.node(at).shard(*shard).unwrap().status().cut_index)
        };
        shards.iter().all(is_cut)
    });
    shards.iter().for_each(|shard| cluster.fault(at, *shard).set(Fault::STAYS_EMPTY));
    cluster.start(at);
    cluster.wait_until("snapshots are being installed", |cluster| torn(cluster, at) == *shards);
    all
}

/// All shards of a node at once, while they are written to.
#[test]
fn a_long_install_delays_no_other_node() {
    let mut cluster = formatted();
    let (at, shards) = (1, (0..SHARDS).collect());
    let mut all = installing(&mut cluster, at, &shards);
    let (clock, connects) = (OsClock::new(), cluster.connects(at));
    let end_ms = clock.monotonic_ms() + INSTALL_MS;
    while clock.monotonic_ms() < end_ms {
        let fresh = names(&format!("meanwhile-{}", all.len()));
        cluster.create(&fresh);
        all.extend(fresh);
        cluster.rest(50);
    }
    assert_eq!(torn(&cluster, at), shards, "no reader sees a part of a snapshot");
    // Its heartbeats are answered: no node takes it for dead and ends the transfers.
    assert_eq!(cluster.connects(at), connects, "no connection was reopened");
    shards.iter().for_each(|shard| cluster.fault(at, *shard).set(0));
    cluster.wait_until("they are installed", |cluster| torn(cluster, at).is_empty());
    cluster.assert_alike(&all);
}

/// The leader of shard 0 reads all others: a node does not lead it while one of its replicas is
/// replaced. Of two such nodes neither relies on the other.
#[test]
fn a_node_that_installs_does_not_lead_the_first_shard() {
    let mut cluster = formatted();
    let torn_of = [(0, BTreeSet::from([4])), (1, BTreeSet::from([5]))];
    let all = torn_of.each_ref().map(|(at, shards)| installing(&mut cluster, *at, shards));
    let first = |cluster: &Cluster, at: usize| cluster.node(at).shard(0).unwrap().clone();
    // The first in line gets the lead all the same.
    cluster.wait_until("one leads that installs", |cluster| {
        let leader = leader_of(cluster, 0);
        cluster.on(leader, first(cluster, leader).hand_over());
        first(cluster, 0).is_leader() || first(cluster, 1).is_leader()
    });
    cluster.wait_until("the third leads", |cluster| first(cluster, 2).is_leader());
    cluster.rest(3_000);
    assert!(first(&cluster, 2).is_leader(), "and stays the leader");
    for ((at, shards), names) in torn_of.iter().zip(all) {
        assert_eq!(torn(&cluster, *at), *shards);
        shards.iter().for_each(|shard| cluster.fault(*at, *shard).set(0));
        cluster.wait_until("it is installed", |cluster| torn(cluster, *at).is_empty());
        for shard in shards {
            let replica = cluster.node(*at).shard(*shard).unwrap();
            cluster.on(*at, replica.read_barrier()).unwrap();
            assert!(names.iter().all(|name| has(replica, &format!("{name}-of-{shard}"))));
        }
    }
}

/// A planned stop does not wait for the installation of a snapshot.
#[test]
fn a_node_that_installs_stops_at_once() {
    let mut cluster = formatted();
    let (at, shard) = (2, 3);
    let all = installing(&mut cluster, at, &[shard].into());
    let clock = OsClock::new();
    let began_ms = clock.monotonic_ms();
    let (node, stopped) = (cluster.node(at), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A stop that does wait ends as well, too late.
            while !stopped.load(Ordering::Relaxed) && clock.monotonic_ms() < began_ms + STOP_MS_MAX {
                std::thread::yield_now();
            }
            cluster.fault(at, shard).set(0);
        });
        cluster.on(at, node.stop());
        stopped.store(true, Ordering::Relaxed);
    });
    assert!(clock.monotonic_ms() < began_ms + STOP_MS_MAX);
    cluster.kill(at);
    cluster.start(at);
    cluster.wait_until("it has it after all", |cluster| {
        let replica = cluster.node(at).shard(shard).unwrap();
        cluster.on(at, replica.read_barrier()).is_ok() && replica.view().is_ok()
    });
    let replica = cluster.node(at).shard(shard).unwrap();
    assert!(all.iter().all(|name| has(replica, &format!("{name}-of-{shard}"))));
}

/// Creates enough for several cuts of the log.
fn create_much(cluster: &Cluster, shard: usize, round: &str) -> Vec<String> {
    let all: Vec<String> = (0..60).map(|number| format!("{round}-{number}")).collect();
    for name in &all {
        cluster.propose(shard, &create(&format!("{name}-of-{shard}")));
        cluster.rest(10);
    }
    all
}

/// Entries during the installation of a snapshot are kept until the node has caught up: it needs no
/// other snapshot, however long the first took.
#[test]
fn one_snapshot_is_enough_however_long_it_takes() {
    let mut cluster = formatted();
    let (at, shard) = (2, 4);
    let mut all = installing(&mut cluster, at, &[shard].into());
    all.extend(create_much(&cluster, shard, "meanwhile"));
    // Longer than between two checkpoints.
    cluster.rest(1_000);
    cluster.fault(at, shard).set(0);
    all.extend(create_much(&cluster, shard, "behind"));
    cluster.wait_until("it has all", |cluster| {
        let replica = cluster.node(at).shard(shard).unwrap();
        cluster.on(at, replica.read_barrier()).is_ok() && replica.view().is_ok()
    });
    let replica = cluster.node(at).shard(shard).unwrap();
    assert!(all.iter().all(|name| has(replica, &format!("{name}-of-{shard}"))));
    assert_eq!(cluster.fault(at, shard).emptied(), 1, "it was sent one snapshot");
    wait_until_cut(&cluster, shard);
}

/// The sender of a snapshot drops its view before the follower installs it: the store cannot reuse
/// pages that a view shows.
#[test]
fn an_installation_keeps_no_view_of_the_sender() {
    let mut cluster = formatted();
    let (at, shard) = (2, 4);
    installing(&mut cluster, at, &[shard].into());
    let leader = leader_of(&cluster, shard);
    cluster.wait_until("its store is not viewed", |cluster| cluster.fault(leader, shard).views() == 0);
    assert_eq!(torn(&cluster, at), [shard].into());
    cluster.fault(at, shard).set(0);
}

/// A node that is cut off during the transfer of a snapshot does not keep the sender's log from
/// being cut.
#[test]
fn a_node_that_is_cut_off_holds_no_log() {
    let mut cluster = formatted();
    let (at, shard) = (2, 4);
    installing(&mut cluster, at, &[shard].into());
    create_much(&cluster, shard, "meanwhile");
    let leader = leader_of(&cluster, shard);
    let tail = |cluster: &Cluster| {
        let status = cluster.node(leader).shard(shard).unwrap().status();
        status.applied_index - status.cut_index
    };
    cluster.rest(1_000);
    assert!(60 <= tail(&cluster), "it is held: {}", tail(&cluster));
    cluster.isolate(&[at]);
    wait_until_cut(&cluster, shard);
    cluster.fault(at, shard).set(0);
}

/// Waits until the leader of a shard keeps no more of its log than it must.
fn wait_until_cut(cluster: &Cluster, shard: usize) {
    cluster.wait_until("the log is cut", |cluster| {
        let status = cluster.node(leader_of(cluster, shard)).shard(shard).unwrap().status();
        status.applied_index <= status.cut_index + 10
    });
}
