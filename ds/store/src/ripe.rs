//! Which extents have rested long enough to be sealed: a look at all of them, and a decision over
//! numbers.
//!
//! Knows nothing of primaries, nor of sets: the caller defers an extent that is not ours to seal.
//!
//! Spec: docs/protocol/seal.md §1.

use std::collections::BinaryHeap;

use layout::ExtentId;

use crate::extent::Extent;
use crate::limits::{
    EXTENT_BYTES, RESEAL_PARTS, RIPE_FULL_MS, RIPE_MAX, RIPE_REPLICA_RESTS, RIPE_RESEAL_RESTS,
};
use crate::store::Store;

/// An extent that may be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ripe {
    /// When its bytes were changed last, in milliseconds of the clock that never goes back; not
    /// before the store was opened.
    pub changed_ms: u64,
    /// Which one.
    pub extent: ExtentId,
    /// Bytes of it in the journal that can still be read.
    pub journal_bytes: u32,
    /// One past its last byte.
    pub end_bytes: u32,
    /// Bytes of its image's content that were written over or cut, and bytes behind that content; 0
    /// without an image.
    pub above_bytes: u32,
    /// Content of its image; 0 without one.
    pub image_bytes: u32,
}

impl Store {
    /// The extents that should be sealed, those that rest longest first, at most `max` of them.
    /// Without an image: all that have data in the journal and rest for `idle_ms`, or for a second
    /// if they are full. With one: if what lies above it is more than a quarter of its content, or
    /// has rested ten times as long. What another primary gave us rests ten times as long, too: by
    /// then we may be its primary.
    ///
    /// # Units
    /// `now_ms` is of the clock that never goes back.
    #[must_use]
    pub fn ripe(&self, now_ms: u64, idle_ms: u64, max: usize) -> Vec<Ripe> {
        let max = max.min(RIPE_MAX);
        // Of those kept the one that was changed last is on top, and goes first.
        let mut best: BinaryHeap<Ripe> = BinaryHeap::with_capacity(max + 1);
        self.inner.index.for_each(|extent, known| {
            let full = best.len() == max;
            if full && best.peek().is_none_or(|worst| worst.changed_ms <= known.changed_ms) {
                return;
            }
            if let Some(ripe) = Ripe::of(extent, known).filter(|ripe| ripe.is_ripe(known, now_ms, idle_ms)) {
                best.push(ripe);
                if max < best.len() {
                    best.pop();
                }
            }
        });
        assert!(best.len() <= max, "no more extents than were asked for");
        best.into_sorted_vec()
    }

    /// Does not name this extent as ripe before `until_ms`: it is another server's to seal, or
    /// could not be sealed now.
    ///
    /// # Units
    /// `until_ms` is of the clock that never goes back.
    pub fn defer_sealing(&self, extent: ExtentId, until_ms: u64) {
        if let Some(known) = self.inner.index.shard(extent).get_mut(&extent) {
            known.unripe_until_ms = until_ms;
        }
    }
}

impl Ripe {
    /// What there is to seal, if anything.
    fn of(extent: ExtentId, known: &Extent) -> Option<Self> {
        let pieces = &known.pieces;
        let (journal_bytes, changed_ms) = (pieces.data_bytes(), known.changed_ms);
        let image_bytes = known.base.as_ref().map_or(0, |base| base.content_bytes);
        // A quick way out for what rests in its image untouched, or holds nothing.
        if journal_bytes == 0 && pieces.image_bytes() == image_bytes {
            return None;
        }
        assert!(pieces.image_bytes() <= image_bytes, "no more of an image shows than it has");
        let end_bytes = pieces.end();
        let gone = image_bytes - pieces.image_bytes();
        let behind = if image_bytes == 0 { 0 } else { end_bytes.saturating_sub(image_bytes) };
        let above_bytes = gone + behind;
        Some(Self { changed_ms, extent, journal_bytes, end_bytes, above_bytes, image_bytes })
    }

    fn is_ripe(&self, known: &Extent, now_ms: u64, idle_ms: u64) -> bool {
        if now_ms < known.unripe_until_ms {
            return false;
        }
        let idle_ms = if known.is_replica { idle_ms.saturating_mul(RIPE_REPLICA_RESTS) } else { idle_ms };
        let rests = |ms: u64| ms <= now_ms.saturating_sub(self.changed_ms);
        if self.image_bytes == 0 {
            let full = self.journal_bytes == EXTENT_BYTES && !known.is_replica;
            return rests(if full { idle_ms.min(RIPE_FULL_MS) } else { idle_ms });
        }
        let much = self.image_bytes / RESEAL_PARTS < self.above_bytes;
        let long = 0 < self.journal_bytes && rests(idle_ms.saturating_mul(RIPE_RESEAL_RESTS));
        long || (much && rests(idle_ms))
    }
}
