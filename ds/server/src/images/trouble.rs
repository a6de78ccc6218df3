//! Why bytes of an image did not come.

use std::sync::atomic::{AtomicBool, Ordering};

/// Why bytes of an image did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBytes {
    /// The server that has them does not answer: later perhaps.
    Unreachable,
    /// That server does not have them, or not right.
    Absent,
}

/// Remembers, over several tries, whether one failed only because a server did not answer.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    unreachable: AtomicBool,
}

impl Trouble {
    /// Notes why a try failed.
    pub(super) fn note(&self, why: NoBytes) {
        if why == NoBytes::Unreachable {
            self.unreachable.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a later try may succeed.
    pub(super) fn may_pass(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }
}
