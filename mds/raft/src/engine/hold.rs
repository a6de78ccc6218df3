//! Keeps log entries for nodes that receive a snapshot: the entries behind it. If those were cut
//! during the transfer, the node would need another snapshot right after this one, and under load
//! so on for ever.
//!
//! One list for all shards of a node: the bound is the node's, whose memory the entries take.
//!
//! Spec: docs/protocol/raft.md, A snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::message::To;
use super::type_config::NodeId;
use crate::limits::{
    CHECKPOINT_LOG_BYTES, CHECKPOINT_LOG_ENTRIES, HELD_LOG_BYTES_MAX, HELD_LOG_ENTRIES_MAX,
    SNAPSHOT_FOLLOW_MS_MAX, SNAPSHOT_SILENT_MS_MAX,
};

/// The nodes for which logs keep entries.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    all: Mutex<BTreeMap<(u32, NodeId), Hold>>,
}

/// The hold for one node, of one shard. All times are monotonic.
#[derive(Debug)]
struct Hold {
    transfer: u64,
    /// The node has everything up to here, or will when it has the snapshot.
    upto: u64,
    heard_ms: u64,
    /// When the snapshot was installed, or `upto` last advanced behind that.
    moved_ms: Option<u64>,
}

/// The state of a shard's log, as its leader sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) last: u64,
    /// Entries that are kept in any case.
    pub(crate) kept: u64,
    /// Payload bytes, and entries, that are not cut.
    pub(crate) uncut: (u64, u64),
}

impl Hold {
    /// Whether the hold continues. `matched` is the index up to which the node is known to have the
    /// log, if this node leads and replicates to it.
    fn goes_on(&mut self, tail: Tail, matched: Option<u64>, now_ms: u64) -> bool {
        let Some(moved_ms) = &mut self.moved_ms else { return true };
        let Some(matched) = matched else { return false };
        if self.upto < matched {
            (self.upto, *moved_ms) = (matched, now_ms);
        }
        let has_caught_up = self.upto <= matched && tail.last <= matched + tail.kept;
        !has_caught_up && now_ms < *moved_ms + SNAPSHOT_FOLLOW_MS_MAX
    }

    /// Whether the hold counts. A silent node holds nothing until it answers again.
    fn is_in_force(&self, now_ms: u64) -> bool {
        let is_following = self.moved_ms.is_none_or(|moved_ms| now_ms < moved_ms + SNAPSHOT_FOLLOW_MS_MAX);
        is_following && now_ms < self.heard_ms + SNAPSHOT_SILENT_MS_MAX
    }
}

impl Holds {
    /// A snapshot up to this index is being sent. Keeps the entries behind it until the guard is
    /// dropped, or for a while longer once the snapshot is [`installed`](Holding::installed). A
    /// later snapshot for a node replaces the hold of the previous one.
    pub(crate) fn hold_log(self: &Arc<Self>, to: To, transfer: u64, upto: u64, now_ms: u64) -> Holding {
        assert!(to.node != 0, "a snapshot is sent to one node");
        let hold = Hold { transfer, upto, heard_ms: now_ms, moved_ms: None };
        self.all.lock().insert((to.shard, to.node), hold);
        Holding { holds: Arc::clone(self), to, transfer }
    }

    /// Records an answer of a node: it is alive.
    pub(crate) fn note_answer(&self, to: To, now_ms: u64) {
        if let Some(hold) = self.all.lock().get_mut(&(to.shard, to.node)) {
            hold.heard_ms = now_ms;
        }
    }

    /// Whether a shard's log keeps anything for a node, as of the last call of
    /// [`Self::update_cut_limit`].
    pub(crate) fn has(&self, shard: u32, now_ms: u64) -> bool {
        self.all.lock().range(all_of(shard)).any(|(_, hold)| hold.is_in_force(now_ms))
    }

    /// The index up to which a shard's log may be cut as far as holds are concerned. Ends holds of
    /// nodes that have caught up or make no progress, and of a log that has become too long.
    pub(crate) fn update_cut_limit(
        &self,
        shard: u32,
        tail: Tail,
        matched: impl Fn(NodeId) -> Option<u64>,
        now_ms: u64,
    ) -> u64 {
        let mut all = self.all.lock();
        all.retain(|(of, node), hold| *of != shard || hold.goes_on(tail, matched(*node), now_ms));
        let in_force = all.iter().filter(|(_, hold)| hold.is_in_force(now_ms));
        let shards = in_force.map(|((shard, _), _)| *shard).collect::<BTreeSet<_>>().len().max(1) as u64;
        let bytes_max = (HELD_LOG_BYTES_MAX / shards).max(CHECKPOINT_LOG_BYTES);
        let entries_max = (HELD_LOG_ENTRIES_MAX / shards).max(CHECKPOINT_LOG_ENTRIES);
        assert!(bytes_max <= HELD_LOG_BYTES_MAX, "shards share the bound");
        assert!(entries_max <= HELD_LOG_ENTRIES_MAX, "shards share the bound");
        let (bytes, entries) = tail.uncut;
        if bytes_max < bytes || entries_max < entries {
            let before = all.len();
            all.retain(|(of, _), _| *of != shard);
            if all.len() < before {
                tracing::warn!(
                    shard,
                    bytes,
                    entries,
                    "snapshot takes too long: the node will need another one"
                );
            }
        }
        let in_force = all.range(all_of(shard)).filter(|(_, hold)| hold.is_in_force(now_ms));
        in_force.map(|(_, hold)| hold.upto).min().unwrap_or(u64::MAX)
    }
}

fn all_of(shard: u32) -> std::ops::RangeInclusive<(u32, NodeId)> {
    (shard, NodeId::MIN)..=(shard, NodeId::MAX)
}

/// A snapshot is being sent for as long as this lives.
#[derive(Debug)]
pub(crate) struct Holding {
    holds: Arc<Holds>,
    to: To,
    transfer: u64,
}

impl Holding {
    /// The snapshot is installed: the node continues with the log.
    pub(crate) fn installed(self, now_ms: u64) {
        let mut all = self.holds.all.lock();
        let hold = all.get_mut(&(self.to.shard, self.to.node));
        if let Some(hold) = hold.filter(|hold| hold.transfer == self.transfer) {
            (hold.heard_ms, hold.moved_ms) = (now_ms, Some(now_ms));
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut all = self.holds.all.lock();
        let key = (self.to.shard, self.to.node);
        if all.get(&key).is_some_and(|hold| hold.transfer == self.transfer && hold.moved_ms.is_none()) {
            all.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
