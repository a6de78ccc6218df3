//! Attempts to resume a session run one at a time; a DELAY answers all requests that waited
//! meanwhile, which do not retry.
//!
//! INVARIANT: two attempts are never under way at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// The queue of attempts for one session.
#[derive(Default)]
pub(super) struct Turn {
    lock: Mutex<()>,
    /// Number of attempts that ended in DELAY.
    delays: AtomicU64,
}

/// The turn of one request, until this is dropped.
pub(super) struct Taken<'a> {
    turn: &'a Turn,
    _lock: MutexGuard<'a, ()>,
    /// An attempt ended in DELAY while this one waited. If each retried, the last would wait for
    /// all before it, a full wait for each.
    pub(super) is_in_vain: bool,
}

impl Turn {
    /// Returns when no other attempt is running.
    pub(super) async fn take_turn(&self) -> Taken<'_> {
        let before = self.delays.load(Ordering::Acquire);
        let lock = self.lock.lock().await;
        let is_in_vain = self.delays.load(Ordering::Acquire) != before;
        Taken { turn: self, _lock: lock, is_in_vain }
    }
}

impl Taken<'_> {
    /// Ends the attempt in DELAY, also for the requests that wait.
    pub(super) fn count_delay(self) {
        self.turn.delays.fetch_add(1, Ordering::AcqRel);
    }
}
