//! How often a line may be logged that a peer can cause: each kind of line has a rate of its own,
//! and says what it left out.
//!
//! Sans-io: time is an argument. A kind is a static of this type beside its line.

use std::sync::{Mutex, PoisonError};

use crate::limits::{LOG_LINES_MAX, LOG_WINDOW_MS};

/// The rate of one kind of line.
#[derive(Debug)]
pub struct LogRate {
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began_ms: u64,
    lines: u32,
    suppressed: u64,
}

impl LogRate {
    /// Nothing was logged yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { window: Mutex::new(Window { began_ms: 0, lines: 0, suppressed: 0 }) }
    }

    /// Whether a line may be logged: then how many of its kind were left out since the last one.
    pub fn admit(&self, now_ms: u64) -> Option<u64> {
        // Each change leaves it whole.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // Servers of one process may have clocks of their own in a simulation: one that is behind
        // begins again, too.
        if now_ms < window.began_ms || LOG_WINDOW_MS <= now_ms - window.began_ms {
            (window.began_ms, window.lines) = (now_ms, 0);
        }
        if LOG_LINES_MAX <= window.lines {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

impl Default for LogRate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_few_lines_and_a_count() {
        let rate = LogRate::new();
        let now_ms = 7 * LOG_WINDOW_MS;
        let logged = (0..10_000).filter(|_| rate.admit(now_ms).is_some()).count();
        assert_eq!(logged, LOG_LINES_MAX as usize);
        assert_eq!(rate.admit(now_ms + LOG_WINDOW_MS - 1), None);
        let left_out = 10_000 - u64::from(LOG_LINES_MAX) + 1;
        assert_eq!(rate.admit(now_ms + LOG_WINDOW_MS), Some(left_out));
        assert_eq!(rate.admit(now_ms + LOG_WINDOW_MS), Some(0), "it was said");
        assert_eq!(rate.admit(3), Some(0));
    }
}
