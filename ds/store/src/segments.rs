//! What each segment of the journal holds that is still needed, and whose records are in it.
//!
//! INVARIANT: a segment's weight is the sum of the weights of what lives in it, and never below
//! zero.

use std::collections::{BTreeMap, HashMap};

use layout::ExtentId;

use crate::pieces::Shift;

/// One segment.
#[derive(Debug, Default)]
struct Segment {
    live_bytes: i64,
    records: HashMap<ExtentId, u32>,
    stuck: bool,
    bad: bool,
}

/// All segments that hold a record of ours.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_number: BTreeMap<u64, Segment>,
    live_bytes: i64,
}

impl Segments {
    /// Takes note of a record of `extent` in `segment`.
    pub(crate) fn record(&mut self, segment: u64, extent: ExtentId) {
        *self.by_number.entry(segment).or_default().records.entry(extent).or_default() += 1;
    }

    /// Moves weights.
    pub(crate) fn shift(&mut self, shifts: &[Shift]) {
        for &(segment, by) in shifts {
            self.live_bytes += by;
            if let Some(known) = self.by_number.get_mut(&segment) {
                known.live_bytes += by;
            }
        }
        // Single shifts may pass below zero on the way; their sum may not.
        assert!(0 <= self.live_bytes, "weights are those of pieces that are there");
        let is_sound = |segment: &u64| self.by_number.get(segment).is_none_or(|one| 0 <= one.live_bytes);
        debug_assert!(shifts.iter().all(|(segment, _)| is_sound(segment)), "nor may a segment's");
    }

    /// Weight of everything.
    pub(crate) fn live_bytes(&self) -> u64 {
        u64::try_from(self.live_bytes).expect("asserted when it was changed")
    }

    /// Weight and stuckness of one segment.
    pub(crate) fn of(&self, segment: u64) -> (u64, bool) {
        let known = self.by_number.get(&segment);
        known.map_or((0, false), |one| (u64::try_from(one.live_bytes).unwrap_or(0), one.stuck))
    }

    /// Whose records are in a segment, and how many of each.
    pub(crate) fn extents(&self, segment: u64) -> Vec<(ExtentId, u32)> {
        let known = self.by_number.get(&segment);
        known.map_or_else(Vec::new, |one| {
            one.records.iter().map(|(extent, count)| (*extent, *count)).collect()
        })
    }

    /// Records in all segments.
    #[cfg(test)]
    pub(crate) fn records(&self) -> u32 {
        self.by_number.values().flat_map(|one| one.records.values()).sum()
    }

    /// The segment cannot be emptied.
    pub(crate) fn stick(&mut self, segment: u64) {
        self.by_number.entry(segment).or_default().stuck = true;
    }

    /// What could not be read in the segment is elsewhere now: it can be emptied, and should be.
    pub(crate) fn relieve(&mut self, segment: u64) {
        if let Some(known) = self.by_number.get_mut(&segment) {
            (known.stuck, known.bad) = (false, true);
        }
    }

    /// Whether there was something in the segment that could not be read, and is elsewhere now.
    pub(crate) fn is_bad(&self, segment: u64) -> bool {
        self.by_number.get(&segment).is_some_and(|known| known.bad)
    }

    /// The segment is gone.
    pub(crate) fn remove(&mut self, segment: u64) -> Vec<(ExtentId, u32)> {
        let Some(gone) = self.by_number.remove(&segment) else { return Vec::new() };
        assert!(gone.live_bytes == 0, "what lived in it was copied");
        gone.records.into_iter().collect()
    }
}
