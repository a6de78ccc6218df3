//! An engine that stops by itself, since its store or the log failed or it panicked, ends its node.
//!
//! The other shards could continue, but the stopped one would not: other nodes take over from a
//! dead node, not from a live one that does nothing. So the server that runs the node stops it,
//! which hands over the shards that it still leads, and ends the process.
//!
//! Spec: docs/protocol/raft.md, An engine that stops.

use std::sync::OnceLock;

use tokio::sync::Notify;

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
pub(crate) struct Failure {
    first: OnceLock<EngineStopped>,
    noticed: Notify,
}

impl Failure {
    /// Notes the first of the engines that have stopped, unless one was noted before.
    pub(super) fn note_engines<S>(&self, stopped: S, is_alone: bool)
    where
        S: IntoIterator<Item = EngineStopped>,
    {
        if self.first.get().is_some() {
            return;
        }
        let mut stopped = stopped.into_iter();
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
        let is_set = self.first.set(first).is_ok();
        assert!(is_set, "only the node's own task notes engines");
        self.noticed.notify_waiters();
    }

    /// The first engine that stopped, if one was noted.
    pub(super) fn first(&self) -> Option<EngineStopped> {
        self.first.get().cloned()
    }

    /// Returns when an engine has stopped.
    pub(super) async fn wait_first(&self) -> EngineStopped {
        loop {
            // Registered before the check, so that no later notification is missed.
            let noticed = self.noticed.notified();
            if let Some(stopped) = self.first() {
                return stopped;
            }
            noticed.await;
        }
    }
}
