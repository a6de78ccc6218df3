//! What surrounds the data: the superblock, and the header blocks, footers and record headers of
//! the journal's segments. Looked at when a round has gone through everything else, so that what a
//! bad segment holds is good by then, and can be moved.
//!
//! INVARIANT: a segment with a bad place counts as repaired only when it is gone.
//! Spec: docs/protocol/seal.md §10; docs/formats/journal.md §6.

use super::Scrub;
use super::plan::Outcome;
use crate::limits::SCRUB_EMPTY_MS_MAX;

/// How often to look whether a segment is gone.
const LOOK_MS: u64 = 100;

impl Scrub {
    /// Looks at all of it.
    pub(super) async fn structure(&self) {
        let mut outcome = Outcome::default();
        match self.core.store.check_superblock().await {
            Ok(bad) => outcome.repaired += bad,
            Err(error) => {
                tracing::error!(%error, "the superblock can neither be read nor written");
                outcome.bad += 1;
            }
        }
        match self.core.store.complete_segments().await {
            Ok(segments) => {
                for segment in segments {
                    self.segment(segment, &mut outcome).await;
                }
            }
            Err(error) => self.core.note(&error),
        }
        self.count(outcome);
        self.plan.lock().note(outcome);
    }

    async fn segment(&self, segment: u64, outcome: &mut Outcome) {
        match self.core.store.check_segment(segment).await {
            Ok((0, bytes)) => self.passed(bytes).await,
            Ok((bad, bytes)) => {
                if self.is_emptied(segment).await {
                    outcome.repaired += bad;
                } else {
                    tracing::error!(segment, bad, "a bad segment of the journal cannot be emptied yet");
                    outcome.bad += bad;
                }
                self.passed(bytes).await;
            }
            Err(error) => {
                tracing::error!(segment, %error, "the disk does not read a segment of the journal");
                outcome.bad += 1;
            }
        }
    }

    async fn is_emptied(&self, segment: u64) -> bool {
        for _ in 0..SCRUB_EMPTY_MS_MAX / LOOK_MS {
            if !self.core.store.has_segment(segment) {
                return true;
            }
            self.core.env.clock.sleep_ms(LOOK_MS).await;
        }
        false
    }
}
