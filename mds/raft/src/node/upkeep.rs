//! Checkpoints the stores when enough was applied since the last, so that a restart repeats little
//! and the log can be cut. Renews the entries of shards that would keep the log from being cut.
//! Also scans for stopped engines, and skips their shards.

use std::sync::Weak;
use tokio::sync::watch;

use super::failure::EngineStopped;
use crate::handles::{NodeInner, Shard};
use crate::limits::{
    CHECKPOINT_LOG_BYTES, CHECKPOINT_LOG_ENTRIES, CHECKPOINT_POLL_MS, CHECKPOINTS_BEGUN_MAX,
    LAGGING_FREED_MAX, LOG_LAG_POLLS,
};

/// One shard's last checkpoint.
#[derive(Clone, Copy, Default)]
struct Last {
    applied: u64,
    waited_ms: u64,
    /// The index up to which its log may be cut.
    cut: u64,
}

/// Runs until the node stops or is dropped.
pub(super) async fn checkpoints(node: Weak<NodeInner>, mut stopped: watch::Receiver<bool>) {
    let (mut lasts, mut polls, mut first) = (Vec::new(), 0_u64, 0);
    loop {
        let Some(inner) = node.upgrade() else { return };
        let sleep = inner.host.env.clock.sleep_ms(CHECKPOINT_POLL_MS);
        lasts.resize(inner.shards.len(), Last::default());
        let ended = inner.shards.iter().enumerate().filter_map(|(shard, replica)| {
            let error = replica.failure()?;
            Some(EngineStopped { shard, error })
        });
        inner.failure.note_engines(ended, inner.host.config.is_alone());
        begin_due(&inner, &mut lasts, &mut first).await;
        polls += 1;
        if polls.is_multiple_of(LOG_LAG_POLLS) {
            renew_lagging(&inner).await;
        }
        drop(inner);
        tokio::select! {
            () = sleep => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Begins due checkpoints, some at a time, each shard in turn, and lets the log before completed
/// ones be cut.
async fn begin_due(inner: &NodeInner, lasts: &mut [Last], first: &mut usize) {
    let (mut begun, shards) = (0, inner.shards.len());
    assert!(lasts.len() == shards, "each shard's last checkpoint is known");
    let from = *first;
    for at in (from..from + shards).map(|at| at % shards) {
        let (shard, last) = (&inner.shards[at], &mut lasts[at]);
        if shard.has_ended() {
            continue;
        }
        let applied = shard.applied_index();
        let fresh = applied.saturating_sub(last.applied);
        if fresh == 0 && applied.saturating_sub(inner.host.config.log_entries_kept) <= last.cut {
            // Nothing to keep, nothing to cut: most shards are idle most of the time.
            last.waited_ms += CHECKPOINT_POLL_MS;
            continue;
        }
        // An engine that stops meanwhile does not keep other shards from their checkpoints.
        if !shard.cut_covered(&mut last.cut).await {
            continue;
        }
        if 0 < fresh && is_due(shard, fresh, last.waited_ms) && begun < CHECKPOINTS_BEGUN_MAX {
            if shard.checkpoint().await.is_err() {
                continue;
            }
            (last.applied, last.waited_ms) = (applied, 0);
            begun += 1;
            assert!(begun <= CHECKPOINTS_BEGUN_MAX, "a bounded number of checkpoints begins");
            if begun == CHECKPOINTS_BEGUN_MAX {
                *first = at + 1;
            }
        }
        last.waited_ms += CHECKPOINT_POLL_MS;
    }
}

fn is_due(shard: &Shard, fresh: u64, waited_ms: u64) -> bool {
    let config = shard.node_config();
    config.checkpoint_ms <= waited_ms
        || CHECKPOINT_LOG_ENTRIES <= fresh
        || is_long(shard) && config.log_entries_kept < fresh
}

/// Whether its log is long enough to be worth a checkpoint, behind which it can be cut.
fn is_long(shard: &Shard) -> bool {
    CHECKPOINT_LOG_BYTES <= shard.uncut_bytes() && !shard.is_held()
}

/// Frees old segments of shards that have been idle for long (docs/formats/raft_log.md, Renewal).
async fn renew_lagging(inner: &NodeInner) {
    let mut lagging = inner.host.log.lagging();
    lagging.retain(|(at, _)| inner.shards.get(*at).is_some_and(|shard| !shard.has_ended()));
    for (at, is_far) in lagging.into_iter().take(LAGGING_FREED_MAX) {
        let shard = &inner.shards[at];
        // Without entries there is nothing to cut, and hardly anything to renew.
        let is_cut = shard.uncut_entries() == 0;
        let outcome = if is_far || is_cut { shard.renew_log().await } else { shard.cut_log().await };
        if let Err(error) = outcome {
            tracing::warn!(shard = at, %error, "failed to free old log segments of a shard");
        }
    }
}
