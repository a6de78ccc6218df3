//! The nodes of a run: three metadata servers, data servers, clients; and the loop that lets time
//! pass.

mod machines;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use ds_server::{DataServer, DsConfig};
use env::memory::{Crash, MemoryDisk, SeededEntropy};
use env::{Clock as _, Env};
use layout::DataServerId;
use mds_namespace::MetaStore;
use mds_namespace::store::mem::MemStore;
use mds_server::export::Export;
use mds_server::server::Settings;
use mds_server::{MdsConfig, MetadataServer};
use parking_lot::Mutex;
use wire_nfs::control::ClusterKey;

use crate::chance::Chance;
use crate::clock::{Rate, SimClock};
use crate::disk::SimDisk;
use crate::limits::TICK_NS;
use crate::node::Process;
use crate::planted::{Planted, PlantedStore, lose_rest};
use crate::readmission::{self, Readmitting};
use crate::serve::{Running, Slot, failure, serve_data, serve_metadata, state};
use crate::stream::SimNet;
use crate::turn;
use crate::world::{Act, NodeId, World};

/// How many metadata servers there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetadataNodes {
    /// Those that the cluster is made with; clients and data servers know these.
    pub(crate) founders: usize,
    /// With the one that may join later.
    pub(crate) all: usize,
}

impl MetadataNodes {
    /// So many; 0: by the seed. Four are three, and one that joins.
    pub(crate) fn new(asked: usize, seed: u64) -> Self {
        let all = match asked {
            0 => *Chance::new(seed, "metadata servers").pick(&[3, 3, 3, 3, 3, 4, 4, 5]),
            asked => asked,
        };
        Self { founders: if all == 4 { 3 } else { all }, all }
    }
}

/// Data servers.
const DATA_NODES: usize = 2;
/// With the faults of machines: another one takes the place of one that is given up.
const DATA_NODES_FAULTS: usize = 3;
/// If extents are sealed: enough for 4+2.
const DATA_NODES_SEAL: usize = 6;
/// Clients' lease: short, so that runs see it run out.
pub(crate) const LEASE_MS: u64 = 12_000;
/// What clients hold beyond their leases is kept for so long, if no other client wants it.
const COURTESY_MS: u64 = 6_000;
/// A shard hibernates soon, so that runs see it asleep.
const HIBERNATE_MS: u64 = 2_000;
/// Time until a process that failed is started again.
const RESTART_NS: u64 = 1_000_000_000;
const NFS_PORT: u16 = 2049;
const CONTROL_PORT: u16 = 2050;
const RAFT_PORT: u16 = 2051;
const KEY: [u8; 32] = [3; 32];

/// What a node keeps from one life to the next.
struct Node {
    process: Option<Process>,
    /// Since when the process is paused.
    paused_from_ns: Option<u64>,
    disk: SimDisk,
    /// What the disk was at some moment.
    copy: Option<MemoryDisk>,
    clock: SimClock,
    serves: Serves,
    lives: u64,
}

enum Serves {
    Metadata {
        /// One for each shard.
        stores: Vec<Arc<MemStore>>,
        slot: Slot<Arc<MetadataServer>>,
    },
    Data {
        slot: Slot<DataServer>,
    },
    /// A client: its tasks are all there is.
    Nothing,
}

/// All nodes.
pub(crate) struct Cluster {
    pub(crate) world: World,
    seed: u64,
    planted: Planted,
    seals: bool,
    /// The faults of machines are played, too.
    faults: bool,
    shards: usize,
    metadata: MetadataNodes,
    nodes: Vec<Node>,
    chance: Chance,
    /// Why processes did not start, or ended by themselves, and how often.
    pub(crate) failures: Vec<String>,
    /// Starts that are due: when, and which node.
    restarts: Vec<(u64, NodeId)>,
    /// Numbers of data servers that were lost with their disks.
    pub(crate) lost: BTreeSet<DataServerId>,
    /// The metadata server that lost its disk, until it is taken in again.
    pub(crate) readmitting: Option<Readmitting>,
}

impl Cluster {
    pub(crate) fn new(
        world: World,
        seed: u64,
        planted: Planted,
        (seals, faults): (bool, bool),
        shards: usize,
        metadata: MetadataNodes,
    ) -> Self {
        Self {
            world,
            seed,
            planted,
            seals,
            faults,
            shards,
            metadata,
            nodes: Vec::new(),
            chance: Chance::new(seed, "cluster"),
            failures: Vec::new(),
            restarts: Vec::new(),
            lost: BTreeSet::new(),
            readmitting: None,
        }
    }

    /// Adds all servers, and starts them but for the one that joins later.
    pub(crate) fn start(&mut self) {
        for number in 0..self.metadata.all {
            let serves = Serves::Metadata {
                stores: (0..self.shards).map(|_| Arc::default()).collect(),
                slot: Arc::new(Mutex::new(Running::Nothing)),
            };
            let node = self.add(serves);
            if number < self.metadata.founders {
                self.start_process(node);
            }
            let phase_ns = self.chance.below(TICK_NS);
            self.world.after(phase_ns, node, Act::Tick);
        }
        for _ in 0..self.data_nodes() {
            let node = self.add(Serves::Data { slot: Arc::new(Mutex::new(Running::Nothing)) });
            self.start_process(node);
        }
    }

    /// Whether the faults of machines are played, too.
    pub(crate) fn has_faults(&self) -> bool {
        self.faults
    }

    /// How many metadata servers there are.
    pub(crate) fn metadata(&self) -> MetadataNodes {
        self.metadata
    }

    /// How many data servers there are, behind the metadata servers.
    pub(crate) fn data_nodes(&self) -> usize {
        match (self.seals, self.faults) {
            (true, _) => DATA_NODES_SEAL,
            (false, true) => DATA_NODES_FAULTS,
            (false, false) => DATA_NODES,
        }
    }

    /// The operator asks the leader to take a node in again, and how far it is.
    fn ask_to_readmit(&mut self) {
        let now_ns = self.world.now_ns();
        let Some(readmitting) = &mut self.readmitting else { return };
        if readmitting.is_done() {
            self.world.note(readmitting.node, "taken in again", &[]);
            self.readmitting = None;
            return;
        }
        if !readmitting.is_due(now_ns) {
            return;
        }
        let readmitting = readmitting.clone();
        if let Some(leader) = self.leader()
            && let Serves::Metadata { slot, .. } = &self.nodes[leader].serves
            && let Running::Up(server) = &*slot.lock()
            && let Some(asked) = server.node()
            && let Some(process) = &self.nodes[leader].process
        {
            process.spawn(async move { readmitting.ask(asked).await });
            self.world.after(0, leader, Act::Do(Box::new(move |_| vec![leader])));
        }
        self.world.after(readmission::ASK_NS, 0, Act::Do(Box::new(|_| Vec::new())));
    }

    fn add(&mut self, serves: Serves) -> NodeId {
        let node = self.world.lock().network.add_host();
        let disk = SimDisk::new(self.world.clone(), node, self.seed);
        disk.set_manner(|manner| {
            manner.lies = self.planted == Planted::SyncLies;
            manner.rots = self.planted == Planted::BitRots && node == 1;
            manner.hangs = self.planted == Planted::SyncHangs && node == 1;
            manner.sync_ns_max = self.chance.between(300_000, 4_000_000);
        });
        let clock = SimClock::new(self.world.clone(), node, self.rate(node, &serves));
        self.nodes.push(Node {
            process: None,
            paused_from_ns: None,
            disk,
            copy: None,
            clock,
            serves,
            lives: 0,
        });
        node
    }

    /// What is planted.
    pub(crate) fn planted(&self) -> Planted {
        self.planted
    }

    /// How fast a node's clock goes. Clients' show simulated time: what they saw is judged by it.
    fn rate(&self, node: NodeId, serves: &Serves) -> Rate {
        let mut chance = Chance::new(self.seed, &format!("rate {node}"));
        match serves {
            Serves::Metadata { .. } | Serves::Data { .. } if Chance::new(self.seed, "rates").percent(80) => {
                *chance.pick(&Rate::ALLOWED)
            }
            _ => Rate::EVEN,
        }
    }

    /// Adds a client's node and gives its environment.
    pub(crate) fn add_client(&mut self) -> (NodeId, Env) {
        let node = self.add(Serves::Nothing);
        self.start_process(node);
        (node, self.env(node))
    }

    /// Starts a task on a node.
    pub(crate) fn spawn(&mut self, node: NodeId, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(process) = &self.nodes[node].process {
            process.spawn(task);
        }
        self.world.after(0, node, Act::Do(Box::new(move |_| vec![node])));
    }

    fn env(&self, node: NodeId) -> Env {
        let known = &self.nodes[node];
        let lost = self.readmitting.as_ref().is_some_and(|readmitting| readmitting.node == node);
        // Names come from entropy: the first life's name again.
        let life = if lost && self.planted == Planted::NameKept { 1 } else { known.lives };
        let mut chance = Chance::new(self.seed, &format!("entropy {node} {life}"));
        Env {
            clock: Arc::new(known.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(chance.next())),
            disk: Arc::new(known.disk.mount()),
            net: Arc::new(SimNet { world: self.world.clone(), node }),
        }
    }

    /// Starts a node's process, if it does not run.
    pub(crate) fn start_process(&mut self, node: NodeId) {
        if self.nodes[node].process.is_some() {
            return;
        }
        self.nodes[node].lives += 1;
        self.world.lock().power_on(node);
        self.world.note(node, "start", &[self.nodes[node].lives]);
        let env = self.env(node);
        let process = Process::new(self.nodes[node].clock.monotonic_ns());
        match &self.nodes[node].serves {
            Serves::Metadata { stores, slot } => {
                let planted = stores.iter().map(|store| planted_store(store, self.planted, node));
                process.spawn(serve_metadata(
                    env,
                    planted.collect(),
                    metadata_config(node, self.metadata, self.seals, self.shards),
                    Arc::clone(slot),
                    self.planted,
                ));
            }
            Serves::Data { slot } => {
                process.spawn(serve_data(
                    env,
                    data_config(node, self.metadata, self.planted),
                    Arc::clone(slot),
                ));
            }
            Serves::Nothing => {}
        }
        self.nodes[node].process = Some(process);
        self.world.after(0, node, Act::Do(Box::new(move |_| vec![node])));
    }

    /// Ends a node's process: by a signal, or with the host's power and what its disk had not
    /// synced.
    pub(crate) fn end_process(&mut self, node: NodeId, power: Option<Crash>) {
        if self.nodes[node].process.is_none() {
            return;
        }
        self.world.note(node, "end", &[u64::from(power.is_some())]);
        self.world.lock().end_process(node, power.is_some());
        let known = &mut self.nodes[node];
        match &known.serves {
            Serves::Metadata { slot, .. } => drop(std::mem::replace(&mut *slot.lock(), Running::Nothing)),
            Serves::Data { slot } => drop(std::mem::replace(&mut *slot.lock(), Running::Nothing)),
            Serves::Nothing => {}
        }
        (known.process, known.paused_from_ns) = (None, None);
        // What a process had written and not synced is still the kernel's.
        known.disk.crash(power.unwrap_or(Crash::Keep));
        if let Serves::Metadata { stores, .. } = &known.serves {
            stores.iter().for_each(|store| store.crash());
        }
    }

    /// Lets time pass.
    pub(crate) fn run_until(&mut self, end_ns: u64) {
        loop {
            let due = self
                .restarts
                .iter()
                .filter(|(at_ns, _)| *at_ns <= self.world.now_ns())
                .map(|(_, node)| *node);
            let due: Vec<NodeId> = due.collect();
            for node in due {
                self.restarts.retain(|(_, other)| *other != node);
                self.start_process(node);
            }
            self.ask_to_readmit();
            let event = self.world.lock().next(end_ns);
            let Some(event) = event else { break };
            match event.act {
                Act::Wake(sleeper) => {
                    let waker = {
                        let mut sleeper = sleeper.lock();
                        sleeper.due = true;
                        sleeper.waker.take()
                    };
                    if let Some(waker) = waker {
                        waker.wake();
                        self.run_node(event.node);
                    }
                }
                Act::Do(act) => {
                    for node in act(&self.world) {
                        self.run_node(node);
                    }
                }
                Act::Tick => {
                    self.run_node(event.node);
                    self.world.after(TICK_NS, event.node, Act::Tick);
                }
            }
        }
        let mut state = self.world.lock();
        state.now_ns = state.now_ns.max(end_ns);
    }

    fn run_node(&mut self, node: NodeId) {
        let now_ns = self.world.now_ns();
        let known = &mut self.nodes[node];
        if known.paused_from_ns.is_some() {
            return;
        }
        let Some(process) = &mut known.process else { return };
        turn::set_running(now_ns, node);
        process.run(known.clock.monotonic_ns());
        let failed = match &known.serves {
            Serves::Metadata { slot, .. } => failure(slot),
            Serves::Data { slot } => failure(slot),
            Serves::Nothing => None,
        };
        if let Some(error) = failed {
            self.failures.push(format!("{:.3} node {node}: {error}", now_ns as f64 / 1e9));
            self.end_process(node, None);
            self.restarts.push((now_ns + RESTART_NS, node));
            self.world.after(RESTART_NS, node, Act::Do(Box::new(|_| Vec::new())));
        }
    }

    /// The metadata server that leads, as far as it knows itself.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        (0..self.metadata.all)
            .find(|node| self.status(*node).is_some_and(|status| status.leader == Some(*node as u64 + 1)))
    }

    fn status(&self, node: NodeId) -> Option<mds_server::report::Status> {
        let Serves::Metadata { slot, .. } = &self.nodes[node].serves else { return None };
        match &*slot.lock() {
            Running::Up(server) => Some(server.status()),
            _ => None,
        }
    }

    /// How far each shard's log is applied at a metadata server, if it is up.
    fn applied(&self, node: NodeId) -> Option<Vec<u64>> {
        let Serves::Metadata { slot, .. } = &self.nodes[node].serves else { return None };
        match &*slot.lock() {
            Running::Up(server) => Some(server.applied_indexes()),
            _ => None,
        }
    }

    /// Whether every server is up and in the cluster, and all replicas have applied the same.
    pub(crate) fn is_settled(&self) -> bool {
        if self.readmitting.is_some() {
            return false;
        }
        let applied: Vec<Option<Vec<u64>>> = (0..self.metadata.all).map(|node| self.applied(node)).collect();
        applied[0].is_some() && applied.iter().all(|indexes| *indexes == applied[0])
    }

    /// Images at data servers that wait for a group, or to be used; `None` while one of the servers
    /// is not up.
    pub(crate) fn images_waiting(&self) -> Option<usize> {
        let waiting = |node: &Node| match &node.serves {
            Serves::Data { slot } => Some(match &*slot.lock() {
                Running::Up(server) => Some(server.images_waiting()),
                _ => None,
            }),
            Serves::Metadata { .. } | Serves::Nothing => None,
        };
        self.nodes.iter().filter_map(waiting).sum()
    }

    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.nodes[node].process.is_some()
    }

    pub(crate) fn disk(&self, node: NodeId) -> &SimDisk {
        &self.nodes[node].disk
    }

    pub(crate) fn clock(&self, node: NodeId) -> &SimClock {
        &self.nodes[node].clock
    }

    /// All replicas lose what is in small files: what is planted, not what goes wrong.
    pub(crate) fn lose_rest(&self) {
        for node in &self.nodes {
            let Serves::Metadata { stores, .. } = &node.serves else { continue };
            stores.iter().for_each(|store| lose_rest(store).expect("a store in memory"));
        }
    }

    /// The replicas' stores: of each metadata server those of all shards.
    pub(crate) fn stores(&self) -> Vec<Vec<&dyn MetaStore>> {
        let stores = self.nodes.iter().filter_map(|node| match &node.serves {
            Serves::Metadata { stores, .. } => {
                Some(stores.iter().map(|store| &**store as &dyn MetaStore).collect())
            }
            _ => None,
        });
        stores.collect()
    }

    /// How the servers are, for the reader of a failure.
    pub(crate) fn describe(&self) -> String {
        let lines = self.nodes.iter().enumerate().map(|(node, known)| {
            let state = match &known.serves {
                Serves::Metadata { slot, .. } => state(slot),
                Serves::Data { slot } => state(slot),
                Serves::Nothing => "client".to_owned(),
            };
            let status =
                self.status(node).map(|s| format!(" leader {:?} applied {}", s.leader, s.applied_index));
            format!("node {node}: {state}{}, life {}", status.unwrap_or_default(), known.lives)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Where clients find the metadata servers.
pub(crate) fn metadata_addresses(metadata: MetadataNodes) -> Vec<SocketAddr> {
    (0..metadata.founders).map(|node| crate::address(node, NFS_PORT)).collect()
}

fn planted_store(store: &Arc<MemStore>, planted: Planted, node: NodeId) -> Arc<dyn MetaStore> {
    match planted {
        Planted::ReplicaForgets if node != 1 => Arc::clone(store) as Arc<dyn MetaStore>,
        Planted::StaleViews
        | Planted::ReplicaForgets
        | Planted::EntryStays
        | Planted::LocksHidden
        | Planted::InlineForgotten
        | Planted::OrphansStay
        | Planted::RecordsStay
        | Planted::RecordsForgotten
        | Planted::IntentsStay
        | Planted::GroupsForgotten
        | Planted::MarksForgotten
        | Planted::FormerDropped
        | Planted::StorePanics
        | Planted::LivesOn => Arc::new(PlantedStore::new(Arc::clone(store), planted)),
        Planted::Nothing
        | Planted::SyncLies
        | Planted::BitRots
        | Planted::SyncHangs
        | Planted::SlowClock
        | Planted::RestLost
        | Planted::NameKept
        | Planted::AnswersForgotten
        | Planted::StaleSizes
        | Planted::GrownTruncation
        | Planted::OldEof
        | Planted::PausedLeases
        | Planted::PausesUnseen
        | Planted::DiskSilent
        | Planted::ClockBelieved
        | Planted::RunsTwice => Arc::clone(store) as Arc<dyn MetaStore>,
    }
}

fn metadata_config(node: NodeId, metadata: MetadataNodes, seals: bool, shards: usize) -> MdsConfig {
    let member = |member: usize| (member as u64 + 1, crate::address(member, RAFT_PORT).to_string());
    let founders = (0..metadata.founders).map(member);
    let (members, join) = match node < metadata.founders {
        true => (founders.collect(), Vec::new()),
        false => (vec![member(node)], founders.map(|(_, address)| address).collect()),
    };
    let controls = (0..metadata.founders)
        .map(|member| (member as u64 + 1, crate::address(member, CONTROL_PORT).to_string()));
    MdsConfig {
        dir: "/metadata".into(),
        listen: crate::address(node, NFS_PORT),
        control: crate::address(node, CONTROL_PORT),
        exports: vec![Export::any_port()],
        settings: Settings {
            lease_ms: LEASE_MS,
            inline_bytes: 8 << 10,
            recall_ms: 5_000,
            courtesy_ms: COURTESY_MS,
            // Short times, so that much is sealed, used and made again within a run.
            seal: seals,
            seal_idle_ms: 1_000,
            group_wait_ms: 500,
            repair_grace_ms: 4_000,
            shards: u32::try_from(shards).expect("few shards"),
            hibernate_ms: HIBERNATE_MS,
            ..Settings::default()
        },
        cluster_keys: ClusterKey::new(KEY).into(),
        node: node as u64 + 1,
        members,
        join,
        controls: controls.collect(),
        service: None,
    }
}

fn data_config(node: NodeId, metadata: MetadataNodes, planted: Planted) -> DsConfig {
    DsConfig {
        dir: "/data".into(),
        listen: crate::address(node, NFS_PORT),
        control: crate::address(node, CONTROL_PORT),
        advertise: None,
        metadata_servers: (0..metadata.founders).map(|member| crate::address(member, CONTROL_PORT)).collect(),
        cluster_keys: ClusterKey::new(KEY).into(),
        capacity_bytes: 1 << 30,
        seal_bytes_per_s: ds_server::limits::SEAL_BYTES_PER_S,
        repair_bytes_per_s: 0,
        scrub_period_ms: 0,
        scrub_bytes_per_s: ds_server::limits::SCRUB_BYTES_PER_S,
        hang_ms: if planted == Planted::DiskSilent { 0 } else { ds_server::limits::HANG_MS },
        accept_damage: false,
        domain: ds_server::Domain::default(),
        name: String::new(),
    }
}
