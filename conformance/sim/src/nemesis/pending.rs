//! What is wrong now and how each of it ends: the state of the nemesis, which all its faults share.

use crate::chance::Chance;
use crate::clock::Rate;
use crate::cluster::Cluster;
use crate::world::NodeId;

pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// How faults that last come to their end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mend {
    Start(NodeId),
    /// Power is cut behind a disk that fails.
    Replace(NodeId),
    Join(NodeId, NodeId),
    Disk(NodeId),
    Room(NodeId),
    Links,
    Wall(NodeId),
    FarClock(NodeId),
    Rate(NodeId, Rate),
    Resume(NodeId),
    /// What was copied of a disk is put back.
    PutBack(NodeId),
    /// A data server that counts as lost gets an empty disk.
    Empty(NodeId),
    /// The same, once it has given up.
    Judge(NodeId),
    /// A silent disk answers.
    Answer(NodeId),
    /// A data server loses its disk.
    Lose(NodeId),
}

/// The source of all trouble.
pub(crate) struct Nemesis {
    pub(super) chance: Chance,
    pub(super) nodes: usize,
    /// Metadata servers; they are the first nodes.
    pub(super) metadata: usize,
    pub(super) mends: Vec<(u64, Mend)>,
    pub(super) next_ns: u64,
    /// Longest time between two faults.
    pub(super) pause_ns_max: u64,
    /// The data server whose store is old, lost or failing, until it gets an empty disk.
    pub(super) spoilt: Option<NodeId>,
}

impl Nemesis {
    /// Something ends at a time between these, from now on.
    pub(super) fn later(&mut self, cluster: &Cluster, ns_min: u64, ns_max: u64, mend: Mend) {
        let at_ns = cluster.world.now_ns() + self.chance.between(ns_min, ns_max);
        self.mends.push((at_ns, mend));
    }

    /// The leader, half of the time, else any.
    pub(super) fn victim(&mut self, cluster: &Cluster) -> NodeId {
        let any = self.chance.index(self.metadata);
        if self.chance.percent(60) { cluster.leader().unwrap_or(any) } else { any }
    }
}
