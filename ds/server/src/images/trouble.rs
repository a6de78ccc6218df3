//! Why bytes of an image did not come.

use std::sync::atomic::{AtomicBool, Ordering};

/// Why bytes of an image did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBytes {
    /// Who has them does not answer: later perhaps.
    Unreachable,
    /// They are not there, or not right.
    Absent,
}

/// Remembers, over several tries, whether one failed only because somebody did not answer.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    unreachable: AtomicBool,
}

impl Trouble {
    pub(super) fn note(&self, why: NoBytes) {
        if why == NoBytes::Unreachable {
            self.unreachable.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn may_pass(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }
}
