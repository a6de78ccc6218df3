//! The operator of a metadata server that lost its disk: has it taken in again, and asks until that
//! is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mds_raft::Node;

use crate::world::NodeId;

/// Time between two questions.
pub(crate) const ASK_NS: u64 = 1_000_000_000;

/// A metadata server that is to be taken in again.
#[derive(Clone)]
pub(crate) struct Readmitting {
    pub(crate) node: NodeId,
    done: Arc<AtomicBool>,
    next_ns: u64,
}

impl Readmitting {
    pub(crate) fn new(node: NodeId, now_ns: u64) -> Self {
        Self { node, done: Arc::default(), next_ns: now_ns }
    }

    /// All shards have it.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Whether it is time to ask.
    pub(crate) fn is_due(&mut self, now_ns: u64) -> bool {
        let is_due = self.next_ns <= now_ns;
        if is_due {
            self.next_ns = now_ns + ASK_NS;
        }
        is_due
    }

    /// Asks a node of the cluster.
    pub(crate) async fn ask(self, asked: Node) {
        // Whatever is in the way now: it is asked again.
        if let Ok(so_far) = asked.readmit(self.node as u64 + 1).await
            && so_far.done == so_far.shards
        {
            self.done.store(true, Ordering::Release);
        }
    }
}
