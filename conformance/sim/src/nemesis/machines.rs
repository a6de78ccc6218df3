//! Faults of machines, behind `--faults`: processes that are paused and go on, clocks that are far
//! wrong, disks of data servers that fail, are silent, are lost or put back from older copies.
//!
//! INVARIANT: one data server's disk at a time, and only if by the log every promised byte survives
//! that. Others go away and come back meanwhile.

use env::memory::Broken;

use super::pending::{Mend, Nemesis, SECOND_NS};
use crate::cluster::Cluster;
use crate::planted::Planted;
use crate::world::NodeId;

/// So many faults of a hundred are these.
pub(super) const PERCENT: u64 = 40;
/// For so long a process is paused at least, and at most.
const PAUSE_NS: (u64, u64) = (2 * SECOND_NS, 80 * SECOND_NS);
/// A pause that ends before clients that wait have asked others.
const PAUSE_NS_SHORT: u64 = 12 * SECOND_NS;
/// For so long behind its pause a server may stay cut off from its like.
const CUT_NS_MAX: u64 = 5 * SECOND_NS;

/// A copy of a disk is so old when it is put back: what was acknowledged within the last second may
/// be missed (docs/protocol/control.md, Marks).
const COPY_NS: (u64, u64) = (2 * SECOND_NS, 20 * SECOND_NS);
/// For so long a data server may be down whose store was lost or put back.
const DOWN_NS: (u64, u64) = (SECOND_NS / 10, 6 * SECOND_NS);
/// For so long the store then stays as it is, or the operator waits.
const STAYS_NS: (u64, u64) = (10 * SECOND_NS, 40 * SECOND_NS);
/// For so long behind a look at it a store that is spoilt may keep a client from its bytes.
pub(super) const SPOILT_NS: u64 = 60 * SECOND_NS;
/// By how much a clock that is far wrong is: two minutes to 30,000 days.
const FAR_NS: (u64, u64) = (120 * SECOND_NS, 30_000 * 86_400 * SECOND_NS);
const FAR_FOR_NS: (u64, u64) = (5 * SECOND_NS, 120 * SECOND_NS);
/// Time between two looks at a disk that fails.
const LOOK_NS: u64 = SECOND_NS;
/// For so long a disk answers nothing: less than what a data server bears with, and much more.
const SILENT_NS: (u64, u64) = (5 * SECOND_NS, 30 * SECOND_NS);
/// A data server's lease runs out within so long behind its pause; the disk of its heir is lost
/// before.
const HEIR_LOST_NS: (u64, u64) = (SECOND_NS, 4 * SECOND_NS);

impl Nemesis {
    pub(super) fn strike_machine(&mut self, cluster: &mut Cluster) -> &'static str {
        match cluster.planted() {
            Planted::MarksForgotten => return self.spoil(cluster),
            Planted::DiskSilent => return self.fail_disk(cluster),
            Planted::FormerDropped => return self.lose_heir(cluster),
            _ => {}
        }
        match self.chance.below(100) {
            0..34 => self.pause_one(cluster),
            34..40 => self.lose_heir(cluster),
            40..60 => self.spoil(cluster),
            60..75 => self.far_clock(cluster),
            _ => self.fail_disk(cluster),
        }
    }

    fn pause_one(&mut self, cluster: &mut Cluster) -> &'static str {
        if self.chance.percent(15) {
            return self.pause_all(cluster);
        }
        let data = self.chance.percent(40);
        let node =
            if data { self.metadata + self.chance.index(cluster.data_nodes()) } else { self.victim(cluster) };
        self.pause(cluster, node)
    }

    /// A process does not run for a while. Half of the metadata servers are cut off from their like
    /// until a little later, so that no other one tells them what they missed.
    fn pause(&mut self, cluster: &mut Cluster, node: NodeId) -> &'static str {
        let ns_max = if self.chance.percent(60) { PAUSE_NS_SHORT } else { PAUSE_NS.1 };
        let pause_ns = self.chance.between(PAUSE_NS.0, ns_max);
        let is_cut = node < self.metadata && self.chance.percent(50);
        if !cluster.pause_process(node) {
            return "not paused: it does not run";
        }
        let at_ns = cluster.world.now_ns() + pause_ns;
        self.mends.push((at_ns, Mend::Resume(node)));
        if is_cut {
            let join_ns = at_ns + self.chance.below(CUT_NS_MAX);
            self.cut_off_from_servers(cluster, node, join_ns);
        }
        match (is_cut, node < self.metadata) {
            (true, _) => "metadata server paused, and cut off",
            (false, true) => "metadata server paused",
            (false, false) => "data server paused",
        }
    }

    /// All metadata servers, as when they are on one machine: one of those that led may go on in
    /// its term.
    pub(super) fn pause_all(&mut self, cluster: &mut Cluster) -> &'static str {
        let pause_ns = self.chance.between(PAUSE_NS.0, PAUSE_NS.1);
        let at_ns = cluster.world.now_ns() + pause_ns;
        if cluster.planted() == Planted::PausesUnseen {
            // Nothing else happens, so that clients have files open when it ends.
            self.next_ns = at_ns + self.pause_ns_max;
        }
        for node in 0..self.metadata {
            if cluster.pause_process(node) {
                self.mends.push((at_ns, Mend::Resume(node)));
            }
        }
        "all metadata servers paused"
    }

    /// What is planted shows: a leader is paused and cut off from its like, who elect another one.
    /// Nothing else happens, so that clients are there to see it.
    pub(super) fn paused_leader(&mut self, cluster: &mut Cluster) -> &'static str {
        let Some(leader) = cluster.leader() else { return "leader not paused: there is none" };
        if !cluster.pause_process(leader) {
            return "not paused: it does not run";
        }
        let at_ns = cluster.world.now_ns() + self.chance.between(PAUSE_NS.0, PAUSE_NS_SHORT);
        self.mends.push((at_ns, Mend::Resume(leader)));
        self.cut_off_from_servers(cluster, leader, at_ns + CUT_NS_MAX);
        self.next_ns = at_ns + CUT_NS_MAX + self.pause_ns_max;
        "leader paused, and cut off"
    }

    /// By how much a clock is wrong that is far wrong: any order of magnitude.
    fn far_off_ns(&mut self) -> i64 {
        let mut max_ns = FAR_NS.0;
        while max_ns < FAR_NS.1 && self.chance.percent(85) {
            max_ns = (max_ns * 3).min(FAR_NS.1);
        }
        let off_ns = i64::try_from(self.chance.between(FAR_NS.0, max_ns + 1)).unwrap_or(i64::MAX);
        if self.chance.percent(50) { off_ns } else { -off_ns }
    }

    /// Whether a server's clock is far wrong now.
    pub(super) fn has_far_clock(&self) -> bool {
        self.mends.iter().any(|(_, mend)| matches!(mend, Mend::FarClock(_)))
    }

    /// A server's clock is set far wrong.
    fn far_clock(&mut self, cluster: &mut Cluster) -> &'static str {
        let (off_ns, any) = (self.far_off_ns(), self.chance.index(self.metadata + cluster.data_nodes()));
        let node = if self.chance.percent(70) { self.victim(cluster) } else { any };
        if self.mends.iter().any(|(_, mend)| matches!(mend, Mend::FarClock(_) | Mend::Wall(_))) {
            return "clock not far wrong: another one is wrong";
        }
        cluster.clock(node).set_wall_off(off_ns);
        self.later(cluster, FAR_FOR_NS.0, FAR_FOR_NS.1, Mend::FarClock(node));
        if off_ns < 0 { "clock far behind" } else { "clock far ahead" }
    }

    /// What is planted: all clocks go by one that is far ahead, and metadata servers believe them
    /// from their start on.
    pub(super) fn all_far_clocks(&mut self, cluster: &mut Cluster) -> &'static str {
        let off_ns = self.far_off_ns().abs();
        for node in 0..self.metadata + cluster.data_nodes() {
            cluster.clock(node).set_wall_off(off_ns);
        }
        for node in 0..self.metadata {
            cluster.end_process(node, None);
            self.later(cluster, SECOND_NS / 10, SECOND_NS, Mend::Start(node));
        }
        self.next_ns = u64::MAX;
        "all clocks far wrong"
    }

    /// A data server is paused until its lease has run out, and the one that is to take its place
    /// loses its disk just before: its lease still counts.
    fn lose_heir(&mut self, cluster: &mut Cluster) -> &'static str {
        let count = cluster.data_nodes();
        let primary = self.chance.index(count);
        let heir = self.metadata + (primary + 1 + self.chance.index(count - 1)) % count;
        let pause_ns = self.chance.between(PAUSE_NS_SHORT, 2 * PAUSE_NS_SHORT);
        if self.spoilt.is_some() || !cluster.pause_process(self.metadata + primary) {
            return "heir not lost: a store is spoilt, or its primary does not run";
        }
        self.mends.push((cluster.world.now_ns() + pause_ns, Mend::Resume(self.metadata + primary)));
        self.later(cluster, HEIR_LOST_NS.0, HEIR_LOST_NS.1, Mend::Lose(heir));
        "data server paused, and its heir is to be lost"
    }

    /// A data server loses its disk, if every promised byte survives that, and comes back with an
    /// empty one.
    pub(super) fn lose_one(&mut self, cluster: &mut Cluster, node: NodeId) {
        if self.spoilt.is_none() && cluster.lose(&[node]) {
            self.later(cluster, DOWN_NS.0, DOWN_NS.1, Mend::Start(node));
        }
    }

    fn data_server(&mut self, cluster: &Cluster) -> NodeId {
        self.metadata + self.chance.index(cluster.data_nodes())
    }

    /// The store of a data server is lost, or an older one is put back.
    fn spoil(&mut self, cluster: &mut Cluster) -> &'static str {
        if self.spoilt.is_some() {
            return "store not spoilt: another one is";
        }
        let node = self.data_server(cluster);
        if self.chance.percent(60) || cluster.planted() == Planted::MarksForgotten {
            cluster.copy_disk(node);
            self.spoilt = Some(node);
            self.later(cluster, COPY_NS.0, COPY_NS.1, Mend::PutBack(node));
            return "disk of a data server copied";
        }
        if !cluster.lose_journal(node) {
            return "journal not lost: too much hangs on it";
        }
        self.serve_spoilt(cluster, node);
        "journal of a data server lost"
    }

    fn serve_spoilt(&mut self, cluster: &Cluster, node: NodeId) {
        self.spoilt = Some(node);
        self.later(cluster, DOWN_NS.0, DOWN_NS.1, Mend::Start(node));
        self.later(cluster, STAYS_NS.0, STAYS_NS.1, Mend::Empty(node));
    }

    pub(super) fn put_back(&mut self, cluster: &mut Cluster, node: NodeId) {
        if cluster.put_disk_back(node) {
            self.serve_spoilt(cluster, node);
        } else {
            self.spoilt = None;
        }
    }

    /// The operator gives a data server whose store was spoilt an empty disk, as soon as nothing
    /// hangs on the one that it has.
    pub(super) fn empty(&mut self, cluster: &mut Cluster, node: NodeId) {
        if cluster.replace_lost(node) {
            cluster.start_process(node);
            self.spoilt = None;
        } else {
            self.later(cluster, LOOK_NS, 2 * LOOK_NS, Mend::Empty(node));
        }
    }

    /// A disk that failed and was not replaced is: the server that is to be waited for has another
    /// one.
    pub(crate) fn replace_disk(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.spoilt.take()
            && cluster.replace_lost(node)
        {
            cluster.start_process(node);
        }
    }

    /// A disk of a data server fails for good.
    fn fail_disk(&mut self, cluster: &mut Cluster) -> &'static str {
        let (node, broken) = (self.data_server(cluster), self.chance.below(5));
        let may = self.spoilt.is_none() && cluster.is_up(node);
        if may && broken == 4 && cluster.planted() != Planted::DiskSilent {
            return self.silence_disk(cluster, node);
        }
        if !may || !cluster.do_without(&[node]) {
            return "disk does not fail: too much hangs on it";
        }
        self.spoilt = Some(node);
        if cluster.planted() == Planted::DiskSilent {
            cluster.disk(node).set_manner(|manner| manner.silent = true);
            return "disk of a data server is silent";
        }
        let (broken, what) = match broken {
            0 => (Broken { reads: true, ..Broken::default() }, "disk of a data server fails reads"),
            1 => (Broken { writes: true, ..Broken::default() }, "disk of a data server fails writes"),
            2 => (Broken { syncs: true, ..Broken::default() }, "disk of a data server fails flushes"),
            _ => (Broken::ALL, "disk of a data server fails"),
        };
        cluster.disk(node).memory().set_broken(broken);
        self.later(cluster, STAYS_NS.0, STAYS_NS.1, Mend::Judge(node));
        what
    }

    /// A disk of a data server answers nothing for a while. Nothing on it is lost: it is the data
    /// server's own matter to give up, and to come back.
    fn silence_disk(&mut self, cluster: &Cluster, node: NodeId) -> &'static str {
        self.spoilt = Some(node);
        cluster.disk(node).set_manner(|manner| manner.silent = true);
        self.later(cluster, SILENT_NS.0, SILENT_NS.1, Mend::Answer(node));
        "disk of a data server is silent for a while"
    }

    /// A silent disk answers again.
    pub(super) fn answer(&mut self, cluster: &Cluster, node: NodeId) {
        cluster.disk(node).set_manner(|manner| manner.silent = false);
        self.spoilt = None;
    }

    /// The operator gives a data server whose disk has failed another disk, once the cluster says
    /// so.
    pub(super) fn judge(&mut self, cluster: &mut Cluster, node: NodeId) {
        if cluster.has_given_up(node) {
            self.empty(cluster, node);
        } else {
            self.later(cluster, LOOK_NS, 2 * LOOK_NS, Mend::Judge(node));
        }
    }

    fn cut_off_from_servers(&mut self, cluster: &Cluster, node: NodeId, until_ns: u64) {
        for other in (0..self.metadata).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                cluster.world.lock().network.set_cut(from, to, true);
                self.mends.push((until_ns, Mend::Join(from, to)));
            }
        }
    }
}
