//! One request at a time tries to take a session up, and those that waited meanwhile do not each try again what cannot be had now.
//!
//! INVARIANT: two attempts are never under way at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turn {
    lock: Mutex<()>,
    /// Attempts that were put off so far.
    put_off: AtomicU64,
}

/// The turn of one request, until this is dropped.
pub(super) struct Taken<'a> {
    turn: &'a Turn,
    _lock: MutexGuard<'a, ()>,
    /// An attempt was put off while this one waited. If each tried for itself then, the last would wait for all before it, a full wait for each.
    pub(super) is_in_vain: bool,
}

impl Turn {
    /// Returns when nobody else tries.
    pub(super) async fn take(&self) -> Taken<'_> {
        let before = self.put_off.load(Ordering::Acquire);
        let lock = self.lock.lock().await;
        let is_in_vain = self.put_off.load(Ordering::Acquire) != before;
        Taken { turn: self, _lock: lock, is_in_vain }
    }
}

impl Taken<'_> {
    /// The attempt was put off, and so are those that wait.
    pub(super) fn put_off(self) {
        self.turn.put_off.fetch_add(1, Ordering::AcqRel);
    }
}
