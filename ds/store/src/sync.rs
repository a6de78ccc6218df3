//! Which records are on stable storage, and which appends have not landed in the index yet.
//!
//! [`Stamps`] lets a COMMIT return at once when another request's sync came after the last write.
//! [`InFlight`] lets compaction know that a segment holds nothing that the index has not seen.
//!
//! INVARIANT: a stamp at or below `synced` belongs to a record that is on stable storage.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Counts appended records, and how many of them are surely on stable storage.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    appended: AtomicU64,
    synced: AtomicU64,
}

impl Stamps {
    /// Stamps a record that was just appended.
    pub(crate) fn stamp(&self) -> u64 {
        self.appended.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// What a sync that begins now will cover.
    pub(crate) fn horizon(&self) -> u64 {
        self.appended.load(Ordering::SeqCst)
    }

    /// A sync that began at `horizon` has succeeded.
    pub(crate) fn synced(&self, horizon: u64) {
        assert!(horizon <= self.horizon(), "a sync covers what was appended before it");
        self.synced.fetch_max(horizon, Ordering::SeqCst);
    }

    /// Whether the record with this stamp is on stable storage.
    pub(crate) fn is_synced(&self, stamp: u64) -> bool {
        stamp <= self.synced.load(Ordering::SeqCst)
    }
}

/// Appends that were begun and are not in the index yet.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    state: Mutex<State>,
    landed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    running: BTreeSet<u64>,
}

impl InFlight {
    /// An append begins.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        let is_new = state.running.insert(number);
        assert!(is_new, "an append begins once");
        number
    }

    /// It is in the index, or will never be.
    pub(crate) fn end(&self, number: u64) {
        let was_running = self.state.lock().running.remove(&number);
        assert!(was_running, "an append ends once");
        self.landed.notify_waiters();
    }

    /// Waits until every append that has begun by now has ended.
    pub(crate) async fn drain(&self) {
        let horizon = self.state.lock().next;
        loop {
            let landed = self.landed.notified();
            tokio::pin!(landed);
            // Registered before looking, so that no end is missed.
            landed.as_mut().enable();
            if self.state.lock().running.first().is_none_or(|first| horizon <= *first) {
                return;
            }
            landed.await;
        }
    }
}
