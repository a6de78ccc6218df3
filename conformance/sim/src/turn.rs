//! Whose turn it is, and when: for what servers log, which is the same for all nodes of the
//! process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::world::NodeId;

static NOW_NS: AtomicU64 = AtomicU64::new(0);
static NODE: AtomicUsize = AtomicUsize::new(0);

/// A node runs now.
pub(crate) fn set_running(now_ns: u64, node: NodeId) {
    NOW_NS.store(now_ns, Ordering::Relaxed);
    NODE.store(node, Ordering::Relaxed);
}

/// Nanoseconds since the run began, and the node that runs.
pub(crate) fn now() -> (u64, NodeId) {
    (NOW_NS.load(Ordering::Relaxed), NODE.load(Ordering::Relaxed))
}
