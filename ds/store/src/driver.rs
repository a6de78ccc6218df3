//! The compactor's loop: asks `space` what to do, and has it done.
//!
//! Runs while the store lives; holds it only while it works.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use env::Clock;
use tokio::sync::Notify;

use crate::compact::EmptyError;
use crate::limits::COMPACT_PERIOD_MS;
use crate::space::{Choice, choose};
use crate::store::Inner;

/// Compacts until the store is closed or gone, or its log takes nothing more.
pub(crate) async fn run(store: Weak<Inner>, wake: Arc<Notify>, clock: Arc<dyn Clock>) {
    loop {
        tokio::select! {
            () = wake.notified() => {}
            () = clock.sleep_ms(COMPACT_PERIOD_MS) => {}
        }
        let Some(inner) = store.upgrade() else { return };
        if inner.closing.load(Ordering::Relaxed) {
            return;
        }
        match work(&inner).await {
            Ok(()) => {}
            Err(EmptyError::Append(error)) => {
                tracing::warn!(%error, "compaction stops");
                return;
            }
            Err(error) => tracing::error!(%error, "a segment could not be emptied"),
        }
    }
}

async fn work(inner: &Inner) -> Result<(), EmptyError> {
    while !inner.closing.load(Ordering::Relaxed) {
        let uses = inner.segment_uses();
        match choose(&uses, inner.wal.disk_bytes(), inner.room()) {
            Choice::Rest => {
                inner.rests.fetch_add(1, Ordering::Relaxed);
                inner.compacted.notify_waiters();
                return Ok(());
            }
            Choice::Empty { segment } => {
                inner.empty(segment).await?;
                inner.nothing_to_gain.store(false, Ordering::Relaxed);
                inner.compacted.notify_waiters();
                tracing::debug!(segment, "segment emptied");
            }
        }
    }
    Ok(())
}
