//! What surrounds the data: the superblock, and the header blocks, footers and record headers of
//! the journal's segments. The scrub checks them when a round has gone through everything else, so
//! that what a bad segment holds is good by then, and can be moved.
//!
//! INVARIANT: a segment with a bad place counts as repaired only when it is gone.
//! Spec: docs/protocol/seal.md §10; docs/formats/journal.md §6.

use ds_store::Store;

use super::pace::Pace;
use super::plan::Outcome;
use crate::lease::Serving;
use crate::limits::SCRUB_EMPTY_MS_MAX;

/// How often to look whether a segment is gone.
const LOOK_MS: u64 = 100;
const _: () = assert!(LOOK_MS <= SCRUB_EMPTY_MS_MAX, "the scrub looks at least once");

/// Checks all of it.
pub(super) async fn check_structure(pace: &Pace, store: &Store, serving: &Serving) {
    let mut outcome = Outcome::default();
    match store.check_superblock().await {
        Ok(bad) => outcome.repaired += bad,
        Err(error) => {
            tracing::error!(%error, "the superblock can neither be read nor written");
            outcome.bad += 1;
        }
    }
    match store.complete_segments().await {
        Ok(segments) => {
            for segment in segments {
                check_segment(pace, store, segment, &mut outcome).await;
            }
        }
        Err(error) => serving.note_error(&error),
    }
    pace.count(outcome);
    pace.plan.lock().note_structure(outcome);
}

async fn check_segment(pace: &Pace, store: &Store, segment: u64, outcome: &mut Outcome) {
    match store.check_segment(segment).await {
        Ok((0, bytes)) => pace.pause_after(bytes).await,
        Ok((bad, bytes)) => {
            if is_emptied(pace, store, segment).await {
                outcome.repaired += bad;
            } else {
                tracing::error!(segment, bad, "a bad segment of the journal cannot be emptied yet");
                outcome.bad += bad;
            }
            pace.pause_after(bytes).await;
        }
        Err(error) => {
            tracing::error!(segment, %error, "the disk does not read a segment of the journal");
            outcome.bad += 1;
        }
    }
}

async fn is_emptied(pace: &Pace, store: &Store, segment: u64) -> bool {
    for _ in 0..SCRUB_EMPTY_MS_MAX / LOOK_MS {
        if !store.has_segment(segment) {
            return true;
        }
        pace.clock.sleep_ms(LOOK_MS).await;
    }
    false
}
