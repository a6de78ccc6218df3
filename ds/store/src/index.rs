//! All extents of a store, behind locks that are held for a look or a change, never across an
//! await.
//!
//! Lock order: a shard, then the segments. Weights are shifted while the shard is still locked, so
//! that they arrive in the order in which the pieces changed.
//!
//! INVARIANT: `Segments` carries the weights of exactly the pieces that are in the shards.

use std::collections::HashMap;

use layout::{Epoch, ExtentId};
use parking_lot::{Mutex, MutexGuard, RwLock};
use wal::Location;

use crate::extent::{Extent, Lost};
use crate::forgotten::Forgotten;
use crate::limits::SHARDS;
use crate::pieces::Shift;
use crate::record::Act;
use crate::segments::Segments;

/// The extents of one shard.
pub(crate) type Shard = HashMap<ExtentId, Extent>;

/// All extents.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<Mutex<Shard>>,
    segments: Mutex<Segments>,
    forgotten: RwLock<Forgotten>,
}

impl Index {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, segments: Mutex::default(), forgotten: RwLock::default() }
    }

    /// The shard of an extent, locked.
    pub(crate) fn shard(&self, extent: ExtentId) -> MutexGuard<'_, Shard> {
        // Fibonacci hashing: neighbours in a file and neighbours in a directory spread over the
        // shards.
        let mixed = (extent.ino.wrapping_mul(31).wrapping_add(u64::from(extent.index)))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let shards = u64::try_from(SHARDS).expect("a small constant");
        let at = usize::try_from((mixed >> 32) % shards).expect("below SHARDS");
        self.shards[at].lock()
    }

    /// The least epoch of a handle that may be served of an extent that was forgotten, whether it
    /// came back since or not; 0 of others. To be asked behind a shard, or alone.
    pub(crate) fn forgotten_epoch(&self, extent: ExtentId) -> Epoch {
        self.forgotten.read().fence_epoch(extent)
    }

    /// The segments, locked. Only to be taken behind a shard, or alone.
    pub(crate) fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock()
    }

    /// Takes in a record. `known` is the extent, in its locked shard.
    pub(crate) fn apply(&self, known: &mut Extent, act: &Act, at: Location) {
        let mut shifts = Vec::new();
        known.apply(act, at, &mut shifts);
        self.account(act, at, &shifts);
    }

    /// Takes in a copy of something that was in segment `from`.
    pub(crate) fn relocate(&self, act: &Act, from: u64, at: Location) {
        let mut shard = self.shard(act.extent);
        // Compaction is the only one that forgets extents, and it is the one that calls.
        let known = shard.get_mut(&act.extent).expect("an extent with live pieces is known");
        let mut shifts = Vec::new();
        known.relocate(act, from, at, &mut shifts);
        self.account(act, at, &shifts);
    }

    /// A segment is gone for good: takes back its records, and forgets the extents that had no
    /// others. Returns the records that must be written again.
    pub(crate) fn remove_segment(&self, segment: u64) -> Vec<Act> {
        let extents = self.segments().extents(segment);
        let mut again = Vec::new();
        for (extent, records) in extents {
            let mut shard = self.shard(extent);
            let Some(known) = shard.get_mut(&extent) else { continue };
            let mut shifts: Vec<Shift> = Vec::new();
            match known.lose_segment(segment, records, &mut shifts) {
                Lost::Nothing => {}
                Lost::CutEpoch => again.extend(known.lost_marks(extent)),
                Lost::Everything => {
                    known.release(&mut shifts);
                    let fence_epoch = known.fence_epoch;
                    shard.remove(&extent);
                    self.forgotten.write().note(extent, fence_epoch);
                }
            }
            self.segments().shift(&shifts);
        }
        self.segments().remove(segment);
        again
    }

    /// Looks at every extent, one shard after the other.
    pub(crate) fn for_each(&self, mut look: impl FnMut(ExtentId, &Extent)) {
        for shard in &self.shards {
            shard.lock().iter().for_each(|(extent, known)| look(*extent, known));
        }
    }

    /// Extents that are known.
    pub(crate) fn extents(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().len() as u64).sum()
    }

    /// Every extent's end, epoch and bytes held: what a test compares before and after a restart.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> std::collections::BTreeMap<ExtentId, (u32, u32, u64, u64, bool)> {
        let mut all = std::collections::BTreeMap::new();
        for shard in &self.shards {
            for (extent, known) in shard.lock().iter() {
                let (end, held) = (known.pieces.end(), known.pieces.held());
                all.insert(*extent, (end, held, known.epoch.0, known.cut_epoch.0, known.tombstone));
            }
        }
        all
    }

    /// The segments carry the weights of what is in the shards, and count their records.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut sums = std::collections::BTreeMap::<u64, i64>::new();
        let mut records = 0;
        self.for_each(|_, known| {
            known
                .weights()
                .into_iter()
                .for_each(|(segment, weight)| *sums.entry(segment).or_default() += weight);
            records += known.records;
        });
        let segments = self.segments();
        assert_eq!(u64::try_from(sums.values().sum::<i64>()).unwrap(), segments.live_bytes());
        for (segment, sum) in sums {
            assert_eq!(u64::try_from(sum).unwrap(), segments.of(segment).0, "segment {segment}");
        }
        assert_eq!(segments.records(), records);
    }

    fn account(&self, act: &Act, at: Location, shifts: &[Shift]) {
        let mut segments = self.segments();
        segments.record(at.segment, act.extent);
        segments.shift(shifts);
    }
}
