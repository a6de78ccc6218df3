//! One group's log in memory: the entries that are not cut, and the segments of the shared log that
//! it still needs.
//!
//! INVARIANT: `entries` holds every index behind `purged`, without holes.
//! INVARIANT: `needs` is never above the oldest segment that a restart would have to read for this
//! group.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, RangeBounds};

use super::type_config::{LogId, RaftEntry, Vote};

#[derive(Default)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) entries: VecDeque<Held>,
    /// Payload bytes of `entries`.
    pub(super) bytes: u64,
    /// Segment of the last durable vote's record.
    pub(super) vote_at: Option<u64>,
    /// Segment of the last durable purge's record.
    pub(super) purge_at: Option<u64>,
    /// Purges so far.
    pub(super) purges: u64,
    /// Segments needed before purges that are not durable yet, by the numbers of these purges.
    pub(super) pins: BTreeMap<u64, u64>,
}

pub(super) struct Held {
    pub(super) entry: RaftEntry,
    pub(super) bytes: u64,
    /// The segment of its record; until that is known, one that is not younger.
    pub(super) segment: u64,
}

impl State {
    /// Whether the log never had an entry or a vote.
    pub(super) fn is_blank(&self) -> bool {
        self.vote.is_none() && self.next_index().is_none()
    }

    pub(super) fn next_index(&self) -> Option<u64> {
        let last = self.entries.back().map(|held| held.entry.log_id.index());
        last.or_else(|| self.purged.map(|purged| purged.index())).map(|last| last + 1)
    }

    pub(super) fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|held| held.entry.log_id.index())
    }

    pub(super) fn push(&mut self, entry: RaftEntry, segment: u64) {
        let index = entry.log_id.index();
        assert!(self.next_index().is_none_or(|next| next == index), "the log has no holes");
        let bytes = match &entry.payload {
            openraft::EntryPayload::Normal(encoded) => encoded.bytes.len() as u64,
            openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
        };
        self.bytes += bytes;
        self.entries.push_back(Held { entry, bytes, segment });
        assert!(self.next_index() == Some(index + 1), "the next entry follows this one");
    }

    pub(super) fn truncate(&mut self, last_kept: Option<u64>) {
        while self.entries.back().is_some_and(|held| last_kept < Some(held.entry.log_id.index())) {
            let held = self.entries.pop_back().expect("the log has a last entry");
            self.bytes -= held.bytes;
        }
        assert!(!self.entries.is_empty() || self.bytes == 0, "no entries have no bytes");
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|held| held.entry.log_id.index() <= upto.index()) {
            let held = self.entries.pop_front().expect("the log has a first entry");
            self.bytes -= held.bytes;
        }
        self.purged = self.purged.max(Some(upto));
        assert!(!self.entries.is_empty() || self.bytes == 0, "no entries have no bytes");
        assert!(
            self.first_index().is_none_or(|first| upto.index() < first),
            "nothing is left of what was cut"
        );
    }

    pub(super) fn slice(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Held> {
        let base = self.first_index().unwrap_or(0);
        let from = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let len = self.entries.len();
        let place = |index: u64| usize::try_from(index.saturating_sub(base)).map_or(len, |at| at.min(len));
        let (from, to) = (place(from), place(to));
        assert!(to <= len, "a range ends with the log");
        self.entries.range(from.min(to)..to)
    }

    /// Records the segment of an entry's record, if that entry is still in force.
    pub(super) fn note_segment(&mut self, id: LogId, segment: u64) {
        let Some(first) = self.first_index() else { return };
        let Some(at) = id.index().checked_sub(first).and_then(|at| usize::try_from(at).ok()) else { return };
        if let Some(held) = self.entries.get_mut(at)
            && held.entry.log_id == id
        {
            held.segment = held.segment.max(segment);
        }
    }

    pub(super) fn note_vote(&mut self, segment: u64) {
        self.vote_at = self.vote_at.max(Some(segment));
    }

    /// Pins the segment needed now, for a purge that begins; returns the purge's number.
    pub(super) fn pin(&mut self) -> u64 {
        self.purges += 1;
        if let Some(segment) = self.needs() {
            let before = self.pins.insert(self.purges, segment);
            assert!(before.is_none(), "each purge has a number of its own");
        }
        self.purges
    }

    /// Releases the pins of a durable purge and of all earlier ones, which it covers.
    pub(super) fn unpin(&mut self, number: u64) {
        assert!(number <= self.purges, "a purge that ended has begun");
        self.pins.retain(|other, _| number < *other);
    }

    pub(super) fn note_purge(&mut self, segment: u64) {
        self.purge_at = self.purge_at.max(Some(segment));
    }

    /// The oldest segment that a restart needs for this group; `None` if it needs none.
    pub(super) fn needs(&self) -> Option<u64> {
        let first = self.entries.front().map(|held| held.segment);
        [first, self.vote_at, self.purge_at].into_iter().flatten().chain(self.pins.values().copied()).min()
    }
}
