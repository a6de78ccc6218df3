//! An engine that stops by itself, since its store or the log failed or it panicked, ends its node.
//!
//! The other shards could continue, but the stopped one would not: other nodes take over from a
//! dead node, not from a live one that does nothing. So the server that runs the node stops it,
//! which hands over the shards that it still leads, and ends the process.
//!
//! Spec: docs/protocol/raft.md, An engine that stops.

use std::sync::OnceLock;

use tokio::sync::Notify;

use super::Node;
use crate::shard::Shard;

/// An engine has stopped without a request to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Raft engine of shard {shard} has stopped: {error}")]
pub struct EngineStopped {
    /// The shard's number.
    pub shard: usize,
    /// The error.
    pub error: String,
}

/// The first engine of a node that stopped, once that was noticed.
#[derive(Default)]
pub(super) struct Failure {
    first: OnceLock<EngineStopped>,
    noticed: Notify,
}

impl Failure {
    /// Scans for an engine that has stopped since the last scan.
    pub(super) fn scan_engines(&self, shards: &[Shard], is_alone: bool) {
        if self.first.get().is_some() {
            return;
        }
        let mut stopped = shards.iter().enumerate().filter_map(|(shard, replica)| {
            let error = replica.failure()?;
            Some(EngineStopped { shard, error })
        });
        let Some(first) = stopped.next() else { return };
        let (shard, error, others) = (first.shard, &first.error, stopped.count());
        if is_alone {
            tracing::error!(
                shard,
                error,
                others,
                "the engine of a shard has stopped, and there is no other node"
            );
        } else {
            tracing::error!(
                shard,
                error,
                others,
                "the engine of a shard has stopped: this node ends, and others follow it"
            );
        }
        // Only the node's own task scans.
        let _ = self.first.set(first);
        self.noticed.notify_waiters();
    }
}

impl Node {
    /// The first engine that stopped without a request, if one has: the caller must stop the node
    /// and end its process.
    #[must_use]
    pub fn failure(&self) -> Option<EngineStopped> {
        self.inner.failure.first.get().cloned()
    }

    /// Returns when there is a [`failure`](Self::failure).
    pub async fn failed(&self) -> EngineStopped {
        loop {
            // Registered before the check, so that no later notification is missed.
            let noticed = self.inner.failure.noticed.notified();
            if let Some(stopped) = self.failure() {
                return stopped;
            }
            noticed.await;
        }
    }
}
