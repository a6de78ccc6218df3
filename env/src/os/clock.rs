//! The machine's clock: `CLOCK_MONOTONIC` and `CLOCK_REALTIME` through std, sleeping on tokio's timer.

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
