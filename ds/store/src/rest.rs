//! Whether the journal rests, and what may be done then: time and counts in, yes or no out.
//!
//! INVARIANT: at rest at most [`REST_COPY_BYTES_PER_SECOND`] are copied, on average, and room is
//! given back once for what was appended last.
//! Spec: docs/formats/journal.md §5.

use crate::limits::{JOURNAL_REST_MS, REST_COPY_BYTES_PER_SECOND};

/// What is remembered between two looks.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Records that others than compaction appended, at the last look.
    appended: u64,
    /// Since when it is that many.
    since_ms: u64,
    /// Nothing is to be copied before.
    copy_from_ms: u64,
    /// Records in all when room was given back last.
    trimmed_at: Option<u64>,
}

impl Rest {
    /// Begins to watch at `now_ms`.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { appended: 0, since_ms: now_ms, copy_from_ms: now_ms, trimmed_at: None }
    }

    /// Whether the journal rests at `now_ms`. `appended` counts the records that others than
    /// compaction appended; `busy`: a WRITE is about to.
    pub(crate) fn look(&mut self, appended: u64, busy: bool, now_ms: u64) -> bool {
        if busy || appended != self.appended {
            self.appended = appended;
            self.since_ms = now_ms;
        }
        assert!(self.since_ms <= now_ms, "the clock never goes back");
        self.since_ms + JOURNAL_REST_MS <= now_ms
    }

    /// Whether it is time to copy.
    pub(crate) fn may_copy(&self, now_ms: u64) -> bool {
        self.copy_from_ms <= now_ms
    }

    /// So much was copied, up to `now_ms`.
    pub(crate) fn copied(&mut self, bytes: u64, now_ms: u64) {
        self.copy_from_ms = now_ms + bytes.saturating_mul(1000) / REST_COPY_BYTES_PER_SECOND;
    }

    /// Whether there may be room to give back: something was appended since it was done last.
    /// `records` counts all.
    pub(crate) fn begins_trim(&mut self, records: u64) -> bool {
        self.trimmed_at.replace(records) != Some(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_when_nothing_is_appended() {
        let mut rest = Rest::new(100);
        assert!(!rest.look(0, false, 100 + JOURNAL_REST_MS - 1));
        assert!(rest.look(0, false, 100 + JOURNAL_REST_MS));
        let now = 100 + JOURNAL_REST_MS;
        assert!(!rest.look(1, false, now), "a record was appended");
        assert!(!rest.look(1, false, now + JOURNAL_REST_MS - 1));
        assert!(!rest.look(1, true, now + JOURNAL_REST_MS), "a WRITE waits for room");
        assert!(!rest.look(1, false, now + 2 * JOURNAL_REST_MS - 1));
        assert!(rest.look(1, false, now + 2 * JOURNAL_REST_MS));
    }

    #[test]
    fn copies_are_paced_and_room_is_given_back_once() {
        let mut rest = Rest::new(0);
        assert!(rest.may_copy(0));
        rest.copied(REST_COPY_BYTES_PER_SECOND / 2, 1000);
        assert!(!rest.may_copy(1499) && rest.may_copy(1500));
        assert!(rest.begins_trim(0) && !rest.begins_trim(0));
        assert!(rest.begins_trim(7) && !rest.begins_trim(7));
    }
}
