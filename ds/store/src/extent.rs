//! One extent: what its journal records add up to, and which acts on it are under way.
//!
//! Pure: records go in through [`Extent::apply`], in any order, at recovery and while serving
//! alike.
//!
//! INVARIANT: `epoch`, `fence_epoch`, `cut_epoch` and `sequence` only go up, and no other epoch is
//! above `epoch`; the weights told in shifts are those of the pieces and of the records that must
//! stay for `epoch`, `fence_epoch`, `cut_epoch`, the image and the newest act; there is a base
//! exactly while bytes of it show.
//! Spec: docs/formats/journal.md §3.

use layout::{Epoch, ExtentId};
use tokio::sync::oneshot;
use wal::Location;

use crate::limits::EXTENT_BYTES;
use crate::pieces::{Piece, Pieces, RECORD_WEIGHT_BYTES, Shift, Source};
use crate::record::{Act, Kind};
use layout::ec::{IMAGE_REF_BYTES, ImageRef};

/// What an IMAGE record counts for in its segment.
const IMAGE_WEIGHT_BYTES: u64 = RECORD_WEIGHT_BYTES + IMAGE_REF_BYTES as u64;

/// The image whose bytes show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// It says the extent after the act with this number.
    pub(crate) sequence: u64,
    /// Bytes of the extent that it says.
    pub(crate) content_bytes: u32,
    /// Its record.
    pub(crate) at: Location,
    /// What that record says, once it was read.
    pub(crate) image: Option<Box<ImageRef>>,
    /// Since it came into use, or this start if that was later, it was told that something lies
    /// above it.
    pub(crate) thawed: bool,
}

/// What is known of an extent.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    /// The highest that was seen.
    pub(crate) epoch: Epoch,
    /// Requests under a lower one are refused: that of the last FENCE or DROP, or of its last
    /// beginning as a replica.
    pub(crate) fence_epoch: Epoch,
    /// The epoch with which the store was opened: READs under a lower one are refused, as it is not
    /// kept where a CUT cut.
    pub(crate) opened_epoch: Epoch,
    /// A metadata server has said since then which copies are in force.
    pub(crate) copies_told: bool,
    /// Where the CUT or DROP of `cut_epoch` cut. Only to be asked for requests below `cut_epoch`:
    /// after a restart there are none, and it may be that of a record which only says the epoch.
    pub(crate) cut_keep: u32,
    /// The highest epoch of a CUT or DROP that was carried out.
    pub(crate) cut_epoch: Epoch,
    /// Given to an act last.
    pub(crate) sequence: u64,
    /// Wall clock of the last WRITE since the store was opened.
    pub(crate) mtime_unix_ns: u64,
    /// When its bytes were changed last, by the clock's milliseconds; not before the store was
    /// opened.
    pub(crate) changed_ms: u64,
    /// It is not named as ripe before this.
    pub(crate) unripe_until_ms: u64,
    /// Another primary gave it its last act.
    pub(crate) is_replica: bool,
    /// Its bytes.
    pub(crate) pieces: Pieces,
    /// The image among them.
    pub(crate) base: Option<Base>,
    /// Records of it in the journal, dead ones too.
    pub(crate) records: u32,
    /// The newest record is a DROP.
    pub(crate) tombstone: bool,
    /// The highest epoch that a record says, and that record's segment.
    pub(crate) epoch_at: Option<(Epoch, u64)>,
    /// The highest epoch that a record fences, and that record's segment.
    pub(crate) fence_at: Option<(Epoch, u64)>,
    /// The segment of a record that says the cut epoch.
    pub(crate) cut_at: Option<u64>,
    /// An epoch that is on stable storage.
    pub(crate) epoch_synced: Epoch,
    /// A fence that is on stable storage.
    pub(crate) fence_synced: Epoch,
    /// Stamp of its youngest record that may not be on stable storage (see `sync.rs`).
    pub(crate) stamp: u64,
    newest: u64,
    /// The segment of the record with the highest sequence, if that record says no byte: nothing
    /// else would keep the sequence.
    newest_at: Option<u64>,
    /// WRITEs under way, by the generation in which they were admitted.
    pub(crate) writers: [u32; 2],
    /// The generation of WRITEs admitted now. FENCE, CUT and DROP turn it over and wait for the
    /// other one.
    pub(crate) generation: usize,
    /// A FENCE, CUT or DROP is under way.
    pub(crate) controlled: bool,
    /// Told when a generation of writers is done or `controlled` is false again.
    pub(crate) waiters: Vec<oneshot::Sender<()>>,
}

/// What has to be copied before a segment can go.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Keep {
    /// Data pieces and where they are.
    pub(crate) data: Vec<(u32, Piece)>,
    /// Records without data.
    pub(crate) acts: Vec<Act>,
    /// The IMAGE record, and where it is.
    pub(crate) image: Option<(Act, Location)>,
}

/// What an extent lost with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nothing that matters.
    Nothing,
    /// It was a tombstone and came back to life at the last moment: its cut epoch must be written
    /// again.
    CutEpoch,
    /// It was a tombstone, and can be forgotten.
    Everything,
}

impl Extent {
    /// Takes in a record that lies at `at`.
    pub(crate) fn apply(&mut self, act: &Act, at: Location, shifts: &mut Vec<Shift>) {
        let segment = at.segment;
        self.records += 1;
        self.epoch = self.epoch.max(act.epoch);
        if self.newest <= act.sequence {
            self.newest = act.sequence;
            self.tombstone = act.kind == Kind::Drop;
            let bare = act.says_nothing() && act.sequence != 0;
            self.move_newest(bare.then_some(segment), shifts);
        }
        self.sequence = self.sequence.max(act.sequence);
        if self.epoch_at.is_none_or(|(known, _)| known <= act.epoch) {
            self.move_epoch(act.epoch, segment, shifts);
        }
        if act.fences() {
            self.fence_epoch = self.fence_epoch.max(act.epoch);
            if self.fence_at.is_none_or(|(known, _)| known <= act.epoch) {
                self.move_fence(Some((act.epoch, segment)), shifts);
            }
        }
        if matches!(act.kind, Kind::Cut | Kind::Drop) && self.cut_epoch <= act.epoch {
            if self.cut_epoch < act.epoch {
                self.cut_keep = act.offset;
            }
            self.cut_epoch = act.epoch;
            self.move_cut(segment, shifts);
        }
        self.check_numbers();
        if act.says_nothing() {
            return;
        }
        let piece = |length, source| Piece { length, sequence: act.sequence, segment, source };
        match act.kind {
            Kind::Fence | Kind::Epoch => {}
            Kind::Write => {
                self.pieces.overlay(act.offset, piece(act.length, Source::Data { at, skip: 0 }), shifts);
            }
            Kind::Cut | Kind::Drop => {
                self.pieces.overlay(act.offset, piece(act.length, Source::Hole), shifts)
            }
            // A copy: the one before may have gone bad.
            Kind::Image if let Some(before) = self.place_of_copied(act, at) => {
                self.relocate_image(act, before, at, shifts);
                if let Some(base) = &mut self.base {
                    base.image = None;
                }
            }
            Kind::Image => {
                self.pieces.overlay(0, piece(act.offset, Source::Image), shifts);
                if 0 < act.length {
                    self.pieces.overlay(act.offset, piece(act.length, Source::Hole), shifts);
                }
                if self.base.as_ref().is_none_or(|base| base.sequence < act.sequence) {
                    let (sequence, content_bytes) = (act.sequence, act.offset);
                    let base = Base { sequence, content_bytes, at, image: None, thawed: false };
                    self.move_base(Some(base), shifts);
                }
            }
        }
        if self.pieces.image_bytes() == 0 {
            self.move_base(None, shifts);
        }
        assert_eq!(self.base.is_some(), 0 < self.pieces.image_bytes(), "a base shows");
    }

    fn check_numbers(&self) {
        assert!(self.fence_epoch <= self.epoch, "no fence is above the epoch");
        assert!(self.cut_epoch <= self.epoch, "no cut is above the epoch");
        assert!(self.newest <= self.sequence, "no record has a sequence that was not given");
        assert!(self.epoch_at.is_some_and(|(epoch, _)| epoch <= self.epoch), "it is said");
    }

    /// What must be copied out of `segment`; `None` if the extent can be forgotten with it, of
    /// whose records `records` are in it.
    pub(crate) fn keep(&self, extent: ExtentId, segment: u64, records: u32) -> Option<Keep> {
        if self.tombstone && self.is_idle() && self.records == records {
            return None;
        }
        let (mut data, mut holes) = (Vec::new(), Vec::new());
        let base = self.base.as_ref().filter(|base| base.at.segment == segment);
        for (offset, piece) in self.pieces.of_segment(segment) {
            match piece.source {
                Source::Data { .. } => data.push((offset, piece)),
                // A copy of the IMAGE says the hole behind it as well.
                Source::Hole if base.is_some_and(|base| base.sequence == piece.sequence) => {}
                Source::Hole => holes.push((offset, piece)),
                Source::Image => {}
            }
        }
        let mut acts: Vec<Act> = Vec::new();
        for (offset, hole) in holes {
            let length = EXTENT_BYTES - offset;
            // Holes come in order, and what a CUT says is said from its lowest hole on.
            if acts.iter().all(|act| act.sequence != hole.sequence) {
                let drop = self.tombstone && hole.sequence == self.newest && offset == 0;
                let kind = if drop { Kind::Drop } else { Kind::Cut };
                let (epoch, sequence) = (self.cut_epoch, hole.sequence);
                acts.push(Act { kind, extent, epoch, sequence, offset, length });
            }
        }
        if self.cut_at == Some(segment) && acts.is_empty() {
            acts.push(self.cut_mark(extent));
        }
        self.keep_epochs(extent, segment, &mut acts);
        let image = base.map(|base| (self.image_act(extent, base), base.at));
        Some(Keep { data, acts, image })
    }

    /// What only a record in `segment` says of the extent's epoch, its fence and its sequence, if
    /// the acts do not say it.
    fn keep_epochs(&self, extent: ExtentId, segment: u64, acts: &mut Vec<Act>) {
        let act = |kind, epoch, sequence| Act { kind, extent, epoch, sequence, offset: 0, length: 0 };
        let said = |fence: Epoch| acts.iter().any(|act| act.fences() && fence <= act.epoch);
        let fence =
            self.fence_at.filter(|(fence, at)| *at == segment && !said(*fence)).map(|(fence, _)| fence);
        if self.epoch_at.is_some_and(|(_, at)| at == segment) || self.newest_at == Some(segment) {
            // A tombstone's DROP must stay its newest record.
            let sequence = if self.tombstone { 0 } else { self.newest };
            let is_fence = fence == Some(self.epoch);
            acts.push(act(if is_fence { Kind::Fence } else { Kind::Epoch }, self.epoch, sequence));
            if is_fence {
                return;
            }
        }
        acts.extend(fence.map(|fence| act(Kind::Fence, fence, 0)));
    }

    fn image_act(&self, extent: ExtentId, base: &Base) -> Act {
        let (epoch, sequence, offset) = (self.epoch, base.sequence, base.content_bytes);
        Act { kind: Kind::Image, extent, epoch, sequence, offset, length: EXTENT_BYTES - offset }
    }

    /// Takes in a copy, made by compaction, of something that was in segment `from`.
    pub(crate) fn relocate(&mut self, act: &Act, from: u64, at: Location, shifts: &mut Vec<Shift>) {
        self.records += 1;
        let segment = at.segment;
        if self.epoch_at.is_some_and(|(known, old)| old == from && known <= act.epoch) {
            self.move_epoch(act.epoch, segment, shifts);
        }
        if act.fences() && self.fence_at.is_some_and(|(known, old)| old == from && known <= act.epoch) {
            self.move_fence(Some((act.epoch, segment)), shifts);
        }
        let cuts = matches!(act.kind, Kind::Cut | Kind::Drop);
        if cuts && self.cut_at == Some(from) && self.cut_epoch == act.epoch {
            self.move_cut(segment, shifts);
        }
        if act.says_nothing() {
            if self.newest_at == Some(from) && self.newest == act.sequence {
                self.move_newest(Some(segment), shifts);
            }
            return;
        }
        let copy = |length, source| Piece { length, sequence: act.sequence, segment, source };
        match act.kind {
            Kind::Fence | Kind::Epoch => {}
            Kind::Write => {
                let piece = copy(act.length, Source::Data { at, skip: 0 });
                self.pieces.relocate(act.offset, from, piece, shifts);
            }
            Kind::Cut | Kind::Drop => {
                self.pieces.relocate(act.offset, from, copy(act.length, Source::Hole), shifts);
            }
            Kind::Image => self.relocate_image(act, from, at, shifts),
        }
    }

    /// The segment of an earlier record of the same image.
    fn place_of_copied(&self, act: &Act, at: Location) -> Option<u64> {
        let before = self.base.as_ref().filter(|base| base.sequence == act.sequence)?;
        let is_before = (before.at.segment, before.at.offset) < (at.segment, at.offset);
        (is_before && before.content_bytes == act.offset).then_some(before.at.segment)
    }

    fn relocate_image(&mut self, act: &Act, from: u64, at: Location, shifts: &mut Vec<Shift>) {
        let copy = |length, source| Piece { length, sequence: act.sequence, segment: at.segment, source };
        self.pieces.relocate(0, from, copy(act.offset, Source::Image), shifts);
        if 0 < act.length {
            self.pieces.relocate(act.offset, from, copy(act.length, Source::Hole), shifts);
        }
        let moved = |base: &Base| base.sequence == act.sequence && base.at.segment == from;
        if let Some(base) = self.base.clone().filter(moved) {
            self.move_base(Some(Base { at, ..base }), shifts);
        }
    }

    /// A segment with `records` of its records is gone; what it alone said had been copied, unless
    /// the extent was about to be forgotten.
    pub(crate) fn lose_segment(&mut self, segment: u64, records: u32, shifts: &mut Vec<Shift>) -> Lost {
        self.records = self.records.checked_sub(records).expect("records are counted as they are written");
        self.pieces.forget_holes(segment, shifts);
        if self.fence_at.is_some_and(|(_, at)| at == segment) {
            self.move_fence(None, shifts);
        }
        if self.epoch_at.is_some_and(|(_, at)| at == segment) {
            let fence = self.fence_alone_at();
            self.epoch_at = None;
            shifts.push((segment, -signed(RECORD_WEIGHT_BYTES)));
            self.shift_fence(fence, shifts);
        }
        if self.newest_at == Some(segment) {
            self.move_newest(None, shifts);
        }
        assert!(self.base.as_ref().is_none_or(|base| base.at.segment != segment), "its image was copied");
        let cut_lost = self.cut_at == Some(segment);
        if cut_lost {
            self.cut_at = None;
            shifts.push((segment, -signed(RECORD_WEIGHT_BYTES)));
        }
        debug_assert!(self.kept_at().all(|kept| kept != segment), "no number is lost");
        debug_assert!(self.pieces.of_segment(segment).is_empty(), "no byte is lost");
        match (self.tombstone && self.is_idle() && self.records == 0, cut_lost) {
            (true, _) => Lost::Everything,
            (false, true) => Lost::CutEpoch,
            (false, false) => Lost::Nothing,
        }
    }

    /// What has to be said again when the records that said it are lost: the cut epoch, and a fence
    /// above it.
    pub(crate) fn lost_marks(&self, extent: ExtentId) -> Vec<Act> {
        let epoch = self.fence_epoch;
        let fence = Act { kind: Kind::Fence, extent, epoch, sequence: 0, offset: 0, length: 0 };
        let is_above = self.cut_epoch < epoch;
        [self.cut_mark(extent)].into_iter().chain(is_above.then_some(fence)).collect()
    }

    /// A record that says the cut epoch and nothing else. It fences, as what is not known to be no
    /// fence.
    pub(crate) fn cut_mark(&self, extent: ExtentId) -> Act {
        let (epoch, offset) = (self.cut_epoch, EXTENT_BYTES);
        Act { kind: Kind::Cut, extent, epoch, sequence: 0, offset, length: 0 }
    }

    /// No act on it is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.writers == [0, 0] && !self.controlled
    }

    /// The segments of records that must stay for one number that they say, each as often as there
    /// are such.
    fn kept_at(&self) -> impl Iterator<Item = u64> {
        let epoch = self.epoch_at.map(|(_, segment)| segment);
        [epoch, self.fence_alone_at(), self.cut_at, self.newest_at].into_iter().flatten()
    }

    /// Forgets the weights of the extent, which is about to be forgotten itself.
    pub(crate) fn release(&self, shifts: &mut Vec<Shift>) {
        shifts.extend(self.pieces.iter().map(|(_, piece)| (piece.segment, -signed(piece.weight()))));
        assert!(self.base.is_none(), "a tombstone has no bytes");
        shifts.extend(self.kept_at().map(|segment| (segment, -signed(RECORD_WEIGHT_BYTES))));
    }

    /// What its records count for, by segment.
    #[cfg(test)]
    pub(crate) fn weights(&self) -> std::collections::BTreeMap<u64, i64> {
        let (mut sums, one) = (std::collections::BTreeMap::<u64, i64>::new(), signed(RECORD_WEIGHT_BYTES));
        let pieces = self.pieces.iter().map(|(_, piece)| (piece.segment, signed(piece.weight())));
        let base = self.base.iter().map(|base| (base.at.segment, signed(IMAGE_WEIGHT_BYTES)));
        for (segment, weight) in pieces.chain(self.kept_at().map(|segment| (segment, one))).chain(base) {
            *sums.entry(segment).or_default() += weight;
        }
        sums.retain(|_, sum| *sum != 0);
        sums
    }

    /// Wakes those who wait for the extent to be idle.
    pub(crate) fn wake(&mut self) {
        self.waiters.drain(..).for_each(|waiter| {
            // A waiter that has gone needs no waking.
            let _ = waiter.send(());
        });
    }

    fn move_epoch(&mut self, epoch: Epoch, segment: u64, shifts: &mut Vec<Shift>) {
        let fence = self.fence_alone_at();
        if let Some((_, old)) = self.epoch_at.replace((epoch, segment)) {
            shifts.push((old, -signed(RECORD_WEIGHT_BYTES)));
        }
        shifts.push((segment, signed(RECORD_WEIGHT_BYTES)));
        self.shift_fence(fence, shifts);
    }

    fn move_fence(&mut self, at: Option<(Epoch, u64)>, shifts: &mut Vec<Shift>) {
        let before = self.fence_alone_at();
        self.fence_at = at;
        self.shift_fence(before, shifts);
    }

    /// The segment of the record that says the fence, unless the one that says the epoch can say
    /// both.
    fn fence_alone_at(&self) -> Option<u64> {
        self.fence_at.filter(|at| self.epoch_at != Some(*at)).map(|(_, segment)| segment)
    }

    fn shift_fence(&self, before: Option<u64>, shifts: &mut Vec<Shift>) {
        let after = self.fence_alone_at();
        if before != after {
            shifts.extend(before.map(|segment| (segment, -signed(RECORD_WEIGHT_BYTES))));
            shifts.extend(after.map(|segment| (segment, signed(RECORD_WEIGHT_BYTES))));
        }
    }

    fn move_base(&mut self, base: Option<Base>, shifts: &mut Vec<Shift>) {
        if let Some(old) = &self.base {
            shifts.push((old.at.segment, -signed(IMAGE_WEIGHT_BYTES)));
        }
        if let Some(new) = &base {
            shifts.push((new.at.segment, signed(IMAGE_WEIGHT_BYTES)));
        }
        self.base = base;
    }

    fn move_newest(&mut self, segment: Option<u64>, shifts: &mut Vec<Shift>) {
        shifts.extend(self.newest_at.map(|old| (old, -signed(RECORD_WEIGHT_BYTES))));
        shifts.extend(segment.map(|new| (new, signed(RECORD_WEIGHT_BYTES))));
        self.newest_at = segment;
    }

    /// The highest sequence of a record, if that record says no byte: only its sequence tells that
    /// it was there.
    pub(crate) fn bare_newest(&self) -> Option<u64> {
        self.newest_at.map(|_| self.newest)
    }

    fn move_cut(&mut self, segment: u64, shifts: &mut Vec<Shift>) {
        if let Some(old) = self.cut_at.replace(segment) {
            shifts.push((old, -signed(RECORD_WEIGHT_BYTES)));
        }
        shifts.push((segment, signed(RECORD_WEIGHT_BYTES)));
    }
}

fn signed(weight: u64) -> i64 {
    i64::try_from(weight).expect("a record weighs at most an extent")
}

#[cfg(test)]
mod tests;
