//! One run, from its seed to its verdict.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::chance::Chance;
use crate::check::content::{BLOCKS, Block};
use crate::check::linearizable::{Acted, Model, Verdict, check};
use crate::check::moves::Group;
use crate::check::names::Directory;
use crate::check::{locks, state};
use crate::client::backchannel::Backchannel;
use crate::client::session::Client;
use crate::client::{content, linux, watch, workload};
use crate::clock::Rate;
use crate::cluster::{Cluster, LEASE_MS, MetadataNodes, metadata_addresses};
use crate::event_log::EventLog;
use crate::nemesis::Nemesis;
use crate::planted::Planted;
use crate::record::Record;
use crate::turn;
use crate::world::World;

const SECOND_NS: u64 = 1_000_000_000;
/// Shards of a name space that has several.
const SHARDS: usize = 4;
/// Most time between two looks of a client that only looks.
const WATCH_MS: u64 = 600;
/// Time to start in peace.
const START_NS: u64 = 5 * SECOND_NS;
/// Time that clients go on after the last fault.
const CALM_NS: u64 = 8 * SECOND_NS;
/// And if the last fault took servers for good: an extent of which only an image is left waits so
/// long for its next primary.
const CALM_LOST_NS: u64 = 25 * SECOND_NS;
/// Time within which all that is under way must end when nothing is wrong any more.
const END_NS_MAX: u64 = 180 * SECOND_NS;

/// Runs one simulation.
#[derive(Clone, Debug, clap::Parser)]
pub struct Arguments {
    /// Everything that happens follows from it.
    #[arg(long)]
    pub seed: u64,
    /// Simulated minutes of trouble.
    #[arg(long, default_value_t = 5.0)]
    pub minutes: f64,
    /// A bug to plant, to see that it is found.
    #[arg(long, default_value = "nothing")]
    pub plant: Planted,
    /// Modelled clients.
    #[arg(long, default_value_t = 4)]
    pub clients: usize,
    /// No faults at all.
    #[arg(long)]
    pub calm: bool,
    /// Shards of the name space; 0: one or four, by the seed.
    #[arg(long, default_value_t = 0)]
    pub shards: usize,
    /// Metadata servers: 3, 5, or 4, of which one joins later; 0: by the seed.
    #[arg(long, default_value_t = 0, value_parser = parse_nodes)]
    pub nodes: usize,
    /// Extents that rest become images.
    #[arg(long)]
    pub seal: bool,
    /// Clients cut files whose bytes are at data servers, too.
    #[arg(long)]
    pub cuts: bool,
    /// Two Linux hosts with layouts beside the other clients.
    #[arg(long)]
    pub linux: bool,
    /// The faults of machines, too: pauses, wrong clocks, disks of data servers that are lost, put
    /// back or fail.
    #[arg(long)]
    pub faults: bool,
    /// Prints counts of what happened.
    #[arg(long)]
    pub counts: bool,
    /// This was built so that the engine looks at its own invariants: said in the line that repeats
    /// a run.
    #[arg(long, hide = true)]
    pub engine_invariants: bool,
    /// Writes the event log here.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Prints what the servers log, from this level on.
    #[arg(long, value_name = "FILTER")]
    pub trace: Option<String>,
}

fn parse_nodes(text: &str) -> Result<usize, String> {
    match text {
        "0" | "3" | "4" | "5" => Ok(text.parse().expect("a digit")),
        _ => Err("expected 3, 4 or 5, or 0".to_owned()),
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every checker is content.
    Held,
    /// One is not.
    Broken,
}

/// Begins to print what the servers log, if that is wanted.
pub fn trace(arguments: &Arguments) {
    if let Some(filter) = &arguments.trace {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(SimulatedTime)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
    }
}

/// When it is, and whose turn, for the lines that servers log.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let (now_ns, node) = turn::now();
        write!(writer, "{:12.6} n{node}", now_ns as f64 / 1e9)
    }
}

/// Runs a seed and prints one line about it; more if something broke.
#[must_use]
pub fn run_seed(arguments: &Arguments) -> Outcome {
    let plain = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Tasks end with their panics, which would be seen nowhere else.
        PANICS.lock().push(panic.to_string().replace('\n', " "));
        plain(panic);
    }));
    let mut stage = Stage::new(arguments);
    stage.play();
    let broken = stage.judge();
    stage.report(&broken);
    if broken.is_empty() { Outcome::Held } else { Outcome::Broken }
}

/// Panics of the run.
static PANICS: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());

struct Stage<'a> {
    arguments: &'a Arguments,
    world: World,
    cluster: Cluster,
    record: Record,
    whistle: workload::Whistle,
    stuck: Vec<String>,
    /// Histories that could not be decided.
    too_hard: Vec<String>,
}

impl<'a> Stage<'a> {
    fn new(arguments: &'a Arguments) -> Self {
        let world = World::new(arguments.seed, EventLog::new(arguments.log.is_some()));
        let shards = match arguments.shards {
            0 => *Chance::new(arguments.seed, "shards").pick(&[1, SHARDS]),
            shards => shards,
        };
        let Arguments { seed, plant, seal, nodes, .. } = *arguments;
        let metadata = MetadataNodes::new(nodes, seed);
        let faults = arguments.faults || plant.needs_faults();
        let record = Record::new(arguments.cuts, faults);
        let cluster = Cluster::new(world.clone(), seed, plant, (seal, faults), shards, metadata);
        let whistle = workload::Whistle::default();
        Self { arguments, world, cluster, record, whistle, stuck: Vec::new(), too_hard: Vec::new() }
    }

    fn play(&mut self) {
        self.cluster.start();
        self.cluster.run_until(START_NS);
        let clients = self.start_clients();
        let end_ns = START_NS + (self.arguments.minutes * 60.0 * SECOND_NS as f64) as u64;
        let servers = self.cluster.metadata().all + self.cluster.data_nodes();
        let nodes = servers + clients.len();
        let mut nemesis = Nemesis::new(self.arguments.seed, nodes, &self.cluster, START_NS + SECOND_NS);
        while !self.arguments.calm && nemesis.next_ns() < end_ns {
            self.cluster.run_until(nemesis.next_ns());
            nemesis.act(&mut self.cluster, &self.record);
        }
        self.cluster.run_until(end_ns);
        nemesis.rest(&mut self.cluster);
        let calm_ns = if self.cluster.lost.is_empty() { CALM_NS } else { CALM_LOST_NS };
        self.cluster.run_until(self.world.now_ns() + calm_ns);
        self.whistle.stop.store(true, Ordering::Relaxed);
        if !self.run_while("clients go on", |stage| 0 < stage.whistle.running.load(Ordering::Relaxed)) {
            return;
        }
        if self.arguments.plant == Planted::RestLost {
            self.cluster.lose_rest();
        }
        self.whistle.running.fetch_add(1, Ordering::Relaxed);
        let (node, client) = clients.into_iter().next().expect("there is one");
        self.cluster.spawn(node, workload::look_at_all(client, self.whistle.clone()));
        if !self.run_while("the last look goes on", |stage| 0 < stage.whistle.running.load(Ordering::Relaxed))
        {
            return;
        }
        // All leases run out, and what hangs on them goes.
        for node in servers..nodes {
            self.cluster.end_process(node, None);
        }
        self.cluster.run_until(self.world.now_ns() + 2 * LEASE_MS * 1_000_000 + CALM_NS);
        nemesis.replace_disk(&mut self.cluster);
        if !self.run_while("images wait for a group", |stage| stage.cluster.images_waiting() != Some(0)) {
            return;
        }
        self.run_while("replicas differ", |stage| !stage.cluster.is_settled());
    }

    fn start_clients(&mut self) -> Vec<(usize, std::sync::Arc<Client>)> {
        let mut chance = Chance::new(self.arguments.seed, "workload");
        let think_ms = chance.between(60, 200);
        let mut clients = Vec::new();
        for number in 0..self.arguments.clients {
            let (node, client) = self.start_client(number);
            let task = |what: &str| Chance::new(self.arguments.seed, &format!("{what} {number}"));
            self.whistle.running.fetch_add(4, Ordering::Relaxed);
            let (names, content, locks) = (task("names"), task("content"), task("locks"));
            let whistle = || self.whistle.clone();
            let tasks = (
                workload::work_on_names(client.clone(), names, whistle(), think_ms),
                workload::work_on_content(client.clone(), content, whistle(), think_ms),
                workload::work_on_locks(client.clone(), locks, whistle(), think_ms),
                workload::work_on_moves(client.clone(), task("moves"), whistle()),
            );
            self.cluster.spawn(node, tasks.0);
            self.cluster.spawn(node, tasks.1);
            self.cluster.spawn(node, tasks.2);
            self.cluster.spawn(node, tasks.3);
            clients.push((node, client));
        }
        if self.arguments.plant.needs_watch() {
            let (node, client) = self.start_client(clients.len());
            self.whistle.running.fetch_add(1, Ordering::Relaxed);
            self.cluster.spawn(node, watch::watch(client.clone(), self.whistle.clone(), WATCH_MS));
            clients.push((node, client));
        }
        if self.has_linux() {
            self.start_hosts(&mut clients);
        }
        clients
    }

    fn has_linux(&self) -> bool {
        self.arguments.linux || self.arguments.plant.needs_linux()
    }

    fn start_hosts(&mut self, clients: &mut Vec<(usize, std::sync::Arc<Client>)>) {
        let seed = self.arguments.seed;
        let board = linux::board::Board::new(seed, linux::HOSTS * linux::APPENDERS);
        let wire = linux::wire::Wire::new(self.arguments.plant);
        for number in 0..linux::HOSTS {
            let callbacks = linux::callbacks::Callbacks::default();
            let (node, client) = self.start_client_that(clients.len(), Some(callbacks.clone()));
            self.whistle.running.fetch_add(linux::tasks(number), Ordering::Relaxed);
            let boot = linux::Boot {
                client: client.clone(),
                callbacks,
                wire: wire.of_another_host().into(),
                board: board.clone(),
                number,
                seed,
                whistle: self.whistle.clone(),
            };
            self.cluster.spawn(node, linux::boot(boot));
            clients.push((node, client));
        }
    }

    fn start_client(&mut self, number: usize) -> (usize, std::sync::Arc<Client>) {
        self.start_client_that(number, None)
    }

    /// A client that answers the servers' calls, if it can.
    fn start_client_that(
        &mut self,
        number: usize,
        callbacks: Option<linux::callbacks::Callbacks>,
    ) -> (usize, std::sync::Arc<Client>) {
        self.record.lock().renewed_ns.push(Vec::new());
        let (node, env) = self.cluster.add_client();
        let (record, plant, seed) = (self.record.clone(), self.arguments.plant, self.arguments.seed);
        let servers = metadata_addresses(self.cluster.metadata());
        let serves = |callbacks| Backchannel::new(std::sync::Arc::new(callbacks), env.clock.clone());
        let backchannel = callbacks.map(serves);
        (node, Client::new(number, env, servers, record, plant, seed, backchannel))
    }

    /// Lets time pass until it is no longer so; it is a breach if that takes too long.
    fn run_while(&mut self, what: &str, still: impl Fn(&Self) -> bool) -> bool {
        let end_ns = self.world.now_ns() + END_NS_MAX;
        while still(self) {
            if end_ns < self.world.now_ns() {
                self.stuck.push(format!("{what} for {} s when all is quiet", END_NS_MAX / SECOND_NS));
                return false;
            }
            self.cluster.run_until(self.world.now_ns() + SECOND_NS / 2);
        }
        true
    }

    /// Asks all checkers; says what is broken.
    fn judge(&mut self) -> Vec<String> {
        let mut broken = std::mem::take(&mut self.stuck);
        broken.extend(PANICS.lock().iter().map(|what| format!("panic: {what}")));
        let record = self.record.clone();
        let record = record.lock();
        broken.extend(record.broken.iter().map(|what| format!("seen: {what}")));
        for (place, history) in &record.names {
            self.judge_history(&Directory, history, &format!("names of directory {place:?}"), &mut broken);
        }
        for (place, group) in &record.moves {
            let model = Group { parents: group.parents.clone() };
            self.judge_history(&model, &group.acts, &format!("moves in group {place:?}"), &mut broken);
        }
        for (place, history) in &record.files {
            if content::is_cut(*place, self.arguments.cuts) {
                let model = content::shape(*place);
                self.judge_history(&model, history, &format!("content of file {place:?}"), &mut broken);
                continue;
            }
            for block in 0..BLOCKS {
                let what = format!("content of file {place:?}, block {block}");
                self.judge_history(&Block, &Block::history(block, history), &what, &mut broken);
            }
        }
        for (number, log) in &record.linux_logs {
            broken.extend(log.judge().into_iter().map(|what| format!("linux: log {number}: {what}")));
        }
        for (number, shared) in &record.linux_shared {
            broken.extend(shared.judge().map(|what| format!("linux: shared file {number}: {what}")));
        }
        // A client that counts on its lease to the end allows for a server's clock that goes faster
        // than its own.
        let lease_ns = Rate::shortest_ns(LEASE_MS * 1_000_000);
        if let Err(what) = locks::check(&record.holds, &record.renewed_ns, lease_ns) {
            broken.push(format!("locks: {what}"));
        }
        let replicas = self.cluster.stores();
        for (number, stores) in replicas.iter().enumerate() {
            let number = number + 1;
            broken.extend(state::sound(stores).err().map(|what| format!("tree of replica {number}: {what}")));
            for (shard, store) in stores.iter().enumerate() {
                let left = state::nothing_left(*store, &self.cluster.lost).err();
                let left = left.filter(|_| broken.is_empty());
                broken.extend(left.map(|what| format!("left in shard {shard} of replica {number}: {what}")));
            }
        }
        broken.extend(state::alike(&replicas).err().map(|what| format!("replicas: {what}")));
        let damage = |failure: &&String| {
            failure.contains("damaged") || failure.contains("decode") || failure.contains("follows entry")
        };
        broken.extend(self.cluster.failures.iter().filter(damage).map(|what| format!("start: {what}")));
        broken
    }

    fn judge_history<M: Model>(
        &mut self,
        model: &M,
        history: &[Acted<M::Act, M::Answer>],
        what: &str,
        broken: &mut Vec<String>,
    ) {
        match check(model, history) {
            Verdict::Holds => {}
            Verdict::TooHard(why) => self.too_hard.push(format!("{what}: {why}")),
            Verdict::Broken(why) => broken.push(format!("{what}: {why}")),
        }
    }

    fn report(&self, broken: &[String]) {
        let Arguments { seed, minutes, plant, clients, calm, seal, cuts, shards, nodes, .. } = self.arguments;
        let servers = self.cluster.describe();
        let state = self.world.lock();
        let record = self.record.lock();
        let acts: usize = record.names.values().map(Vec::len).sum::<usize>()
            + record.moves.values().map(|group| group.acts.len()).sum::<usize>()
            + record.files.values().map(Vec::len).sum::<usize>()
            + record.holds.len()
            + record.linux_logs.values().map(|log| log.appended.len() + log.looks.len()).sum::<usize>()
            + record.linux_shared.values().map(|shared| shared.turns.len()).sum::<usize>();
        println!(
            "seed {seed}: {} simulated_s {} events {} acts {acts} undecided {} digest {:016x}",
            if broken.is_empty() { "held" } else { "BROKEN" },
            state.now_ns / SECOND_NS,
            state.log.events(),
            self.too_hard.len(),
            state.log.digest(),
        );
        for what in broken {
            println!("  {what}");
        }
        if !broken.is_empty() {
            let plant = if *plant == Planted::Nothing { String::new() } else { format!(" --plant {plant}") };
            let calm = if *calm { " --calm" } else { "" };
            let seal = if *seal { " --seal" } else { "" };
            let linux = if self.arguments.linux { " --linux" } else { "" };
            let faults = if self.arguments.faults { " --faults" } else { "" };
            let cuts = if *cuts { " --cuts" } else { "" };
            let shards = if *shards == 0 { String::new() } else { format!(" --shards {shards}") };
            let nodes = if *nodes == 0 { String::new() } else { format!(" --nodes {nodes}") };
            let engine = if self.arguments.engine_invariants { " --engine-invariants" } else { "" };
            println!(
                "  again: cargo xtask sim --seed {seed} --minutes {minutes}{engine} -- --clients {clients}{plant}{calm}{seal}{cuts}{linux}{faults}{shards}{nodes}"
            );
        }
        if self.arguments.counts {
            for (what, count) in &record.counts {
                println!("  {count:>8} {what}");
            }
            for what in &self.too_hard {
                println!("  undecided: {what}");
            }
            for failure in &self.cluster.failures {
                println!("  did not start, or ended: {failure}");
            }
            println!("{servers}");
        }
        if let Some(path) = &self.arguments.log {
            let text: Vec<&str> = state.log.lines().collect();
            if let Err(error) = std::fs::write(path, text.join("\n")) {
                eprintln!("{}: {error}", path.display());
            }
        }
    }
}
