//! Three nodes with eight shards each, in one process: kills, partitions, hibernation, and a
//! planned stop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::failure::{Fault, FaultyStore};
use crate::partition::NetOf;
use crate::scene::{create, env_with, format, has, runtime};
use env::Clock;
use env::memory::net::MemoryNet;
use env::memory::{Crash, MemoryDisk, SeededEntropy};
use env::os::OsClock;
use mds_namespace::MetaStore;
use mds_namespace::store::mem::MemStore;
use mds_raft::{Node, NodeConfig, NodeStatus, ProposeError, Readmission, ReadmitError, StartError};
use mds_state::Command;
use mds_state::command::Outcome;
use mds_state::command::admin::FixShards;
use tokio::runtime::Runtime;
use wire_nfs::control::ClusterKey;

pub(crate) const MEMBERS: usize = 3;
pub(crate) const SHARDS: usize = 8;
const HIBERNATE_MS: u64 = 600;
/// Long enough for anything here, on a machine with other load.
const PATIENCE_MS: u64 = 60_000;

struct Place {
    disk: MemoryDisk,
    stores: Vec<Arc<MemStore>>,
    /// How each store fails.
    faults: Vec<Arc<Fault>>,
    /// The address that the node gives, if it is wrong.
    gives: Option<SocketAddr>,
    running: Option<(Runtime, Node)>,
}

impl Place {
    fn empty() -> Self {
        Self::of(SHARDS)
    }

    fn of(shards: usize) -> Self {
        let mut place = Self {
            disk: MemoryDisk::new(),
            stores: Vec::new(),
            faults: Vec::new(),
            gives: None,
            running: None,
        };
        place.set_shards(shards);
        place
    }

    fn set_shards(&mut self, shards: usize) {
        self.stores.resize_with(shards, || Arc::new(MemStore::new()));
        self.faults.resize_with(shards, Arc::default);
    }
}

fn address(at: usize) -> SocketAddr {
    format!("10.0.0.{}:1", at + 1).parse().unwrap()
}

pub(crate) struct Cluster {
    net: MemoryNet,
    alone: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// Connections made so far, by receiver.
    connects: Arc<Mutex<BTreeMap<SocketAddr, u64>>>,
    places: Vec<Place>,
    clock: OsClock,
    main: Runtime,
    /// How often a node was started: each start has another seed.
    starts: u64,
}

fn config(at: usize) -> NodeConfig {
    let member = |at: usize| (at as u64 + 1, address(at).to_string());
    let founders: Vec<(u64, String)> = (0..MEMBERS).map(member).collect();
    // A later node knows some of the founders.
    let (members, join) = match at < MEMBERS {
        true => (founders, Vec::new()),
        false => (vec![member(at)], founders.into_iter().map(|(_, address)| address).collect()),
    };
    NodeConfig {
        id: at as u64 + 1,
        members,
        join,
        cluster_keys: ClusterKey::new([4; 32]).into(),
        log_entries_kept: 10,
        checkpoint_ms: 300,
        shards: SHARDS,
        hibernate_ms: HIBERNATE_MS,
        ..NodeConfig::single([1; 16])
    }
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self::asleep();
        (0..MEMBERS).for_each(|at| cluster.start(at));
        cluster
    }

    /// A cluster without started nodes.
    pub(crate) fn asleep() -> Self {
        let places = (0..MEMBERS).map(|_| Place::empty()).collect();
        Self {
            net: MemoryNet::new(),
            alone: Arc::default(),
            connects: Arc::default(),
            places,
            clock: OsClock::new(),
            main: runtime(),
            starts: 0,
        }
    }

    /// How a node's store of a shard fails.
    pub(crate) fn fault(&self, at: usize, shard: usize) -> &Fault {
        &self.places[at].faults[shard]
    }

    /// Gives a node that is down another, empty disk.
    pub(crate) fn empty(&mut self, at: usize) {
        self.places[at] = Place::empty();
    }

    /// Sets the number of shards with which a node that is down is started in the same directory.
    pub(crate) fn set_shards(&mut self, at: usize, shards: usize) {
        self.places[at].set_shards(shards);
    }

    /// Removes a node's stores, though not its disk.
    pub(crate) fn lose_stores(&mut self, at: usize) {
        self.places[at].stores = Place::empty().stores;
    }

    /// Connections that were made to a node so far.
    pub(crate) fn connects(&self, at: usize) -> u64 {
        self.connects.lock().unwrap().get(&address(at)).copied().unwrap_or(0)
    }

    /// A node's disk.
    pub(crate) fn disk(&self, at: usize) -> &MemoryDisk {
        &self.places[at].disk
    }

    /// Runs a future on a node's runtime.
    pub(crate) fn on<T>(&self, at: usize, future: impl Future<Output = T>) -> T {
        self.places[at].running.as_ref().unwrap().0.block_on(future)
    }

    /// Adds a node without any state.
    pub(crate) fn add(&mut self) -> usize {
        self.add_at(None)
    }

    /// As [`add`](Self::add), for a node that gives another address.
    pub(crate) fn add_at(&mut self, gives: Option<SocketAddr>) -> usize {
        self.places.push(Place { gives, ..Place::empty() });
        let at = self.places.len() - 1;
        self.start(at);
        at
    }

    /// Has a node that is down give its own address.
    pub(crate) fn give_own_address(&mut self, at: usize) {
        self.places[at].gives = None;
    }

    /// Replaces a node's disk by an empty one.
    pub(crate) fn lose_disk(&mut self, at: usize) {
        self.lose_disk_and_start_with(at, SHARDS);
    }

    /// As [`lose_disk`](Self::lose_disk), and starts the node for so many shards.
    pub(crate) fn lose_disk_and_start_with(&mut self, at: usize, shards: usize) {
        self.kill(at);
        self.places[at] = Place::of(shards);
        self.start(at);
    }

    /// The answer of the leader of shard 0 to a readmission.
    pub(crate) fn request_readmission(&self, at: usize) -> Option<Result<Readmission, ReadmitError>> {
        let mut asked = self.up().into_iter().map(|asked| {
            let (runtime, node) = self.places[asked].running.as_ref().unwrap();
            runtime.block_on(node.readmit(at as u64 + 1))
        });
        asked.find(|said| *said != Err(ReadmitError::NotLeader))
    }

    /// Requests a readmission from the leader, until all is done.
    pub(crate) fn readmit(&self, at: usize) {
        self.wait_until("a node is taken in again", |cluster| {
            let so_far = cluster.request_readmission(at).and_then(Result::ok);
            so_far.is_some_and(|so_far| so_far.done == so_far.shards)
        });
    }

    pub(crate) fn start(&mut self, at: usize) {
        self.try_start(at).unwrap();
    }

    /// Starts a node that may refuse to.
    pub(crate) fn try_start(&mut self, at: usize) -> Result<(), StartError> {
        self.starts += 1;
        let place = &mut self.places[at];
        let runtime = runtime();
        let net = NetOf {
            own: address(at),
            net: self.net.clone(),
            alone: Arc::clone(&self.alone),
            connects: Arc::clone(&self.connects),
        };
        let mut env = env_with(Arc::new(place.disk.clone()), Arc::new(net));
        env.entropy = Arc::new(SeededEntropy::new(self.starts));
        let stores = place.stores.iter().zip(&place.faults).map(|(store, fault)| {
            Arc::new(FaultyStore { store: Arc::clone(store), fault: Arc::clone(fault) }) as Arc<dyn MetaStore>
        });
        let stores = stores.collect();
        let mut config = NodeConfig { shards: place.stores.len(), ..config(at) };
        if let (Some(gives), Some((_, address))) = (place.gives, config.members.get_mut(0)) {
            *address = gives.to_string();
        }
        let node = runtime.block_on(Node::start_on(env, stores, Path::new("/node"), config))?;
        place.running = Some((runtime, node));
        Ok(())
    }

    pub(crate) fn kill(&mut self, at: usize) {
        let place = &mut self.places[at];
        let (runtime, node) = place.running.take().unwrap();
        place.disk.crash(Crash::Drop);
        runtime.shutdown_timeout(Duration::from_secs(10));
        drop(node);
        place.stores.iter().for_each(|store| store.crash());
    }

    /// Cuts a node off from the others, or ends that.
    fn set_alone(&self, at: usize, is_alone: bool) {
        let isolated: Vec<usize> = is_alone.then_some(at).into_iter().collect();
        self.isolate(&isolated);
    }

    /// Cuts each of these off from all others, and only these.
    pub(crate) fn isolate(&self, isolated: &[usize]) {
        *self.alone.lock().unwrap() = isolated.iter().map(|at| address(*at)).collect();
        if !isolated.is_empty() {
            (0..MEMBERS).for_each(|at| self.net.cut(address(at)));
        }
    }

    pub(crate) fn stop(&mut self, at: usize) {
        let (runtime, node) = self.places[at].running.take().unwrap();
        runtime.block_on(node.stop());
        runtime.shutdown_timeout(Duration::from_secs(10));
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        &self.places[at].running.as_ref().unwrap().1
    }

    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|at| self.places[*at].running.is_some()).collect()
    }

    /// Proposes to whichever node leads the shard; an earlier execution counts. Every node accepts
    /// proposals to shards other than 0. One must while no node reports to lead: a hibernating
    /// leader may not be sure, and only a call for its shard wakes it.
    pub(crate) fn propose(&self, shard: usize, command: &Command) {
        let end_ms = self.clock.monotonic_ms() + PATIENCE_MS;
        loop {
            let leads = |at: &usize| self.node(*at).shard(shard).unwrap().is_leader();
            let takes_part = |at: &usize| self.node(*at).status().takes_part;
            let leader = self.up().into_iter().find(leads);
            let any = self.up().into_iter().find(takes_part).filter(|_| shard != 0);
            if let Some(at) = leader.or(any) {
                let (runtime, node) = self.places[at].running.as_ref().unwrap();
                let shard = node.shard(shard).unwrap();
                let limit_ms = 1_500;
                let outcome = runtime.block_on(async {
                    tokio::select! {
                        outcome = shard.propose(None, command.clone()) => outcome,
                        () = self.clock.sleep_ms(limit_ms) => Err(ProposeError::Timeout),
                    }
                });
                match outcome {
                    Ok(outcome) => {
                        let is_done = matches!(outcome, Outcome::Done | Outcome::Entry(_));
                        let was_done = matches!(&outcome, Outcome::Refused(refusal)
                            if refusal.to_string() == mds_namespace::FsError::Exists.to_string());
                        assert!(is_done || was_done, "{outcome:?}");
                        return;
                    }
                    Err(ProposeError::Stopped(error)) => panic!("{error}"),
                    Err(_) => {}
                }
            }
            assert!(self.clock.monotonic_ms() < end_ms, "no node leads shard {shard}");
            self.rest(20);
        }
    }

    pub(crate) fn rest(&self, ms: u64) {
        self.main.block_on(async { self.clock.sleep_ms(ms).await });
    }

    pub(crate) fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end_ms = self.clock.monotonic_ms() + PATIENCE_MS;
        while !is_so(self) {
            let statuses: Vec<NodeStatus> = self.up().iter().map(|at| self.node(*at).status()).collect();
            assert!(self.clock.monotonic_ms() < end_ms, "not in time: {what}: {statuses:?}");
            self.rest(20);
        }
    }

    /// The first commands of all shards.
    pub(crate) fn format(&self) {
        self.propose(0, &Command::FixShards(FixShards { shards: SHARDS as u32 }));
        (0..SHARDS).for_each(|shard| self.propose(shard, &format()));
    }

    pub(crate) fn create(&self, names: &[String]) {
        for shard in 0..SHARDS {
            for name in names {
                self.propose(shard, &create(&format!("{name}-of-{shard}")));
            }
        }
    }

    /// Waits until all replicas of all shards have the same content, with everything that was
    /// acknowledged.
    pub(crate) fn assert_alike(&self, names: &[String]) {
        for shard in 0..SHARDS {
            self.propose(shard, &create("last"));
        }
        self.wait_until("replicas have applied alike", |cluster| {
            (0..SHARDS).all(|shard| {
                let applied = |at: usize| cluster.node(at).shard(shard).unwrap().status().applied_index;
                cluster.up().into_iter().map(applied).collect::<BTreeSet<_>>().len() == 1
            })
        });
        for shard in 0..SHARDS {
            for at in self.up() {
                let replica = self.node(at).shard(shard).unwrap();
                for name in names {
                    assert!(has(replica, &format!("{name}-of-{shard}")), "{name}, shard {shard}, node {at}");
                }
                let other = (shard + 1) % SHARDS;
                assert!(!has(replica, &format!("{}-of-{other}", names[0])), "shards do not mix");
            }
            // The stores' content, without the log position: byte by byte.
            let dumps: BTreeSet<Vec<_>> = self.up().into_iter().map(|at| self.dump(at, shard)).collect();
            assert_eq!(dumps.len(), 1, "shard {shard}");
        }
    }

    fn dump(&self, at: usize, shard: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let view = self.places[at].stores[shard].view().unwrap();
        let mut pairs = Vec::new();
        view.range(&[], &[0xff; 8], &mut |key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        pairs
    }

    fn hibernating(&self) -> u64 {
        self.up().into_iter().map(|at| self.node(at).status().hibernating).sum()
    }
}

pub(crate) fn formatted() -> Cluster {
    let cluster = Cluster::new();
    cluster.format();
    cluster
}

pub(crate) fn names(round: &str) -> Vec<String> {
    (0..3).map(|at| format!("{round}-{at}")).collect()
}

/// Nodes are killed and cut off, one after another, while every shard is written to.
#[test]
fn kills_and_partitions_leave_replicas_alike() {
    let mut cluster = formatted();
    let mut all = Vec::new();
    for round in 0..6 {
        let at = round % MEMBERS;
        let fresh = names(&format!("round-{round}"));
        if round % 2 == 0 {
            cluster.kill(at);
            cluster.create(&fresh);
            cluster.start(at);
        } else {
            cluster.set_alone(at, true);
            cluster.create(&fresh);
            cluster.set_alone(at, false);
        }
        all.extend(fresh);
        let after = names(&format!("after-{round}"));
        cluster.create(&after);
        all.extend(after);
    }
    cluster.assert_alike(&all);
}

/// Idle shards hibernate; a proposal and a read wake them, and a node's death does.
#[test]
fn idle_shards_hibernate_and_wake() {
    let mut cluster = formatted();
    let asleep = SHARDS as u64 - 1;
    cluster.wait_until("all but shard 0 hibernate", |cluster| cluster.hibernating() == asleep);
    let leaders: Vec<usize> = (0..SHARDS).map(|shard| leader_of(&cluster, shard)).collect();
    // Leadership continues: the others have confirmed it.
    for (shard, at) in leaders.iter().enumerate().skip(1) {
        let (runtime, node) = cluster.places[*at].running.as_ref().unwrap();
        let shard = node.shard(shard).unwrap();
        assert!(shard.is_leader(), "a majority agrees");
        let term = shard.status().term;
        runtime.block_on(shard.read_barrier()).unwrap();
        assert_eq!(shard.status().term, term, "no election");
    }
    cluster.wait_until("they are awake", |cluster| cluster.hibernating() == 0);
    cluster.wait_until("they hibernate again", |cluster| cluster.hibernating() == asleep);
    cluster.create(&names("woken"));
    cluster.wait_until("they hibernate again", |cluster| cluster.hibernating() == asleep);
    cluster.kill(1);
    cluster.create(&names("killed"));
    cluster.wait_until("two nodes hibernate", |cluster| cluster.hibernating() == asleep);
    cluster.start(1);
    cluster.wait_until("three nodes hibernate", |cluster| cluster.hibernating() == asleep);
    let all: Vec<String> = [names("woken"), names("killed")].concat();
    cluster.assert_alike(&all);
}

pub(crate) fn leader_of(cluster: &Cluster, shard: usize) -> usize {
    let mut leader = None;
    cluster.wait_until("it has a leader", |cluster| {
        leader = cluster.up().into_iter().find(|at| cluster.node(*at).shard(shard).unwrap().is_leader());
        leader.is_some()
    });
    leader.unwrap()
}

/// Any replica accepts a proposal and a read of a shard other than 0, and has applied it when it
/// returns.
#[test]
fn followers_propose_and_read_through_the_leader() {
    let mut cluster = formatted();
    let each = |cluster: &Cluster, round: &str| {
        for shard in 1..SHARDS {
            for at in cluster.up() {
                let (runtime, node) = cluster.places[at].running.as_ref().unwrap();
                let (replica, name) = (node.shard(shard).unwrap(), format!("{round}-{at}"));
                runtime.block_on(async {
                    let outcome = replica.propose(None, create(&name)).await;
                    assert!(
                        matches!(outcome, Ok(Outcome::Entry(_))),
                        "shard {shard}, node {at}: {outcome:?}"
                    );
                    assert!(has(replica, &name), "it is applied at its proposer");
                    let again = replica.propose(None, create(&name)).await;
                    assert!(matches!(again, Ok(Outcome::Refused(_))), "{again:?}");
                });
            }
            // After a barrier every node shows what any node acknowledged.
            for at in cluster.up() {
                let (runtime, node) = cluster.places[at].running.as_ref().unwrap();
                let replica = node.shard(shard).unwrap();
                runtime.block_on(replica.read_barrier()).unwrap();
                for other in cluster.up() {
                    assert!(has(replica, &format!("{round}-{other}")), "shard {shard}, node {at}");
                }
            }
        }
    };
    each(&cluster, "awake");
    cluster.wait_until("all but shard 0 hibernate", |cluster| cluster.hibernating() == SHARDS as u64 - 1);
    each(&cluster, "hibernating");
    cluster.kill(2);
    each(&cluster, "two-left");
    // For shard 0 only the leader accepts proposals.
    let follower = (leader_of(&cluster, 0) + 1) % 2;
    let (runtime, node) = cluster.places[follower].running.as_ref().unwrap();
    let refused = runtime.block_on(node.shard(0).unwrap().propose(None, create("late")));
    if leader_of(&cluster, 0) != follower {
        assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
    }
}

/// Before a planned stop everything is handed over, and a node that is back gets its own shards.
#[test]
fn leaders_are_handed_over_and_back() {
    let mut cluster = formatted();
    let should_lead = |shard: usize| shard % MEMBERS;
    cluster.wait_until("each shard has its preferred leader", |cluster| {
        (1..SHARDS).all(|shard| cluster.node(should_lead(shard)).shard(shard).unwrap().is_leader())
    });
    let terms: Vec<u64> =
        (0..SHARDS).map(|shard| cluster.node(0).shard(shard).unwrap().status().term).collect();
    cluster.stop(1);
    // No election timed out: the shards had leaders before the stop was over, as the others learn a
    // moment later.
    for shard in (0..SHARDS).filter(|shard| should_lead(*shard) == 1) {
        cluster.wait_until("it is led by another", |cluster| {
            cluster.node(0).shard(shard).unwrap().leader().is_some_and(|(id, _)| id != 2)
        });
        assert!(terms[shard] < cluster.node(0).shard(shard).unwrap().status().term);
    }
    cluster.create(&names("stopped"));
    cluster.start(1);
    cluster.wait_until("it has what it should lead", |cluster| {
        (1..SHARDS).all(|shard| cluster.node(should_lead(shard)).shard(shard).unwrap().is_leader())
    });
    cluster.assert_alike(&names("stopped"));
}

/// A shard that is idle for long does not keep the log from being cut, and loses nothing by it.
#[test]
fn idle_shards_do_not_pin_the_log() {
    let runtime = runtime();
    let disk = MemoryDisk::new();
    let stores: Vec<Arc<MemStore>> = (0..SHARDS).map(|_| Arc::new(MemStore::new())).collect();
    let segment_bytes = 64 << 10;
    let start = || {
        let env = env_with(Arc::new(disk.clone()), Arc::new(MemoryNet::new()));
        let stores = stores.iter().map(|store| Arc::clone(store) as Arc<dyn MetaStore>).collect();
        let config = NodeConfig {
            shards: SHARDS,
            hibernate_ms: 100,
            checkpoint_ms: 200,
            log_segment_bytes: segment_bytes,
            ..NodeConfig::single([1; 16])
        };
        runtime.block_on(Node::start_on(env, stores, Path::new("/node"), config)).unwrap()
    };
    let node = start();
    let clock = OsClock::new();
    let busy = node.shard(5).unwrap().clone();
    runtime.block_on(async {
        let fix = Command::FixShards(FixShards { shards: SHARDS as u32 });
        node.shard(0).unwrap().propose(None, fix).await.unwrap();
        for shard in node.shards() {
            shard.propose(None, format()).await.unwrap();
            shard.propose(None, create("early")).await.unwrap();
        }
        // The content of 60 segments, while the other shards are idle.
        let (mut at, mut longest) = (0, 0);
        let end_ms = clock.monotonic_ms() + PATIENCE_MS;
        while at < 6_000 || 30 * segment_bytes < node.status().log_bytes {
            assert!(clock.monotonic_ms() < end_ms, "not cut: {:?}", node.status());
            let batch = (at..at + 10).map(|at| busy.propose(None, create(&format!("{at:0200}"))));
            for outcome in futures_util::future::join_all(batch).await.into_iter().collect::<Vec<_>>() {
                outcome.unwrap();
            }
            at += 10;
            longest = longest.max(node.status().log_bytes);
            clock.sleep_ms(5).await;
        }
        println!("{at} proposals, log at most {} segments", longest / segment_bytes);
        disk.crash(Crash::Drop);
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    drop((node, busy));
    stores.iter().for_each(|store| store.crash());
    let runtime = crate::scene::runtime();
    let env = env_with(Arc::new(disk.clone()), Arc::new(MemoryNet::new()));
    let dyn_stores = stores.iter().map(|store| Arc::clone(store) as Arc<dyn MetaStore>).collect();
    let config =
        NodeConfig { shards: SHARDS, log_segment_bytes: segment_bytes, ..NodeConfig::single([1; 16]) };
    let node = runtime.block_on(Node::start_on(env, dyn_stores, Path::new("/node"), config)).unwrap();
    assert!(node.shards().iter().all(|shard| has(shard, "early")));
    assert!(has(node.shard(5).unwrap(), &format!("{:0200}", 5_999)));
    runtime.block_on(node.stop());
}
