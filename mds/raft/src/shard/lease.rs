//! A leader's own count of its lease: the time for which it may answer alone.
//!
//! Followers elect no other leader for [`ELECTION_HEARTBEATS_MAX`] heartbeats by their clocks; the
//! leader counts fewer by its own, so that clocks may differ in their rates. No such clock counts
//! time for which the machine was suspended: an answer from before a suspension does not count.
//!
//! INVARIANT: by clocks whose rates differ by less than [`ELECTION_HEARTBEATS_MAX`] to
//! [`LEASE_HEARTBEATS`], the lease ends here before a follower that gave it may vote for another.
//! Spec: docs/protocol/raft.md, What reads assume of clocks.

use std::time::Duration;

use env::Clock;
use openraft::LinearizerOption;
use parking_lot::Mutex;

use crate::limits::{LEASE_HEARTBEATS, SUSPENDED_MS_MIN};

/// The leader's part of the lease, beside the engine's.
#[derive(Debug)]
pub(crate) struct Lease {
    ns: u64,
    /// The total time of suspensions at the last check, in milliseconds, and when it last changed,
    /// monotonic.
    suspended: Mutex<(u64, u64)>,
}

impl Lease {
    pub(super) fn new(clock: &dyn Clock, heartbeat_ms: u64) -> Self {
        let ns = heartbeat_ms * LEASE_HEARTBEATS * 1_000_000;
        assert!(0 < ns, "a leader that is answered has a lease");
        Self { ns, suspended: Mutex::new((clock.suspended_ms(), 0)) }
    }

    /// The greatest age of heartbeats that a majority has answered for the lease to be in force.
    pub(super) fn age_max(&self, clock: &dyn Clock) -> Duration {
        let mut known = self.suspended.lock();
        // In this order: a suspension is detected before the time from which answers count again.
        let suspended_ms = clock.suspended_ms();
        let now_ns = clock.monotonic_ns();
        if known.0 + SUSPENDED_MS_MIN <= suspended_ms {
            *known = (suspended_ms, now_ns);
        }
        assert!(known.1 <= now_ns, "a suspension was detected before now");
        Duration::from_nanos(self.ns.min(now_ns - known.1))
    }

    /// For the engine: a read by lease, or an error at once.
    pub(super) fn read(&self, clock: &dyn Clock) -> LinearizerOption {
        LinearizerOption::new(Some(self.age_max(clock)), false).with_wait_timeout(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use env::BoxFuture;
    use env::memory::ManualClock;

    use super::*;
    use crate::limits::ELECTION_HEARTBEATS_MAX;

    /// A clock whose machine is suspended on a test's request.
    #[derive(Default)]
    struct Suspended {
        clock: ManualClock,
        ms: AtomicU64,
    }

    impl Clock for Suspended {
        fn monotonic_ns(&self) -> u64 {
            self.clock.monotonic_ns()
        }

        fn wall_ns(&self) -> u64 {
            self.clock.wall_ns()
        }

        fn suspended_ms(&self) -> u64 {
            self.ms.load(Ordering::Relaxed)
        }

        fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
            self.clock.sleep_ms(ms)
        }
    }

    #[test]
    fn a_leader_counts_fewer_heartbeats_than_followers() {
        let clock = ManualClock::new(0);
        clock.advance_ms(10_000);
        let lease = Lease::new(&clock, 100);
        let followers = Duration::from_millis(100 * ELECTION_HEARTBEATS_MAX);
        assert_eq!(lease.age_max(&clock) * 4 / 3, followers);
    }

    #[test]
    fn answers_before_a_suspension_do_not_count() {
        let clock = Suspended::default();
        clock.clock.advance_ms(10_000);
        clock.ms.store(3_000, Ordering::Relaxed);
        let lease = Lease::new(&clock, 100);
        assert_eq!(
            lease.age_max(&clock),
            Duration::from_millis(600),
            "it was suspended before there was a lease"
        );
        clock.ms.fetch_add(SUSPENDED_MS_MIN, Ordering::Relaxed);
        assert_eq!(lease.age_max(&clock), Duration::ZERO);
        clock.clock.advance_ms(30);
        assert_eq!(lease.age_max(&clock), Duration::from_millis(30), "only heartbeats sent since count");
        clock.clock.advance_ms(3_000);
        assert_eq!(lease.age_max(&clock), Duration::from_millis(600));
        // The two clocks behind it are not read at one moment.
        clock.ms.fetch_add(SUSPENDED_MS_MIN - 1, Ordering::Relaxed);
        assert_eq!(lease.age_max(&clock), Duration::from_millis(600));
    }
}
