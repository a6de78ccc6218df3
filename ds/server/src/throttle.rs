//! Holds background work to a rate of bytes per second, over all that share it.

use env::Clock;
use parking_lot::Mutex;

/// Holds work to a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// 0: no limit.
    bytes_per_s: u64,
    /// Until then the bytes that passed take at this rate, microseconds of the monotonic clock.
    paid_us: Mutex<u64>,
}

impl Throttle {
    /// At most so many bytes per second; 0: as many as there are.
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, paid_us: Mutex::new(0) }
    }

    /// Waits until these bytes may have passed.
    pub(crate) async fn pass(&self, clock: &dyn Clock, bytes: u64) {
        let now_ms = clock.monotonic_ms();
        if let Some(until_ms) = self.until_ms(now_ms, bytes).filter(|until_ms| now_ms < *until_ms) {
            clock.sleep_ms(until_ms - now_ms).await;
        }
    }

    fn until_ms(&self, now_ms: u64, bytes: u64) -> Option<u64> {
        if self.bytes_per_s == 0 {
            return None;
        }
        let took_us = bytes.saturating_mul(1_000_000) / self.bytes_per_s;
        let mut paid_us = self.paid_us.lock();
        *paid_us = (*paid_us).max(now_ms.saturating_mul(1_000)).saturating_add(took_us);
        assert!(took_us <= *paid_us, "what passes now is part of what is to be paid for");
        Some(*paid_us / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_by_all_together() {
        let throttle = Throttle::new(1 << 20);
        assert_eq!(throttle.until_ms(1_000, 1 << 20), Some(2_000));
        assert_eq!(throttle.until_ms(1_000, 1 << 19), Some(2_500), "behind the other");
        assert_eq!(throttle.until_ms(9_000, 1 << 19), Some(9_500), "idle time is not saved up");
        assert_eq!(Throttle::new(0).until_ms(1_000, u64::MAX), None);
    }
}
