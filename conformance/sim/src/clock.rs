//! A node's clock: simulated time, off by as much as this node's is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use env::{BoxFuture, Clock};

use crate::world::{NodeId, World};

/// Wall time at the beginning of every run.
const WALL_START_NS: u64 = 1_800_000_000_000_000_000;

/// The clock of one node.
#[derive(Clone)]
pub(crate) struct SimClock {
    world: World,
    node: NodeId,
    /// By how much its wall time is off.
    wall_off_ns: Arc<AtomicI64>,
}

impl SimClock {
    pub(crate) fn new(world: World, node: NodeId) -> Self {
        Self { world, node, wall_off_ns: Arc::default() }
    }

    /// Sets the wall time, as an administrator would.
    pub(crate) fn set_wall_off(&self, off_ns: i64) {
        self.wall_off_ns.store(off_ns, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn monotonic_ns(&self) -> u64 {
        self.world.now_ns()
    }

    fn wall_ns(&self) -> u64 {
        (WALL_START_NS + self.world.now_ns()).saturating_add_signed(self.wall_off_ns.load(Ordering::Relaxed))
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(self.world.sleep(ms.saturating_mul(1_000_000), self.node))
    }
}
