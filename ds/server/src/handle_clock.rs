//! The clock of metadata servers that handles are made by.
//!
//! Spec: docs/protocol/control.md §7.

use std::sync::atomic::{AtomicU64, Ordering};

/// The clock of metadata servers that handles are made by, as far as it is known here.
///
/// INVARIANT: it is not behind theirs by a millisecond: a handle that was made just now is never of
/// the future.
#[derive(Debug, Default)]
pub(crate) struct HandleClock {
    /// To be added to our clock, wrapping.
    ahead_ms: AtomicU64,
}

impl HandleClock {
    /// A metadata server that was asked at `asked_ms` of our clock says what its clock showed then,
    /// or a little later.
    pub(crate) fn set(&self, told_ms: u64, asked_ms: u64) {
        // What it showed and our own time are both rounded down.
        let ahead_ms = told_ms.wrapping_add(1).wrapping_sub(asked_ms);
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// A time of our clock by this one.
    pub(crate) fn at_ms(&self, now_ms: u64) -> u64 {
        now_ms.wrapping_add(self.ahead_ms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every rounding of both clocks, in tenths of a millisecond.
    #[test]
    fn no_handle_is_of_the_future() {
        let (clock, floor_ms) = (HandleClock::default(), |tenths: u64| tenths / 10);
        for (asked, theirs_ahead, later) in (0..1_000).map(|all| (all % 10, all / 10 % 10, all / 100)) {
            let (asked, passed) = (5_000 + asked, 770 + later);
            let told = asked + 90_000 + theirs_ahead;
            clock.set(floor_ms(told), floor_ms(asked));
            let (known_ms, theirs_ms) = (clock.at_ms(floor_ms(asked + passed)), floor_ms(told + passed));
            assert!((theirs_ms..=theirs_ms + 2).contains(&known_ms), "{known_ms} and {theirs_ms}");
        }
    }
}
