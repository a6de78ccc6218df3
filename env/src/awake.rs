//! Time in which this process ran: monotonic time without its pauses. A process that was stopped,
//! or whose virtual machine was, finds every time-out over when it goes on, although none of its
//! peers had the chance to keep it. Who counts in this time waits for the rest.
//!
//! Leases that this process *holds* end in monotonic time, whether it ran or not: they do not
//! belong here.
//!
//! INVARIANT: never ahead of monotonic time, and never goes back.

use std::sync::Arc;

use crate::limits::PAUSE_NS_MIN;
use crate::{BoxFuture, Clock};

/// Tells pauses from running, by readings of a clock that are close to each other while the process
/// runs. No clock of its own.
#[derive(Debug, Default)]
pub struct PauseDetector {
    last_ns: u64,
    paused_ns: u64,
}

impl PauseDetector {
    /// The monotonic clock shows this now: answers for how long the process has run.
    pub fn ran_ns(&mut self, now_ns: u64) -> u64 {
        let step_ns = now_ns.saturating_sub(self.last_ns);
        if PAUSE_NS_MIN <= step_ns {
            self.paused_ns += step_ns;
        }
        self.last_ns = self.last_ns.max(now_ns);
        self.last_ns - self.paused_ns
    }
}

/// A clock that stands still while this process does not run.
pub struct AwakeClock {
    clock: Arc<dyn Clock>,
}

impl AwakeClock {
    /// Over the machine's clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Clock for AwakeClock {
    fn monotonic_ns(&self) -> u64 {
        self.clock.awake_ns()
    }

    fn awake_ns(&self) -> u64 {
        self.clock.awake_ns()
    }

    fn suspended_ms(&self) -> u64 {
        self.clock.suspended_ms()
    }

    fn wall_ns(&self) -> u64 {
        self.clock.wall_ns()
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        let until_ns = self.clock.awake_ns().saturating_add(ms.saturating_mul(1_000_000));
        let (clock, first) = (Arc::clone(&self.clock), self.clock.sleep_ms(ms));
        Box::pin(async move {
            first.await;
            loop {
                // What was slept through in a pause is still to come.
                match until_ns.saturating_sub(clock.awake_ns()).div_ceil(1_000_000) {
                    0 => return,
                    left_ms => clock.sleep_ms(left_ms).await,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ManualClock;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn what_is_not_read_for_long_was_a_pause() {
        let mut detector = PauseDetector::default();
        assert_eq!(detector.ran_ns(SECOND_NS / 4), SECOND_NS / 4);
        assert_eq!(detector.ran_ns(SECOND_NS / 2), SECOND_NS / 2);
        assert_eq!(detector.ran_ns(30 * SECOND_NS), SECOND_NS / 2, "it was stopped");
        assert_eq!(detector.ran_ns(30 * SECOND_NS + 7), SECOND_NS / 2 + 7);
        assert_eq!(detector.ran_ns(29 * SECOND_NS), SECOND_NS / 2 + 7, "a reading that came late");
    }

    #[tokio::test]
    async fn a_pause_takes_no_time() {
        let manual = ManualClock::new(1_000);
        let clock = AwakeClock::new(Arc::new(manual.clone()));
        let sleep = tokio::spawn(clock.sleep_ms(1_000));
        tokio::task::yield_now().await;
        manual.advance_ms(400);
        manual.pause_ms(25_000);
        tokio::task::yield_now().await;
        assert!(!sleep.is_finished(), "600 ms are left");
        assert_eq!((clock.monotonic_ms(), manual.monotonic_ms(), clock.wall_ms()), (400, 25_400, 26_400));
        manual.advance_ms(599);
        tokio::task::yield_now().await;
        assert!(!sleep.is_finished());
        manual.advance_ms(1);
        sleep.await.unwrap();
    }
}
