//! A node's clock: simulated time, at this node's rate, and its wall time off by as much as this
//! node's is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use env::{BoxFuture, Clock};
use parking_lot::Mutex;

use crate::world::{NodeId, World};

/// Wall time at the beginning of every run.
pub(crate) const WALL_START_NS: u64 = 1_800_000_000_000_000_000;

/// How fast clocks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Of its own for each million of the world's.
    per_million: u64,
}

const MILLION: u128 = 1_000_000;

impl Rate {
    /// As simulated time.
    pub(crate) const EVEN: Self = Self { per_million: 1_000_000 };
    /// Far slower than anything allows for.
    pub(crate) const SLOW: Self = Self { per_million: 20_000 };
    /// Those of metadata servers, about as far apart as is allowed for: docs/protocol/raft.md.
    pub(crate) const ALLOWED: [Self; 5] = [
        Self { per_million: 860_000 },
        Self { per_million: 930_000 },
        Self::EVEN,
        Self { per_million: 1_070_000 },
        Self { per_million: 1_140_000 },
    ];

    /// Simulated time in which the fastest of these counts so much.
    pub(crate) fn shortest_ns(here_ns: u64) -> u64 {
        Self::ALLOWED.iter().map(|rate| rate.world_ns(here_ns)).min().unwrap_or(here_ns)
    }

    /// What such a clock shows at a simulated time.
    pub(crate) fn here_ns(self, world_ns: u64) -> u64 {
        scaled(u128::from(world_ns) * u128::from(self.per_million) / MILLION)
    }

    /// The first simulated time at which it shows this.
    fn world_ns(self, here_ns: u64) -> u64 {
        scaled((u128::from(here_ns) * MILLION).div_ceil(u128::from(self.per_million)))
    }
}

fn scaled(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// The clock of one node.
#[derive(Clone)]
pub(crate) struct SimClock {
    world: World,
    node: NodeId,
    pace: Arc<Mutex<Pace>>,
    /// By how much its wall time is off.
    wall_off_ns: Arc<AtomicI64>,
    /// Of its monotonic time: for which the process was paused.
    paused_ns: Arc<AtomicU64>,
}

/// From when on a clock has gone at which rate.
#[derive(Clone, Copy)]
struct Pace {
    rate: Rate,
    from_world_ns: u64,
    from_here_ns: u64,
}

impl Pace {
    fn here_ns(&self, world_ns: u64) -> u64 {
        self.from_here_ns + self.rate.here_ns(world_ns - self.from_world_ns)
    }
}

impl SimClock {
    pub(crate) fn new(world: World, node: NodeId, rate: Rate) -> Self {
        let pace = Pace { rate, from_world_ns: 0, from_here_ns: 0 };
        Self {
            world,
            node,
            pace: Arc::new(Mutex::new(pace)),
            wall_off_ns: Arc::default(),
            paused_ns: Arc::default(),
        }
    }

    /// Sets the wall time, as an administrator would.
    pub(crate) fn set_wall_off(&self, off_ns: i64) {
        self.wall_off_ns.store(off_ns, Ordering::Relaxed);
    }

    /// Goes at this rate from now on. Says at which it went. Who sleeps may be late by what it
    /// slept for.
    pub(crate) fn set_rate(&self, rate: Rate) -> Rate {
        let world_ns = self.world.now_ns();
        let mut pace = self.pace.lock();
        let before = *pace;
        *pace = Pace { rate, from_world_ns: world_ns, from_here_ns: before.here_ns(world_ns) };
        before.rate
    }

    /// The process was paused since this simulated time, and goes on: the clock has gone on.
    pub(crate) fn end_pause(&self, from_world_ns: u64) {
        let from_ns = self.pace.lock().here_ns(from_world_ns);
        self.paused_ns.fetch_add(self.monotonic_ns() - from_ns, Ordering::Relaxed);
    }

    /// What is planted: the process was paused since this simulated time, and its clock with it.
    pub(crate) fn forget_pause(&self, from_world_ns: u64) {
        let world_ns = self.world.now_ns();
        let mut pace = self.pace.lock();
        *pace = Pace { from_world_ns: world_ns, from_here_ns: pace.here_ns(from_world_ns), ..*pace };
    }

    /// Simulated time until it shows this.
    fn left_ns(&self, until_ns: u64) -> u64 {
        let left_ns = until_ns.saturating_sub(self.monotonic_ns());
        self.pace.lock().rate.world_ns(left_ns)
    }
}

impl Clock for SimClock {
    fn monotonic_ns(&self) -> u64 {
        let world_ns = self.world.now_ns();
        self.pace.lock().here_ns(world_ns)
    }

    fn awake_ns(&self) -> u64 {
        self.monotonic_ns() - self.paused_ns.load(Ordering::Relaxed)
    }

    fn wall_ns(&self) -> u64 {
        (WALL_START_NS + self.world.now_ns()).saturating_add_signed(self.wall_off_ns.load(Ordering::Relaxed))
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        let until_ns = self.monotonic_ns().saturating_add(ms.saturating_mul(1_000_000));
        let clock = self.clone();
        Box::pin(async move {
            loop {
                // Its rate may have changed.
                match clock.left_ns(until_ns) {
                    0 => return,
                    left_ns => clock.world.sleep(left_ns, clock.node).await,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_woken_when_its_clock_says_so() {
        for rate in Rate::ALLOWED.into_iter().chain([Rate::SLOW]) {
            for until_ns in [0, 1, 2, 3, 999_999, 123_456_789_012_345] {
                let world_ns = rate.world_ns(until_ns);
                assert!(until_ns <= rate.here_ns(world_ns), "{rate:?}");
                assert!(world_ns == 0 || rate.here_ns(world_ns - 1) < until_ns, "{rate:?}");
            }
        }
    }

    /// Any of these may lead, and any other follow.
    #[test]
    fn rates_are_as_far_apart_as_leases_allow_for() {
        use mds_raft::limits::{ELECTION_HEARTBEATS_MAX, LEASE_HEARTBEATS};
        let rates = Rate::ALLOWED.map(|rate| rate.per_million);
        let (slowest, fastest) = (rates.iter().min().unwrap(), rates.iter().max().unwrap());
        assert!(fastest * LEASE_HEARTBEATS < slowest * ELECTION_HEARTBEATS_MAX);
        assert!(
            slowest * ELECTION_HEARTBEATS_MAX < (fastest + 10_000) * LEASE_HEARTBEATS,
            "they could be further apart"
        );
        assert!(Rate::SLOW.per_million * ELECTION_HEARTBEATS_MAX < slowest * LEASE_HEARTBEATS);
    }
}
