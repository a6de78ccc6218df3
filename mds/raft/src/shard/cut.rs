//! Cuts a shard's log behind its checkpoints, but for entries that other nodes may still need.

use super::*;
use crate::engine::hold::{Holds, Tail};
use crate::engine::type_config::NodeId;

impl Shard {
    /// Payload bytes of its log that are not cut.
    pub(crate) fn uncut_bytes(&self) -> u64 {
        self.inner.log.uncut().0
    }

    /// Entries of its log that are not cut.
    pub(crate) fn uncut_entries(&self) -> u64 {
        self.inner.log.uncut().1
    }

    /// Whether its log is kept for the receiver of a snapshot: then a checkpoint does not let it be
    /// cut.
    pub(crate) fn is_held(&self) -> bool {
        let (holds, shard) = self.holds();
        holds.has(shard, self.inner.host.now_ms())
    }

    /// Makes a checkpoint and lets the whole log before it be cut, but for held entries. Members
    /// that are away then need a snapshot.
    pub(crate) async fn cut_log(&self) -> std::io::Result<()> {
        let applied = self.inner.machine.applied_index.load(Ordering::Acquire);
        let trigger = self.inner.raft.trigger();
        trigger.snapshot().await.map_err(std::io::Error::other)?;
        trigger.purge_log(applied.min(self.held_upto())).await.map_err(std::io::Error::other)
    }

    /// Lets the log be cut behind the last durable checkpoint, but for entries kept for members
    /// that were away for a moment or receive a snapshot. `cut` is the last requested index. False
    /// if the engine has stopped.
    pub(crate) async fn cut_covered(&self, cut: &mut u64) -> bool {
        let config = self.node_config();
        if config.is_alone() {
            return true; // The engine cuts by itself.
        }
        let covered = self.inner.raft.data_metrics().borrow_watched().snapshot.map_or(0, |id| id.index());
        let upto = covered.saturating_sub(config.log_entries_kept).min(self.held_upto());
        if upto <= *cut {
            return true;
        }
        assert!(upto <= covered, "no entry is cut that the checkpoint lacks");
        *cut = upto;
        self.inner.raft.trigger().purge_log(upto).await.is_ok()
    }

    /// Rewrites what is in force of its log at the head.
    pub(crate) async fn renew_log(&self) -> std::io::Result<()> {
        self.inner.log.renew().await
    }

    /// The index up to which the log may be cut: the engine does not keep entries behind a snapshot
    /// that is being sent.
    fn held_upto(&self) -> u64 {
        if !self.is_held() {
            return u64::MAX; // Nearly always.
        }
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = |node: NodeId| {
            let matched = metrics.replication.as_ref()?.get(&node)?;
            Some(matched.map_or(0, |id| id.index()))
        };
        let kept = self.node_config().log_entries_kept;
        let tail = Tail { last: metrics.last_log_index.unwrap_or(0), kept, uncut: self.inner.log.uncut() };
        let (holds, shard) = self.holds();
        holds.update_cut_limit(shard, tail, matched, self.inner.host.now_ms())
    }

    /// The holds of all logs, and this shard's number in them.
    fn holds(&self) -> (&Holds, u32) {
        (&self.inner.host.links.holds, u32::try_from(self.inner.number).unwrap_or(u32::MAX))
    }
}
