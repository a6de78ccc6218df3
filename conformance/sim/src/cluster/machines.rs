//! What becomes of machines: processes that are paused, disks that are lost, put back from older
//! copies, or fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use env::memory::Crash;
use layout::DataServerId;
use mds_namespace::MetaStore as _;
use mds_namespace::store::mem::MemStore;
use mds_namespace::store::spread::SpreadView;
use mds_state::{StateView, key};

use super::{CONTROL_PORT, Cluster, Serves};
use crate::loss;
use crate::planted::Planted;
use crate::readmission::Readmitting;
use crate::world::{Act, NodeId};

/// Where a data server has its journal.
const JOURNAL: &str = "/data/journal";

impl Cluster {
    /// Takes data servers and their disks away for good, if every byte survives that; they start
    /// again empty when they are started. Says whether it did.
    pub(crate) fn lose(&mut self, nodes: &[NodeId]) -> bool {
        if !self.do_without(nodes) {
            return false;
        }
        nodes.iter().for_each(|node| self.replace_disk(*node));
        true
    }

    /// Counts data servers as lost from now on, if every promised byte survives that. Says whether
    /// it did.
    pub(crate) fn do_without(&mut self, nodes: &[NodeId]) -> bool {
        let Some(state) = self.newest_state() else { return false };
        let number = |node: &NodeId| loss::number_of(&state, crate::address(*node, CONTROL_PORT));
        let Some(numbers) = nodes.iter().map(number).collect::<Option<Vec<DataServerId>>>() else {
            return false;
        };
        let gone: BTreeSet<DataServerId> = self.lost.iter().copied().chain(numbers).collect();
        if !loss::is_survived(state.namespace(), &self.lost, &gone) {
            return false;
        }
        self.lost = gone;
        true
    }

    /// A data server that counts as lost gets an empty disk, if nothing hangs on it by now: it may
    /// have been believed. Says whether it did.
    pub(crate) fn replace_lost(&mut self, node: NodeId) -> bool {
        if !self.do_without(&[node]) {
            return false;
        }
        self.replace_disk(node);
        true
    }

    fn replace_disk(&mut self, node: NodeId) {
        self.end_process(node, Some(Crash::Drop));
        self.world.note(node, "disk lost", &[]);
        self.nodes[node].disk.replace();
        self.nodes[node].copy = None;
    }

    /// Keeps what a data server's disk is now.
    pub(crate) fn copy_disk(&mut self, node: NodeId) {
        self.nodes[node].copy = Some(self.nodes[node].disk.memory().after_crash(Crash::Keep));
        self.world.note(node, "disk copied", &[]);
    }

    /// Ends a data server, and puts its disk back to what it was when it was copied, if every
    /// promised byte survives that it is lost. Says whether it did.
    pub(crate) fn put_disk_back(&mut self, node: NodeId) -> bool {
        let Some(copy) = self.nodes[node].copy.take() else { return false };
        if !self.do_without(&[node]) {
            return false;
        }
        self.end_process(node, Some(Crash::Drop));
        self.world.note(node, "disk put back", &[]);
        self.nodes[node].disk.put_back(copy);
        true
    }

    /// Ends a data server, and deletes its journal, if every promised byte survives that it is
    /// lost. Says whether it did.
    pub(crate) fn lose_journal(&mut self, node: NodeId) -> bool {
        if !self.do_without(&[node]) {
            return false;
        }
        self.end_process(node, Some(Crash::Drop));
        self.world.note(node, "journal lost", &[]);
        self.nodes[node].disk.lose_files(Path::new(JOURNAL));
        true
    }

    /// Whether a data server has given up: its process ended by itself, or the leader was told that
    /// a disk failed.
    pub(crate) fn has_given_up(&self, node: NodeId) -> bool {
        let told = self.leader().and_then(|leader| self.status(leader));
        !self.is_up(node) || told.is_some_and(|status| 0 < status.data_servers_failed)
    }

    /// Takes a metadata server's disk away, if all are there and have theirs; it starts again empty
    /// when it is started, and an operator has it taken in again. Says whether it did.
    pub(crate) fn lose_metadata(&mut self, node: NodeId) -> bool {
        if self.readmitting.is_some() || self.newest_state().is_none() {
            return false;
        }
        self.end_process(node, Some(Crash::Drop));
        self.world.note(node, "disk lost", &[]);
        self.nodes[node].disk.replace();
        if let Serves::Metadata { stores, .. } = &mut self.nodes[node].serves {
            stores.iter_mut().for_each(|store| *store = Arc::default());
        }
        self.readmitting = Some(Readmitting::new(node, self.world.now_ns()));
        true
    }

    /// Of each shard what the metadata server knows that has applied most, if all are up: so it has
    /// all that a client was promised.
    fn newest_state(&self) -> Option<StateView> {
        let applied = |node| Some((self.applied(node)?, node));
        let there = (0..self.metadata.all).filter(|node| 0 < self.nodes[*node].lives);
        let all: Vec<(Vec<u64>, NodeId)> = there.map(applied).collect::<Option<_>>()?;
        let newest = |shard: usize| {
            let (_, node) = all.iter().max_by_key(|(applied, _)| applied[shard])?;
            let Serves::Metadata { stores, .. } = &self.nodes[*node].serves else { return None };
            Some(Arc::clone(&stores[shard]))
        };
        let stores: Vec<Arc<MemStore>> = (0..self.shards).map(newest).collect::<Option<_>>()?;
        let count = u16::try_from(self.shards).ok()?;
        let take = Box::new(move |shard: u16| stores[usize::from(shard)].view());
        Some(StateView::new(Box::new(SpreadView::new(count, take, key::belongs))))
    }

    /// Stops a node's process, as SIGSTOP does: none of its tasks goes on, and its clock does. Says
    /// whether it ran.
    pub(crate) fn pause_process(&mut self, node: NodeId) -> bool {
        let now_ns = self.world.now_ns();
        let known = &mut self.nodes[node];
        if known.process.is_none() || known.paused_from_ns.is_some() {
            return false;
        }
        known.paused_from_ns = Some(now_ns);
        self.world.note(node, "pause", &[]);
        true
    }

    /// Lets a node's process go on, if it was paused.
    pub(crate) fn resume_process(&mut self, node: NodeId) {
        let known = &mut self.nodes[node];
        let Some(from_ns) = known.paused_from_ns.take() else { return };
        match self.planted {
            Planted::PausedLeases => known.clock.forget_pause(from_ns),
            Planted::PausesUnseen => {}
            _ => known.clock.end_pause(from_ns),
        }
        self.world.note(node, "go on", &[]);
        self.world.after(0, node, Act::Do(Box::new(move |_| vec![node])));
    }
}
