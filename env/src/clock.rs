//! Time as a trait. Monotonic time orders and times things out; wall time is only ever shown or
//! stored.
//!
//! INVARIANT: monotonic values never go back; wall values may.

use crate::BoxFuture;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Milliseconds since an arbitrary start.
    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ns() / 1_000_000
    }

    /// Nanoseconds since an arbitrary start.
    fn monotonic_ns(&self) -> u64;

    /// For how long the machine was suspended so far, of which monotonic time knows nothing: exact
    /// to a millisecond, and only what the system itself was told of. A lease that one holds has
    /// gone on meanwhile.
    fn suspended_ms(&self) -> u64 {
        0
    }

    /// Monotonic time without that in which this process did not run, because it, or its machine,
    /// was stopped ([`crate::awake`]).
    fn awake_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64 {
        self.wall_ns() / 1_000_000
    }

    /// Nanoseconds since the Unix epoch.
    fn wall_ns(&self) -> u64;

    /// Resolves once at least `ms` milliseconds of monotonic time have passed. The wait counts from
    /// this call, not from the first poll.
    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()>;
}
