//! Which segment to give back next: a decision over numbers, no I/O.
//!
//! A segment with next to no live bytes goes at once. Otherwise the one with the smallest live share is emptied by copying, but only
//! if enough of the journal is dead to be worth it, or room is short.
//!
//! INVARIANT: the choice never names the segment that is being written, nor one that cannot be emptied.

/// A segment of which at most one part in this many is alive is emptied whatever the rest looks like.
const NEARLY_DEAD: u64 = 64;

/// Dead bytes, in segments, below which nothing is copied at rest.
const DEAD_SEGMENTS_MIN: u64 = 4;

/// What is known of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    /// Its number.
    pub(crate) segment: u64,
    /// Bytes it takes on disk.
    pub(crate) bytes: u64,
    /// Bytes in it that can still be read, and the weight of records that must stay.
    pub(crate) live_bytes: u64,
    /// It is complete: nothing is appended to it any more.
    pub(crate) sealed: bool,
    /// A checksum failed while it was being emptied: it must stay for what else it holds.
    pub(crate) stuck: bool,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes the journal may take.
    pub(crate) journal_bytes_max: u64,
    /// Bytes of one segment.
    pub(crate) segment_bytes: u64,
}

impl Room {
    /// Live bytes that may be held: an eighth and four segments are kept free, so that there is always something to
    /// gain by compaction and room to do it in.
    #[must_use]
    pub(crate) fn live_bytes_max(&self) -> u64 {
        let reserve = self.journal_bytes_max / 8 + 4 * self.segment_bytes;
        self.journal_bytes_max.saturating_sub(reserve)
    }

    /// Journal size above which compaction takes what it can get.
    #[must_use]
    pub(crate) fn pressed_bytes(&self) -> u64 {
        self.journal_bytes_max.saturating_sub(3 * self.segment_bytes)
    }

    /// Journal size above which writes wait for compaction: two segments are for its own copies.
    #[must_use]
    pub(crate) fn full_bytes(&self) -> u64 {
        self.journal_bytes_max.saturating_sub(2 * self.segment_bytes)
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nothing is worth it.
    Rest,
    /// Copy what is live in this segment, if anything, then drop it.
    Empty {
        /// Its number.
        segment: u64,
    },
}

/// Decides. `journal_bytes` is what all files of the journal take.
#[must_use]
pub(crate) fn choose(segments: &[SegmentUse], journal_bytes: u64, room: Room) -> Choice {
    // Shares are compared as fractions of 2^16 of the segment's own size.
    let share = |one: &SegmentUse| (one.live_bytes << 16) / one.bytes.max(1);
    let free = segments.iter().filter(|one| one.sealed && !one.stuck);
    let Some(best) = free.min_by_key(|one| (share(one), one.segment)) else { return Choice::Rest };
    let live: u64 = segments.iter().map(|one| one.live_bytes).sum();
    let dead = journal_bytes.saturating_sub(live);
    // A segment with next to nothing alive goes at once.
    let cheap = NEARLY_DEAD * best.live_bytes <= best.bytes;
    // At rest half a segment must be won by copying the other half, and a quarter of the journal be dead.
    let worth = 2 * best.live_bytes <= best.bytes
        && journal_bytes <= 4 * dead
        && DEAD_SEGMENTS_MIN * room.segment_bytes <= dead;
    // Under pressure any sure gain will do: an eighth of the segment.
    let pressed = room.pressed_bytes() <= journal_bytes && 8 * best.live_bytes <= 7 * best.bytes;
    if cheap || worth || pressed { Choice::Empty { segment: best.segment } } else { Choice::Rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { journal_bytes_max: 3200, segment_bytes: 100 };

    fn segment(segment: u64, live_bytes: u64) -> SegmentUse {
        SegmentUse { segment, bytes: 100, live_bytes, sealed: true, stuck: false }
    }

    fn chosen(segments: &[SegmentUse]) -> Option<u64> {
        match choose(segments, segments.iter().map(|one| one.bytes).sum(), ROOM) {
            Choice::Rest => None,
            Choice::Empty { segment } => Some(segment),
        }
    }

    #[test]
    fn a_dead_segment_goes_at_once() {
        let active = SegmentUse { sealed: false, ..segment(3, 0) };
        assert_eq!(chosen(&[segment(1, 50), segment(2, 0), active]), Some(2));
        assert_eq!(chosen(&[segment(1, 50), segment(2, 1), active]), Some(2));
        assert_eq!(chosen(&[segment(1, 90), active]), None);
        let stuck = SegmentUse { stuck: true, ..segment(2, 0) };
        assert_eq!(chosen(&[stuck]), None);
    }

    #[test]
    fn at_rest_only_a_clear_gain_is_copied() {
        let mut segments: Vec<_> = (0..10).map(|number| segment(number, 90)).collect();
        assert_eq!(chosen(&segments), None);
        (0..6).for_each(|number| segments[number].live_bytes = 20 + number as u64);
        assert_eq!(chosen(&segments), Some(0));
    }

    #[test]
    fn under_pressure_any_gain_is_taken() {
        let mut segments: Vec<_> = (0..29).map(|number| segment(number, 87)).collect();
        assert_eq!(chosen(&segments), Some(0));
        segments.iter_mut().for_each(|one| one.live_bytes = 95);
        assert_eq!(chosen(&segments), None);
    }

    #[test]
    fn what_may_be_live_leaves_dead_bytes_to_gain() {
        // With all that may live spread evenly under pressure, some segment has at least an eighth dead.
        let live = ROOM.live_bytes_max();
        assert!(8 * live <= 7 * ROOM.pressed_bytes());
    }
}
