//! What goes wrong in a run, and when: all from the seed.
//!
//! Never more than the product promises to survive: metadata is on three disks of which at most one
//! is lost at a time, the others keep what they synced, and what goes wrong ends again.

mod machines;
mod pending;

use std::io::ErrorKind;

use env::memory::Crash;

use crate::chance::Chance;
use crate::clock::Rate;
use crate::cluster::Cluster;
use crate::planted::Planted;
use crate::record::Record;
use crate::world::NodeId;
pub(crate) use pending::Nemesis;
use pending::{Mend, SECOND_NS};

/// By then a metadata server that is to join has been started.
const JOIN_NS_MAX: u64 = 120 * SECOND_NS;
/// For so long a clock goes slowly: by then clients that wait for an answer to what changes
/// something have asked others.
const SLOW_NS: u64 = 20 * SECOND_NS;

impl Nemesis {
    pub(crate) fn new(seed: u64, nodes: usize, cluster: &Cluster, from_ns: u64) -> Self {
        let mut chance = Chance::new(seed, "nemesis");
        let pause_ns_max = chance.between(3, 15) * SECOND_NS;
        let metadata = cluster.metadata();
        // Who joins does so in the midst of it all.
        let joins = (metadata.founders..metadata.all)
            .map(|node| (from_ns + chance.below(JOIN_NS_MAX), Mend::Start(node)))
            .collect();
        let next_ns = from_ns + chance.below(pause_ns_max);
        Self { next_ns, chance, nodes, metadata: metadata.all, mends: joins, pause_ns_max, spoilt: None }
    }

    /// When it wants to act next.
    pub(crate) fn next_ns(&self) -> u64 {
        self.mends.iter().map(|(ns, _)| *ns).chain([self.next_ns]).min().unwrap_or(self.next_ns)
    }

    /// Acts, if it is time.
    pub(crate) fn act(&mut self, cluster: &mut Cluster, record: &Record) {
        let now_ns = cluster.world.now_ns();
        record.trouble(now_ns);
        let due: Vec<Mend> =
            self.mends.iter().filter(|(ns, _)| *ns <= now_ns).map(|(_, mend)| *mend).collect();
        self.mends.retain(|(ns, _)| now_ns < *ns);
        due.into_iter().for_each(|mend| self.mend(cluster, mend));
        if self.next_ns <= now_ns {
            self.next_ns = now_ns + self.chance.between(SECOND_NS, self.pause_ns_max);
            let before = self.mends.len();
            let what = self.strike(cluster);
            if let Some(until_ns) = self.keeps_data_away(&self.mends[before..], now_ns) {
                record.trouble_of_data(until_ns);
            }
            cluster.world.note(0, what, &[]);
            record.count(format!("nemesis: {what}"));
        }
        if self.spoilt.is_some() {
            record.trouble_of_data(now_ns + machines::SPOILT_NS);
        }
    }

    /// Until when a fault may keep data servers away, by what is to be mended of it; `None` if all
    /// there is to mend are metadata servers that do not run for a while, which is no reason to
    /// tell a client of an error.
    fn keeps_data_away(&self, mends: &[(u64, Mend)], now_ns: u64) -> Option<u64> {
        let pauses = |mend: &Mend| matches!(mend, Mend::Resume(node) if *node < self.metadata);
        if mends.is_empty() {
            return Some(now_ns);
        }
        mends.iter().filter(|(_, mend)| !pauses(mend)).map(|(ns, _)| *ns).max()
    }

    /// Ends all trouble.
    pub(crate) fn rest(&mut self, cluster: &mut Cluster) {
        for (_, mend) in std::mem::take(&mut self.mends) {
            match mend {
                // Nothing new goes wrong, and a disk that has failed does not heal.
                Mend::PutBack(_) | Mend::Judge(_) | Mend::Lose(_) => {}
                mend => self.mend(cluster, mend),
            }
        }
        self.mends.clear();
        cluster.world.lock().network.mend_all();
        for node in 0..self.metadata + cluster.data_nodes() {
            cluster.disk(node).memory().set_capacity(u64::MAX);
            cluster.start_process(node);
        }
    }

    fn mend(&mut self, cluster: &mut Cluster, mend: Mend) {
        match mend {
            Mend::Start(node) => cluster.start_process(node),
            Mend::Replace(node) => {
                cluster.end_process(node, None);
                cluster.start_process(node);
            }
            Mend::Join(from, to) => cluster.world.lock().network.set_cut(from, to, false),
            Mend::Disk(node) => cluster.disk(node).set_manner(|manner| {
                manner.sync_ns_max = 2_000_000;
                manner.write_ns_max = 100_000;
            }),
            Mend::Room(node) => cluster.disk(node).memory().set_capacity(u64::MAX),
            Mend::Links => cluster.world.lock().network.mend_quality(),
            Mend::Wall(node) | Mend::FarClock(node) => cluster.clock(node).set_wall_off(0),
            Mend::Resume(node) => cluster.resume_process(node),
            Mend::PutBack(node) => self.put_back(cluster, node),
            Mend::Empty(node) => self.empty(cluster, node),
            Mend::Judge(node) => self.judge(cluster, node),
            Mend::Answer(node) => self.answer(cluster, node),
            Mend::Lose(node) => self.lose_one(cluster, node),
            Mend::Rate(node, rate) => drop(cluster.clock(node).set_rate(rate)),
        }
    }

    fn crash(&mut self) -> Crash {
        match self.chance.below(4) {
            0 => Crash::Drop,
            1 => Crash::Keep,
            _ => Crash::Tear { seed: self.chance.next() },
        }
    }

    fn strike(&mut self, cluster: &mut Cluster) -> &'static str {
        if cluster.planted() == Planted::SlowClock {
            return self.slow_leader(cluster);
        }
        match cluster.planted() {
            Planted::PausesUnseen => return self.pause_all(cluster),
            Planted::PausedLeases => return self.paused_leader(cluster),
            Planted::ClockBelieved => return self.all_far_clocks(cluster),
            _ => {}
        }
        if cluster.has_faults() && self.chance.percent(machines::PERCENT) {
            return self.strike_machine(cluster);
        }
        match self.chance.below(100) {
            0..14 => self.kill(cluster),
            14..26 => self.power_cut(cluster),
            26..30 => self.all_down(cluster),
            30..33 => self.metadata_server_lost(cluster),
            33..39 if cluster.data_nodes() < 3 || self.chance.percent(50) => self.data_server_down(cluster),
            33..39 => self.data_servers_lost(cluster),
            39..49 => self.part(cluster, true),
            49..59 => self.part(cluster, false),
            59..67 => self.part_client(cluster),
            67..77 => {
                for _ in 0..self.chance.between(1, 8) {
                    let pick = self.chance.next();
                    cluster.world.lock().break_stream(pick);
                }
                "streams broken"
            }
            77..84 => self.slow_disk(cluster),
            84..88 => self.failing_disk(cluster),
            88..92 => self.full_disk(cluster),
            92..96 => {
                let (lost, late) = (self.chance.between(1_000, 50_000), self.chance.between(1_000, 100_000));
                {
                    let quality = &mut cluster.world.lock().network.quality;
                    (quality.lost_per_million, quality.late_per_million) = (lost, late);
                }
                self.later(cluster, SECOND_NS, 20 * SECOND_NS, Mend::Links);
                "bad links"
            }
            _ if self.has_far_clock() => "wall clock not set: another one is far wrong",
            _ => {
                let node = self.chance.index(self.metadata);
                let off_ns = i64::try_from(self.chance.below(120 * SECOND_NS)).unwrap_or(0) - 60_000_000_000;
                cluster.clock(node).set_wall_off(off_ns);
                self.later(cluster, SECOND_NS, 60 * SECOND_NS, Mend::Wall(node));
                "wall clock set"
            }
        }
    }

    fn kill(&mut self, cluster: &mut Cluster) -> &'static str {
        let node = self.victim(cluster);
        cluster.end_process(node, None);
        self.later(cluster, SECOND_NS / 20, 8 * SECOND_NS, Mend::Start(node));
        "killed"
    }

    fn power_cut(&mut self, cluster: &mut Cluster) -> &'static str {
        let node = self.victim(cluster);
        let crash = self.crash();
        cluster.end_process(node, Some(crash));
        self.later(cluster, SECOND_NS / 2, 20 * SECOND_NS, Mend::Start(node));
        "power cut"
    }

    fn all_down(&mut self, cluster: &mut Cluster) -> &'static str {
        let power = self.chance.percent(60);
        for node in 0..self.metadata {
            let crash = self.crash();
            cluster.end_process(node, power.then_some(crash));
            self.later(cluster, SECOND_NS / 10, 4 * SECOND_NS, Mend::Start(node));
        }
        "all metadata servers down"
    }

    /// A metadata server loses its disk, and comes back with an empty one.
    fn metadata_server_lost(&mut self, cluster: &mut Cluster) -> &'static str {
        let node = self.victim(cluster);
        if !cluster.lose_metadata(node) {
            return "metadata server not lost: not all are there";
        }
        self.later(cluster, SECOND_NS, 30 * SECOND_NS, Mend::Start(node));
        "metadata server lost with its disk"
    }

    fn data_server_down(&mut self, cluster: &mut Cluster) -> &'static str {
        let node = self.metadata + self.chance.index(cluster.data_nodes());
        let crash = self.chance.percent(60).then(|| self.crash());
        cluster.end_process(node, crash);
        self.later(cluster, SECOND_NS / 10, 15 * SECOND_NS, Mend::Start(node));
        "data server down"
    }

    /// One or two data servers lose their disks, and come back with empty ones.
    fn data_servers_lost(&mut self, cluster: &mut Cluster) -> &'static str {
        let count = cluster.data_nodes();
        let one = self.chance.index(count);
        let other = (one + 1 + self.chance.index(count - 1)) % count;
        let nodes = [self.metadata + one, self.metadata + other];
        let nodes = if self.chance.percent(60) { &nodes[..] } else { &nodes[..1] };
        if !cluster.lose(nodes) {
            return "data servers not lost: too much hangs on them";
        }
        for node in nodes {
            self.later(cluster, SECOND_NS, 40 * SECOND_NS, Mend::Start(*node));
        }
        if nodes.len() == 1 {
            "data server lost with its disk"
        } else {
            "two data servers lost with their disks"
        }
    }

    /// A leader is cut off from its like, and its clock goes slowly meanwhile: what it was told
    /// counts as new for very long. Nothing else happens, so that clients are there to see it.
    fn slow_leader(&mut self, cluster: &mut Cluster) -> &'static str {
        let Some(leader) = cluster.leader() else { return "no node leads" };
        let at_ns = cluster.world.now_ns() + SLOW_NS;
        for other in (0..self.metadata).filter(|other| *other != leader) {
            for (from, to) in [(leader, other), (other, leader)] {
                cluster.world.lock().network.set_cut(from, to, true);
                self.mends.push((at_ns, Mend::Join(from, to)));
            }
        }
        let rate = cluster.clock(leader).set_rate(Rate::SLOW);
        self.mends.push((at_ns, Mend::Rate(leader, rate)));
        self.next_ns = at_ns + self.pause_ns_max;
        "slow clock of a leader that is cut off"
    }

    /// Cuts a metadata server off, from its like or from all nodes, both ways or one.
    fn part(&mut self, cluster: &mut Cluster, both: bool) -> &'static str {
        let node = self.victim(cluster);
        let end = if self.chance.percent(50) { self.metadata } else { self.nodes };
        let (outwards, ns_max) = (self.chance.percent(50), self.chance.between(1, 30) * SECOND_NS);
        let at_ns = cluster.world.now_ns() + ns_max;
        for other in (0..end).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                if both || (from == node) == outwards {
                    cluster.world.lock().network.set_cut(from, to, true);
                    self.mends.push((at_ns, Mend::Join(from, to)));
                }
            }
        }
        if both { "partition" } else { "partition one way" }
    }

    fn part_client(&mut self, cluster: &mut Cluster) -> &'static str {
        let servers = self.metadata + cluster.data_nodes();
        let client = self.chance.between(servers as u64, self.nodes as u64) as NodeId;
        let at_ns = cluster.world.now_ns() + self.chance.between(1, 40) * SECOND_NS;
        for other in 0..self.metadata {
            for (from, to) in [(client, other), (other, client)] {
                cluster.world.lock().network.set_cut(from, to, true);
                self.mends.push((at_ns, Mend::Join(from, to)));
            }
        }
        "client cut off"
    }

    fn slow_disk(&mut self, cluster: &mut Cluster) -> &'static str {
        let node = self.chance.index(self.metadata + cluster.data_nodes());
        let sync_ns_max = self.chance.between(20_000_000, 2 * SECOND_NS);
        cluster.disk(node).set_manner(|manner| {
            manner.sync_ns_max = sync_ns_max;
            manner.write_ns_max = sync_ns_max / 20;
        });
        self.later(cluster, SECOND_NS, 20 * SECOND_NS, Mend::Disk(node));
        "slow disk"
    }

    fn failing_disk(&mut self, cluster: &mut Cluster) -> &'static str {
        let node = self.victim(cluster);
        let (after, write) = (self.chance.below(50), self.chance.percent(50));
        if cluster.is_up(node) {
            match write {
                true => cluster.disk(node).memory().fail_write(after, ErrorKind::Other),
                false => cluster.disk(node).memory().fail_sync(after, ErrorKind::Other),
            }
        }
        self.later(cluster, 2 * SECOND_NS, 15 * SECOND_NS, Mend::Replace(node));
        "failing disk"
    }

    fn full_disk(&mut self, cluster: &mut Cluster) -> &'static str {
        let node = self.chance.index(self.metadata + cluster.data_nodes());
        cluster.disk(node).memory().set_capacity(0);
        self.later(cluster, SECOND_NS, 15 * SECOND_NS, Mend::Room(node));
        if node < self.metadata {
            self.later(cluster, 16 * SECOND_NS, 20 * SECOND_NS, Mend::Replace(node));
        }
        "full disk"
    }
}
