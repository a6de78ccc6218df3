//! Entries that no client waits for: they are written at once, and durable with the next flush that
//! another entry needs, or a moment later.
//!
//! The proposer marks them: with one replica a CLOSE that is answered before it is flushed
//! (docs/adr/0004-close-is-not-waited-for.md, 0012), and an access time. With a flush of its own
//! such an entry would delay the next command, which arrives during that flush and would have to
//! wait for the one after.
//!
//! INVARIANT: the engine is notified in the order of the log, and only after a flush that began
//! when the entry was written.

use std::io;
use std::sync::Arc;

use env::Clock;
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use wal::Wal;

use super::append_error::failed;
use super::type_config::{RaftEntry, Types};
use crate::limits::UNHURRIED_MS_MAX;

/// Notifies the engine of a completed flush.
pub(super) type Callback = IOFlushed<Types>;

/// Callbacks of entries that are written and not known to be flushed.
#[derive(Clone)]
pub(super) struct Unhurried {
    clock: Arc<dyn Clock>,
    waiting: Arc<Mutex<Vec<Callback>>>,
}

impl Unhurried {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: Arc::default() }
    }

    /// Whether no client waits for any of these.
    pub(super) fn are(entries: &[RaftEntry]) -> bool {
        entries.iter().all(|entry| match &entry.payload {
            openraft::EntryPayload::Normal(encoded) => encoded.is_unhurried(),
            openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => false,
        })
    }

    /// Keeps a callback until the next flush. Call it in the order of the log, once the entries are
    /// queued.
    pub(super) fn put(&self, callback: Callback, wal: &Wal) {
        let mut waiting = self.waiting.lock();
        waiting.push(callback);
        if 1 < waiting.len() {
            return;
        }
        let (own, wal) = (self.clone(), wal.clone());
        tokio::spawn(async move {
            own.clock.sleep_ms(UNHURRIED_MS_MAX).await;
            let due = own.take_callbacks();
            if !due.is_empty() {
                let flushed = wal.sync().await.map_err(failed);
                notify_engine(due, &flushed);
            }
        });
    }

    /// Takes the callbacks that the next queued flush covers.
    pub(super) fn take_callbacks(&self) -> Vec<Callback> {
        std::mem::take(&mut self.waiting.lock())
    }
}

/// Notifies the engine, oldest first.
pub(super) fn notify_engine(callbacks: Vec<Callback>, flushed: &io::Result<()>) {
    for callback in callbacks {
        let outcome = match flushed {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        callback.io_completed(outcome);
    }
}
