//! The machine's clock: `CLOCK_MONOTONIC` and `CLOCK_REALTIME` through std, sleeping on tokio's timer. What `CLOCK_BOOTTIME` counts
//! beyond `CLOCK_MONOTONIC` is time for which the machine was suspended.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{BoxFuture, Clock};

/// The machine's clock. Monotonic time counts from its creation.
#[derive(Debug, Clone)]
pub struct OsClock {
    started: Instant,
}

impl OsClock {
    /// Starts a clock at monotonic zero.
    #[allow(clippy::disallowed_methods, reason = "this is the clock the rest of the workspace is sent to")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for OsClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for OsClock {
    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn suspended_ms(&self) -> u64 {
        suspended_ms()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock the rest of the workspace is sent to")]
    fn wall_ns(&self) -> u64 {
        // A clock set before 1970 reads as the epoch.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }
}

/// Two clocks cannot be read at once: who was interrupted in between reads them again, so often at most. What is read is never too small, so
/// the smallest counts.
const READS_MAX: u32 = 5;
const APART_NS_MAX: u64 = 500_000;

fn suspended_ms() -> u64 {
    let mut suspended_ns = u64::MAX;
    for _ in 0..READS_MAX {
        let before_ns = read_ns(libc::CLOCK_MONOTONIC);
        let boot_ns = read_ns(libc::CLOCK_BOOTTIME);
        suspended_ns = suspended_ns.min(boot_ns.saturating_sub(before_ns));
        if read_ns(libc::CLOCK_MONOTONIC) - before_ns < APART_NS_MAX {
            break;
        }
    }
    suspended_ns / 1_000_000
}

fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes a timespec where there is one.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(read, 0, "Linux has both clocks");
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_suspends_the_machine_while_this_looks() {
        let clock = OsClock::new();
        let first_ms = clock.suspended_ms();
        let apart = (0..10_000).map(|_| clock.suspended_ms().abs_diff(first_ms));
        assert!(apart.max() <= Some(1));
    }
}
