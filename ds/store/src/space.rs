//! Which segment to give back next: a decision over numbers, no I/O.
//!
//! A segment with a bad record that is not needed goes first, one with next to no live bytes at
//! once. Otherwise the one with the smallest live share is emptied by copying, but only if enough
//! of the journal is dead to be worth it, or room is short.
//!
//! At rest less is asked for, because no request is disturbed: see [`choose_at_rest`].
//!
//! INVARIANT: the choice never empties the segment that is being written, nor one that cannot be
//! emptied. Choosing and doing at rest ends by itself, and copies at most a bounded share of what
//! died.
//! Spec: docs/formats/journal.md §5.

use crate::limits::{REST_GAIN_BYTES_MIN, REST_LIVE_PARTS, SMALL_SEGMENT_BYTES, SMALL_SEGMENTS_MAX};

/// A segment of which at most one part in this many is alive is emptied whatever the rest looks
/// like.
const NEARLY_DEAD: u64 = 64;

/// Dead bytes, in segments, below which nothing is copied at rest.
const DEAD_SEGMENTS_MIN: u64 = 4;

/// What is known of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    /// Its number.
    pub(crate) segment: u64,
    /// Bytes of its records.
    pub(crate) bytes: u64,
    /// Bytes of its file that hold something: records, padding, header and footer.
    pub(crate) filled_bytes: u64,
    /// Bytes in it that can still be read, and the weight of records that must stay.
    pub(crate) live_bytes: u64,
    /// It is complete: nothing is appended to it any more.
    pub(crate) sealed: bool,
    /// A checksum failed while it was being emptied: it must stay for what else it holds.
    pub(crate) stuck: bool,
    /// A record in it is bad, and not needed any more: the next start should not meet it.
    pub(crate) bad: bool,
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
    /// Live bytes that may be held: an eighth and four segments are kept free, so that there is
    /// always something to gain by compaction and room to do it in.
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
    /// End the segment that is being written, so that it can be emptied.
    Close,
    /// Copy what is live in this segment, if anything, then drop it.
    Empty {
        /// Its number.
        segment: u64,
    },
}

/// Decides. `journal_bytes` is what all files of the journal take.
#[must_use]
pub(crate) fn choose(segments: &[SegmentUse], journal_bytes: u64, room: Room) -> Choice {
    assert!(room.live_bytes_max() <= room.pressed_bytes(), "room can be made before it must");
    assert!(room.pressed_bytes() <= room.full_bytes(), "compaction begins before WRITEs wait");
    // Shares are compared as fractions of 2^16 of the segment's own size.
    let share = |one: &SegmentUse| (one.live_bytes << 16) / one.bytes.max(1);
    let free = segments.iter().filter(|one| one.sealed && !one.stuck);
    if let Some(bad) = free.clone().find(|one| one.bad) {
        return Choice::Empty { segment: bad.segment };
    }
    let Some(best) = free.min_by_key(|one| (share(one), one.segment)) else { return Choice::Rest };
    let live: u64 = segments.iter().map(|one| one.live_bytes).sum();
    let dead = journal_bytes.saturating_sub(live);
    // A segment with next to nothing alive goes at once.
    let cheap = NEARLY_DEAD * best.live_bytes <= best.bytes;
    // At rest half a segment must be won by copying the other half, and a quarter of the journal be
    // dead.
    let worth = 2 * best.live_bytes <= best.bytes
        && journal_bytes <= 4 * dead
        && DEAD_SEGMENTS_MIN * room.segment_bytes <= dead;
    // Under pressure any sure gain will do: an eighth of the segment.
    let pressed = room.pressed_bytes() <= journal_bytes && 8 * best.live_bytes <= 7 * best.bytes;
    if cheap || worth || pressed { Choice::Empty { segment: best.segment } } else { Choice::Rest }
}

/// Decides when nothing is appended, and [`choose`] has found nothing.
///
/// A segment that is mostly dead is emptied if that gives back twice what is copied, and enough to
/// be worth it at all; the one that is being written is closed first. Of segments too small for
/// that a few may stay; more are merged, the emptiest first.
///
/// Why it ends: each byte that is copied buys two that died, and copies do not die by being made.
/// Merging needs one small segment more than may stay, and those come from starts, one each.
#[must_use]
pub(crate) fn choose_at_rest(segments: &[SegmentUse]) -> Choice {
    let is_worth = |one: &&SegmentUse| {
        REST_LIVE_PARTS * one.live_bytes <= one.filled_bytes
            && REST_GAIN_BYTES_MIN <= one.filled_bytes - one.live_bytes
    };
    let free = segments.iter().filter(|one| !one.stuck);
    let best =
        free.clone().filter(is_worth).max_by_key(|one| (one.sealed, one.filled_bytes - one.live_bytes));
    if let Some(best) = best {
        return if best.sealed { Choice::Empty { segment: best.segment } } else { Choice::Close };
    }
    let small = free.filter(|one| one.sealed && one.filled_bytes <= SMALL_SEGMENT_BYTES);
    match small.clone().min_by_key(|one| one.live_bytes) {
        Some(least) if SMALL_SEGMENTS_MAX < small.count() => Choice::Empty { segment: least.segment },
        _ => Choice::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { journal_bytes_max: 3200, segment_bytes: 100 };

    fn segment(segment: u64, live_bytes: u64) -> SegmentUse {
        SegmentUse {
            segment,
            bytes: 100,
            filled_bytes: 112,
            live_bytes,
            sealed: true,
            stuck: false,
            bad: false,
        }
    }

    fn chosen(segments: &[SegmentUse]) -> Option<u64> {
        match choose(segments, segments.iter().map(|one| one.bytes).sum(), ROOM) {
            Choice::Rest => None,
            Choice::Empty { segment } => Some(segment),
            Choice::Close => panic!("only at rest"),
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
    fn a_segment_with_a_bad_record_goes_first() {
        let bad = SegmentUse { bad: true, ..segment(2, 99) };
        assert_eq!(chosen(&[segment(1, 0), bad]), Some(2));
        assert_eq!(chosen(&[segment(1, 90), SegmentUse { stuck: true, ..bad }]), None);
        assert_eq!(chosen(&[segment(1, 90), SegmentUse { sealed: false, ..bad }]), None);
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
        // With all that may live spread evenly under pressure, some segment has at least an eighth
        // dead.
        let live = ROOM.live_bytes_max();
        assert!(8 * live <= 7 * ROOM.pressed_bytes());
    }

    const MIB: u64 = 1 << 20;

    fn large(segment: u64, filled_bytes: u64, live_bytes: u64) -> SegmentUse {
        SegmentUse {
            segment,
            bytes: filled_bytes,
            filled_bytes,
            live_bytes,
            sealed: true,
            stuck: false,
            bad: false,
        }
    }

    #[test]
    fn at_rest_a_segment_goes_for_half_of_what_it_gives() {
        let active = |live| SegmentUse { sealed: false, ..large(9, 6 * MIB, live) };
        assert_eq!(choose_at_rest(&[large(1, 64 * MIB, 22 * MIB), active(3 * MIB)]), Choice::Rest);
        let uses = [large(1, 64 * MIB, 21 * MIB), large(2, 64 * MIB, 20 * MIB), active(MIB)];
        assert_eq!(choose_at_rest(&uses), Choice::Empty { segment: 2 });
        // The active one last: until then it takes the copies.
        assert_eq!(choose_at_rest(&[large(1, 64 * MIB, 22 * MIB), active(MIB)]), Choice::Close);
        let stuck = SegmentUse { stuck: true, ..large(1, 64 * MIB, 0) };
        assert_eq!(choose_at_rest(&[stuck, active(3 * MIB)]), Choice::Rest);
        assert_eq!(choose_at_rest(&[]), Choice::Rest);
    }

    #[test]
    fn a_little_is_left_at_rest() {
        let little = REST_GAIN_BYTES_MIN - 1;
        let mut uses: Vec<_> = (1..=SMALL_SEGMENTS_MAX as u64).map(|one| large(one, little, one)).collect();
        uses.push(SegmentUse { sealed: false, ..large(90, little, 0) });
        uses.push(SegmentUse { stuck: true, ..large(91, little, 0) });
        uses.push(large(92, 64 * MIB, 64 * MIB));
        assert_eq!(choose_at_rest(&uses), Choice::Rest);
        // One more, and they are merged, however much of them is alive.
        uses.push(large(93, little, little));
        assert_eq!(choose_at_rest(&uses), Choice::Empty { segment: 1 });
    }

    /// Plays choices on numbers, with copies as wasteful as they can be: it ends, all files are
    /// shorter then, and little was copied.
    #[test]
    fn resting_ends() {
        for (record_weight, record_bytes) in [(72, 128), (73, 136), (32_840, 36_992), (1 << 20, 1_055_000)] {
            for seed in 0..200u64 {
                let mut state = seed * 2_654_435_761 + 1;
                let mut random = |below: u64| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) % below
                };
                let mut uses: Vec<SegmentUse> = (0..40)
                    .map(|number| {
                        let records = random(64 * MIB / record_bytes) + 1;
                        let live = random(records + 1);
                        large(number, records * record_bytes + 12_288, live * record_weight)
                    })
                    .collect();
                uses.push(SegmentUse { sealed: false, ..large(40, 4096, 0) });
                plays_to_the_end(&mut uses, record_weight, record_bytes);
            }
        }
    }

    fn plays_to_the_end(uses: &mut Vec<SegmentUse>, record_weight: u64, record_bytes: u64) {
        let sum = |uses: &[SegmentUse]| uses.iter().map(|one| one.filled_bytes).sum::<u64>();
        let (before, mut copied) = (sum(uses), 0);
        for _ in 0..200 {
            match choose_at_rest(uses) {
                Choice::Rest => {
                    let after = sum(uses);
                    assert!(after <= before);
                    // By weight it is half of what came back; copies of the smallest records take
                    // nearly twice their weight.
                    assert!(copied <= (before - after) * 2 + 40 * SMALL_SEGMENT_BYTES, "{copied}");
                    let live: u64 = uses.iter().map(|one| one.live_bytes).sum();
                    let small = (SMALL_SEGMENTS_MAX as u64 + 1) * SMALL_SEGMENT_BYTES;
                    assert!(after <= REST_LIVE_PARTS * live + small, "{after} for {live}");
                    return;
                }
                Choice::Close => {
                    let active = uses.last_mut().expect("there is always one");
                    active.sealed = true;
                    active.filled_bytes += 4096;
                    let segment = active.segment + 1;
                    uses.push(SegmentUse { sealed: false, ..large(segment, 4096, 0) });
                }
                Choice::Empty { segment } => {
                    let at = uses.iter().position(|one| one.segment == segment).expect("it is one of them");
                    let gone = uses.remove(at);
                    let active = uses.last_mut().expect("there is always one");
                    active.live_bytes += gone.live_bytes;
                    active.filled_bytes += gone.live_bytes / record_weight * record_bytes + 4096;
                    copied += gone.live_bytes;
                }
            }
        }
        panic!("it goes on and on");
    }
}
