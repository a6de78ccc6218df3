//! The compactor's loop: asks `space` what to do, and has it done; when the journal rests it is
//! asked for more.
//!
//! Runs while the store lives; holds it only while it works.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use env::Clock;
use tokio::sync::Notify;
use wal::AppendError;

use crate::compact::EmptyError;
use crate::limits::COMPACT_PERIOD_MS;
use crate::rest::Rest;
use crate::space::{Choice, choose, choose_at_rest};
use crate::store::Inner;

/// Compacts until the store is closed or gone, or its log takes nothing more.
pub(crate) async fn run_compaction(store: Weak<Inner>, wake: Arc<Notify>, clock: Arc<dyn Clock>) {
    let mut listed_ms = clock.monotonic_ms();
    let mut rest = Rest::new(listed_ms);
    loop {
        tokio::select! {
            () = wake.notified() => {}
            () = clock.sleep_ms(COMPACT_PERIOD_MS) => {}
        }
        let Some(inner) = store.upgrade() else { return };
        if inner.closing.load(Ordering::Relaxed) {
            return;
        }
        let now_ms = clock.monotonic_ms();
        if listed_ms + COMPACT_PERIOD_MS <= now_ms {
            listed_ms = now_ms;
            if let Err(error) = inner.list_segments().await {
                tracing::error!(%error, "segments of the journal cannot be listed");
            }
        }
        match work(&inner, &mut rest).await {
            Ok(()) => {}
            Err(EmptyError::Append(error @ AppendError::NoSpace)) => {
                tracing::warn!(%error, "compaction waits for room");
            }
            Err(EmptyError::Append(error)) => {
                tracing::warn!(%error, "compaction stops");
                return;
            }
            Err(error) => tracing::error!(%error, "a segment could not be emptied"),
        }
    }
}

async fn work(inner: &Inner, rest: &mut Rest) -> Result<(), EmptyError> {
    while !inner.closing.load(Ordering::Relaxed) {
        let now_ms = inner.env.clock.monotonic_ms();
        let records = inner.wal.counters().records;
        let appended = records.wrapping_sub(inner.copied_records.load(Ordering::Relaxed));
        let is_resting = rest.look(appended, inner.has_writers(), now_ms);
        let uses = inner.segment_uses();
        let mut choice = choose(&uses, inner.wal.disk_bytes(), inner.room());
        let is_calm = is_resting && choice == Choice::Rest;
        if is_calm && rest.may_copy(now_ms) {
            choice = choose_at_rest(&uses);
        }
        match choice {
            Choice::Rest => {
                // Not between two segments: what is copied next would take the room again.
                if is_calm && rest.may_copy(now_ms) && rest.begins_trim(records) {
                    inner.wal.trim().await?;
                    tracing::debug!(bytes = inner.wal.disk_bytes(), "the journal rests");
                }
                inner.rests.fetch_add(1, Ordering::Relaxed);
                inner.compacted.notify_waiters();
                return Ok(());
            }
            Choice::Close => inner.wal.roll().await?,
            Choice::Empty { segment } => {
                let before = inner.copied_bytes.load(Ordering::Relaxed);
                inner.empty(segment).await?;
                let copied = inner.copied_bytes.load(Ordering::Relaxed) - before;
                if is_calm {
                    rest.copied(copied, inner.env.clock.monotonic_ms());
                }
                inner.nothing_to_gain.store(false, Ordering::Relaxed);
                inner.compacted.notify_waiters();
                tracing::debug!(segment, copied, "segment emptied");
            }
        }
    }
    Ok(())
}
