//! Which journal record says each byte of one extent: an interval map with sequences.
//!
//! Records may be laid over in any order: at each byte the highest sequence wins, and of copies the
//! last one. So replaying a journal whose records were moved about by compaction gives the same map
//! as writing it did.
//!
//! An image covers the whole extent, so only the youngest one can show; which one that is, the
//! extent knows.
//!
//! INVARIANT: pieces do not overlap, none is empty, all lie within the extent; `data_bytes` and
//! `image_bytes` are the sums of the pieces of either sort; all pieces of an image have one
//! sequence and one segment.
//! Spec: docs/formats/journal.md §3.

use std::collections::BTreeMap;

use layout::reserve::Purpose;
use wal::Location;

use crate::limits::{EXTENT_BYTES, IMAGE_READ_BYTES_MAX};

/// What a record costs beside its data: its header, and its share of padding.
pub(crate) const RECORD_WEIGHT_BYTES: u64 = 72;

/// Where the bytes of a piece come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Forgotten: they read as zero.
    Hole,
    /// In a record's data, behind `skip` bytes.
    Data { at: Location, skip: u32 },
    /// In the extent's image, at the same offset.
    Image,
}

/// A run of bytes that one record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) length: u32,
    pub(crate) sequence: u64,
    /// The segment that must stay for this piece to stay.
    pub(crate) segment: u64,
    pub(crate) source: Source,
}

impl Piece {
    /// The part of the piece from `from` on, `length` bytes long.
    fn part(&self, from: u32, length: u32) -> Self {
        assert!(0 < length && from + length <= self.length, "a part lies within its piece");
        let source = match self.source {
            Source::Hole | Source::Image => self.source,
            Source::Data { at, skip } => Source::Data { at, skip: skip + from },
        };
        Self { length, source, ..*self }
    }

    /// Whether it shows where both are. Of two copies of the same bytes the later one may have been
    /// made because the other went bad.
    fn hides(&self, old: &Self) -> bool {
        match (self.source, old.source) {
            (Source::Data { at, .. }, Source::Data { at: before, .. }) if self.sequence == old.sequence => {
                (before.segment, before.offset) < (at.segment, at.offset)
            }
            _ => old.sequence < self.sequence,
        }
    }

    /// What it counts for in its segment: what a copy of it would take.
    pub(crate) fn weight(&self) -> u64 {
        match self.source {
            Source::Hole => RECORD_WEIGHT_BYTES,
            Source::Data { .. } => RECORD_WEIGHT_BYTES + u64::from(self.length),
            // One record says all of them: the extent counts it.
            Source::Image => 0,
        }
    }
}

/// How the weight of a segment changed.
pub(crate) type Shift = (u64, i64);

/// One step of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Zeros.
    Zeros(u32),
    /// Bytes of a record.
    Data { at: Location, segment: u64, skip: u32, length: u32 },
    /// Bytes of the extent's image.
    Image { offset: u32, length: u32 },
}

impl Step {
    /// Bytes that the step reads.
    fn length(&self) -> u32 {
        match self {
            Self::Zeros(length) | Self::Data { length, .. } | Self::Image { length, .. } => *length,
        }
    }
}

/// The map.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Pieces {
    map: BTreeMap<u32, Piece>,
    data_bytes: u32,
    image_bytes: u32,
}

impl Pieces {
    /// Lays `piece` over the map at `offset`: it shows wherever nothing of the same or a higher
    /// sequence is, and in the place of an earlier copy of its bytes. Tells how the segments'
    /// weights changed.
    pub(crate) fn overlay(&mut self, offset: u32, piece: Piece, shifts: &mut Vec<Shift>) {
        assert!(0 < piece.length, "a piece has bytes");
        let end = offset + piece.length;
        assert!(end <= EXTENT_BYTES, "a piece lies within the extent");
        let mut cursor = offset;
        for (at, old) in self.overlapping(offset, end) {
            let (low, high) = (at.max(offset), (at + old.length).min(end));
            if !piece.hides(&old) {
                if cursor < low {
                    self.insert(cursor, piece.part(cursor - offset, low - cursor), shifts);
                }
                cursor = high;
                continue;
            }
            self.remove(at, shifts);
            if at < offset {
                self.insert(at, old.part(0, offset - at), shifts);
            }
            if end < at + old.length {
                self.insert(end, old.part(end - at, at + old.length - end), shifts);
            }
        }
        assert!(cursor <= end, "a record shows in no byte beyond its own");
        if cursor < end {
            self.insert(cursor, piece.part(cursor - offset, end - cursor), shifts);
        }
    }

    /// Points what still shows of a moved record at its copy. `copy` covers the bytes from `offset`
    /// on.
    pub(crate) fn relocate(&mut self, offset: u32, from: u64, copy: Piece, shifts: &mut Vec<Shift>) {
        let end = offset + copy.length;
        assert!(end <= EXTENT_BYTES, "a copy lies within the extent");
        for (at, old) in self.overlapping(offset, end) {
            let inside = offset <= at && at + old.length <= end;
            if inside && old.sequence == copy.sequence && old.segment == from {
                self.remove(at, shifts);
                self.insert(at, copy.part(at - offset, old.length), shifts);
            }
        }
    }

    /// The steps that read `length` bytes from `offset` on, at most `steps_max` of them; fewer
    /// bytes if that is not enough, and none for no bytes.
    pub(crate) fn read(&self, offset: u32, length: u32, steps_max: usize) -> Vec<Step> {
        let is_within = offset.checked_add(length).is_some_and(|end| end <= EXTENT_BYTES);
        assert!(is_within, "the caller has checked the range");
        if length == 0 {
            // Of no bytes there is no part, also where a piece lies around them.
            return Vec::new();
        }
        let end = offset + length;
        let (mut steps, mut cursor) = (Vec::new(), offset);
        for (at, piece) in self.within(offset, end) {
            let (low, high) = (at.max(offset), (at + piece.length).min(end));
            push_zeros(&mut steps, low - cursor);
            let part = piece.part(low - at, high - low);
            match part.source {
                Source::Hole => push_zeros(&mut steps, part.length),
                Source::Data { at, skip } => {
                    steps.push(Step::Data { at, segment: part.segment, skip, length: part.length });
                }
                Source::Image => push_image(&mut steps, low, part.length),
            }
            cursor = high;
            if steps_max <= steps.len() {
                return steps;
            }
        }
        push_zeros(&mut steps, end - cursor);
        debug_assert_eq!(steps.iter().map(Step::length).sum::<u32>(), length, "all of the range");
        steps
    }

    /// What a WRITE of these bytes takes room for.
    pub(crate) fn purpose(&self, offset: u32, length: u32) -> Purpose {
        self.read(offset, length, usize::MAX).iter().fold(Purpose::Neutral, |purpose, step| match step {
            Step::Zeros(_) => Purpose::New,
            Step::Image { .. } if purpose == Purpose::Neutral => Purpose::OverImage,
            Step::Image { .. } | Step::Data { .. } => purpose,
        })
    }

    /// One past the last byte that is not in a hole.
    pub(crate) fn end(&self) -> u32 {
        let held = |piece: &Piece| piece.source != Source::Hole;
        let last = self.map.iter().rev().find(|(_, piece)| held(piece));
        let end = last.map_or(0, |(at, piece)| at + piece.length);
        assert!(self.held() <= end, "all bytes that are held lie before the end");
        end
    }

    /// Bytes that are in no hole.
    pub(crate) fn held(&self) -> u32 {
        let held = self.data_bytes + self.image_bytes;
        assert!(held <= EXTENT_BYTES, "pieces do not overlap, and lie within the extent");
        held
    }

    /// Bytes in the data of records.
    pub(crate) fn data_bytes(&self) -> u32 {
        self.data_bytes
    }

    /// Bytes that the image says.
    pub(crate) fn image_bytes(&self) -> u32 {
        self.image_bytes
    }

    /// Whether an image of the first `content` bytes would show anywhere, or hide something, at
    /// this sequence.
    pub(crate) fn would_change(&self, sequence: u64, content: u32) -> bool {
        let mut cursor = 0;
        for (at, piece) in &self.map {
            let older = piece.sequence < sequence && (*at < content || piece.source != Source::Hole);
            if older || (cursor < *at && cursor < content) {
                return true;
            }
            cursor = at + piece.length;
        }
        cursor < content
    }

    /// The pieces that live in `segment`.
    pub(crate) fn of_segment(&self, segment: u64) -> Vec<(u32, Piece)> {
        self.iter().filter(|(_, piece)| piece.segment == segment).collect()
    }

    /// Forgets the holes whose segment is gone; there is nothing left that they hide.
    pub(crate) fn forget_holes(&mut self, segment: u64, shifts: &mut Vec<Shift>) {
        for (at, piece) in self.of_segment(segment) {
            assert!(piece.source == Source::Hole, "data were copied before their segment went");
            self.remove(at, shifts);
        }
    }

    /// All pieces in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Piece)> + '_ {
        self.map.iter().map(|(at, piece)| (*at, *piece))
    }

    fn within(&self, offset: u32, end: u32) -> impl Iterator<Item = (u32, &Piece)> + '_ {
        let before = self.map.range(..offset).next_back().filter(|(at, piece)| offset < *at + piece.length);
        before.into_iter().chain(self.map.range(offset..end)).map(|(at, piece)| (*at, piece))
    }

    fn overlapping(&self, offset: u32, end: u32) -> Vec<(u32, Piece)> {
        self.within(offset, end).map(|(at, piece)| (at, *piece)).collect()
    }

    fn insert(&mut self, at: u32, piece: Piece, shifts: &mut Vec<Shift>) {
        debug_assert!(self.within(at, at + piece.length).next().is_none(), "pieces do not overlap");
        shifts.push((piece.segment, signed(piece.weight())));
        match piece.source {
            Source::Hole => {}
            Source::Data { .. } => self.data_bytes += piece.length,
            Source::Image => self.image_bytes += piece.length,
        }
        let before = self.map.insert(at, piece);
        assert!(before.is_none(), "a piece begins where no other does");
    }

    fn remove(&mut self, at: u32, shifts: &mut Vec<Shift>) {
        let piece = self.map.remove(&at).expect("the piece was found a moment ago");
        shifts.push((piece.segment, -signed(piece.weight())));
        match piece.source {
            Source::Hole => {}
            Source::Data { .. } => self.data_bytes -= piece.length,
            Source::Image => self.image_bytes -= piece.length,
        }
    }
}

fn signed(weight: u64) -> i64 {
    i64::try_from(weight).expect("a piece weighs at most an extent")
}

fn push_zeros(steps: &mut Vec<Step>, length: u32) {
    match steps.last_mut() {
        _ if length == 0 => {}
        Some(Step::Zeros(before)) => *before += length,
        _ => steps.push(Step::Zeros(length)),
    }
}

/// Steps over an image are as long as one read of it may be.
fn push_image(steps: &mut Vec<Step>, mut offset: u32, mut length: u32) {
    while 0 < length {
        let step = length.min(IMAGE_READ_BYTES_MAX - offset % IMAGE_READ_BYTES_MAX);
        steps.push(Step::Image { offset, length: step });
        offset += step;
        length -= step;
    }
}

#[cfg(test)]
mod tests;
