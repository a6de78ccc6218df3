//! The operations and the generator that draws them: pure, so the same seed gives the same
//! operations.
//!
//! A new operation is a variant of [`Kind`] with its weight, one of [`Operation`], and an arm in
//! `Draw::operation`, `Model::apply` and `Subject::carry_out`.

use std::fmt;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::pattern::mix;
use crate::guest::random;

/// Operations of one file, drawn between these.
const FILE_OPERATIONS: (u64, u64) = (40, 500);
/// Operations of one guest before the other one continues.
const TURN_OPERATIONS_MAX: u64 = 20;
/// Alignment of O_DIRECT, in offsets, lengths and memory.
pub(super) const DIRECT_BYTES: u64 = 4096;
/// Records of one writer among several that append at once, and the length of a record.
const RECORDS_MAX: u64 = 8;
const RECORD_BYTES_MAX: u64 = 1024;
const WRITERS_MAX: u64 = 4;
const PAUSE_MS: (u64, u64) = (500, 2500);

/// A part of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Range {
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// Kinds of operations that are drawn by weight.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Kind {
    Read,
    Write,
    Append,
    AppendMany,
    MapRead,
    MapWrite,
    DirectRead,
    DirectWrite,
    Truncate,
    TruncatePath,
    OpenTruncate,
    Fsync,
    Fdatasync,
    Reopen,
    Close,
    Evict,
    DropCaches,
    SeekEnd,
    Stat,
    Pause,
}

impl Kind {
    /// How often it is drawn, compared with the others, unless an arrangement says otherwise.
    fn weight(self) -> u32 {
        match self {
            Self::Read => 18,
            Self::Write => 18,
            Self::Append => 8,
            Self::AppendMany => 2,
            Self::MapRead => 6,
            Self::MapWrite => 6,
            Self::DirectRead => 5,
            Self::DirectWrite => 5,
            Self::Truncate => 7,
            Self::TruncatePath => 3,
            Self::OpenTruncate => 1,
            Self::Fsync => 2,
            Self::Fdatasync => 2,
            Self::Reopen => 3,
            Self::Close => 2,
            Self::Evict => 3,
            Self::DropCaches => 1,
            Self::SeekEnd => 3,
            Self::Stat => 2,
            Self::Pause => 0,
        }
    }
}

/// The weights of all kinds.
#[derive(Clone, Debug)]
pub(super) struct Weights(Vec<(Kind, u32)>);

impl Weights {
    /// The usual weights, changed by words such as `fsync=0`.
    ///
    /// # Errors
    /// When a word names no kind or no number, or nothing is left to draw.
    pub(super) fn parse(changes: &[String]) -> Result<Self> {
        let mut weights: Vec<(Kind, u32)> =
            Kind::value_variants().iter().map(|kind| (*kind, kind.weight())).collect();
        for change in changes {
            let (name, weight) = change.split_once('=').context("a weight is KIND=NUMBER")?;
            let kind = Kind::from_str(name, false).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
            let weight = weight.parse().with_context(|| format!("weight {change:?}"))?;
            weights.iter_mut().filter(|(one, _)| *one == kind).for_each(|(_, old)| *old = weight);
        }
        anyhow::ensure!(weights.iter().any(|(_, weight)| 0 < *weight), "all weights are 0");
        Ok(Self(weights))
    }

    fn draw(&self, draw: &mut Draw) -> Kind {
        let sum: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut left = draw.below(sum);
        for (kind, weight) in &self.0 {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return *kind,
            }
        }
        unreachable!("a draw below the sum of the weights falls on one of them")
    }
}

/// One operation with all that it needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operation {
    /// Creates the file and opens it.
    Create,
    Read(Range),
    Write(Range),
    /// Appends with O_APPEND; `fresh` through a descriptor of its own that is closed at once.
    Append {
        bytes: u64,
        fresh: bool,
    },
    /// Several writers append at once, each record with an open and a close.
    AppendMany {
        writers: u32,
        records: u32,
        bytes: u64,
    },
    MapRead(Range),
    /// Stores through a shared mapping; `sync` with msync.
    MapWrite {
        range: Range,
        sync: bool,
    },
    DirectRead(Range),
    DirectWrite(Range),
    /// By the open descriptor.
    Truncate(u64),
    TruncatePath(u64),
    /// Closes all descriptors and opens with O_TRUNC.
    OpenTruncate,
    Fsync,
    Fdatasync,
    /// Closes all descriptors and opens.
    Reopen,
    /// Closes all descriptors; the next operation opens what it needs.
    Close,
    /// Has the client forget the clean pages of this file.
    Evict,
    /// Has the client forget everything that is clean.
    DropCaches,
    /// Compares the size that lseek(SEEK_END) returns.
    SeekEnd,
    /// Compares the size that fstat returns.
    Stat,
    /// Does nothing for some milliseconds.
    Pause(u64),
    /// Compares the whole file.
    CheckAll,
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut with = |name: &str, range: &Range| write!(f, "{name} {} +{}", range.at, range.bytes);
        match self {
            Self::Read(range) => with("read", range),
            Self::Write(range) => with("write", range),
            Self::MapRead(range) => with("map-read", range),
            Self::MapWrite { range, sync: true } => with("map-write, msync", range),
            Self::MapWrite { range, sync: false } => with("map-write", range),
            Self::DirectRead(range) => with("direct-read", range),
            Self::DirectWrite(range) => with("direct-write", range),
            Self::Append { bytes, fresh: true } => write!(f, "open, append +{bytes}, close"),
            Self::Append { bytes, fresh: false } => write!(f, "append +{bytes}"),
            Self::AppendMany { writers, records, bytes } => {
                write!(f, "{writers} writers: {records} times open, append +{bytes}, close")
            }
            Self::Truncate(size) => write!(f, "ftruncate {size}"),
            Self::TruncatePath(size) => write!(f, "truncate {size}"),
            Self::Pause(ms) => write!(f, "pause {ms} ms"),
            Self::Create => f.write_str("create"),
            Self::OpenTruncate => f.write_str("close, open with O_TRUNC"),
            Self::Fsync => f.write_str("fsync"),
            Self::Fdatasync => f.write_str("fdatasync"),
            Self::Reopen => f.write_str("close, open"),
            Self::Close => f.write_str("close"),
            Self::Evict => f.write_str("fadvise(DONTNEED)"),
            Self::DropCaches => f.write_str("drop_caches"),
            Self::SeekEnd => f.write_str("lseek(SEEK_END)"),
            Self::Stat => f.write_str("fstat"),
            Self::CheckAll => f.write_str("read the whole file"),
            Self::Remove => f.write_str("close, unlink"),
        }
    }
}

/// Where a file is used, and how large it becomes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Offsets are near one of these.
    spots: &'static [u64],
    /// How far from its spot an offset is at most.
    around: u64,
    /// No offset or size is above.
    size_max: u64,
    /// No read or write is longer.
    bytes_max: u64,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Files that live with the metadata or just do not, files in one extent, and sparse files over
/// three.
const SHAPES: [Shape; 4] = [
    Shape { spots: &[0, 4 * KIB, 16 * KIB], around: 6 * KIB, size_max: 64 * KIB, bytes_max: 8 * KIB },
    Shape { spots: &[0, 16 * KIB, 128 * KIB], around: 64 * KIB, size_max: MIB, bytes_max: 64 * KIB },
    Shape { spots: &[0, MIB, 2 * MIB, 3 * MIB], around: 512 * KIB, size_max: 4 * MIB, bytes_max: 256 * KIB },
    Shape {
        spots: &[0, 16 * KIB, 64 * MIB, 64 * MIB, 128 * MIB],
        around: 96 * KIB,
        size_max: 129 * MIB,
        bytes_max: 128 * KIB,
    },
];

/// Random choices.
#[derive(Clone, Copy, Debug)]
struct Draw(u64);

impl Draw {
    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        // The low bits of the generator are its weakest.
        (random(&mut self.0) >> 8) % bound
    }

    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True once in `count`.
    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// From 1 to `most`, short ones as often as long ones.
    fn length(&mut self, most: u64) -> u64 {
        let bits = u64::from(most.ilog2()) + 1;
        let below = 1 << self.between((1, bits));
        self.between((1, most.min(below)))
    }

    /// An offset: near a spot, near the end of the file, or exactly one of them.
    fn offset(&mut self, shape: &Shape, size: u64) -> u64 {
        let spot = match self.below(4) {
            0 => size,
            _ => shape.spots[self.below(shape.spots.len() as u64) as usize],
        };
        let offset = match self.below(6) {
            0 => spot,
            1 => spot.saturating_sub(self.below(shape.around)) / 4096 * 4096,
            2 | 3 => spot.saturating_sub(self.length(shape.around)),
            _ => spot + self.length(shape.around),
        };
        offset.min(shape.size_max - 1)
    }

    fn range(&mut self, shape: &Shape, size: u64) -> Range {
        let at = self.offset(shape, size);
        let bytes = self.length(shape.bytes_max).min(shape.size_max - at);
        Range { at, bytes }
    }

    /// Aligned; beyond the file's largest size by less than the alignment.
    fn aligned(&mut self, shape: &Shape, size: u64) -> Range {
        let range = self.range(shape, size);
        let at = range.at / DIRECT_BYTES * DIRECT_BYTES;
        Range { at, bytes: range.bytes.next_multiple_of(DIRECT_BYTES) }
    }

    /// A range before the end of a file that is not empty.
    fn within(&mut self, shape: &Shape, size: u64) -> Range {
        let range = self.range(shape, size);
        let at = range.at.min(size - 1);
        Range { at, bytes: range.bytes.min(size - at) }
    }

    fn operation(&mut self, kind: Kind, shape: &Shape, size: u64) -> Operation {
        match kind {
            Kind::Read => Operation::Read(self.range(shape, size)),
            Kind::Write => Operation::Write(self.range(shape, size)),
            // Nothing can be mapped of an empty file, and a file at its largest size does not grow.
            Kind::MapRead if size == 0 => Operation::Read(self.range(shape, size)),
            Kind::MapWrite if size == 0 => Operation::Write(self.range(shape, size)),
            Kind::Append | Kind::AppendMany if shape.size_max <= size => Operation::Truncate(size / 2),
            Kind::Append => {
                Operation::Append { bytes: self.length(shape.bytes_max / 4), fresh: !self.one_in(3) }
            }
            Kind::AppendMany => Operation::AppendMany {
                writers: self.between((2, WRITERS_MAX)) as u32,
                records: self.between((1, RECORDS_MAX)) as u32,
                bytes: self.length(RECORD_BYTES_MAX),
            },
            Kind::MapRead => Operation::MapRead(self.within(shape, size)),
            Kind::MapWrite => Operation::MapWrite { range: self.within(shape, size), sync: !self.one_in(3) },
            Kind::DirectRead => Operation::DirectRead(self.aligned(shape, size)),
            Kind::DirectWrite => Operation::DirectWrite(self.aligned(shape, size)),
            Kind::Truncate => Operation::Truncate(self.offset(shape, size)),
            Kind::TruncatePath => Operation::TruncatePath(self.offset(shape, size)),
            Kind::OpenTruncate => Operation::OpenTruncate,
            Kind::Fsync => Operation::Fsync,
            Kind::Fdatasync => Operation::Fdatasync,
            Kind::Reopen => Operation::Reopen,
            Kind::Close => Operation::Close,
            Kind::Evict => Operation::Evict,
            Kind::DropCaches => Operation::DropCaches,
            Kind::SeekEnd => Operation::SeekEnd,
            Kind::Stat => Operation::Stat,
            Kind::Pause => Operation::Pause(self.between(PAUSE_MS)),
        }
    }
}

/// An operation in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Step {
    /// Counts from 0 for each file.
    pub(super) number: u32,
    /// Which guest performs it: 0, or 1 where there are two.
    pub(super) guest: u8,
    pub(super) operation: Operation,
}

/// Which guest performs which operations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Guests {
    One,
    /// Two, by turns of up to so many operations.
    Two {
        turn_max: u64,
    },
}

impl Guests {
    /// Two guests that give the file to one another after every few operations.
    pub(super) const IN_TURNS: Self = Self::Two { turn_max: TURN_OPERATIONS_MAX };
    /// Two guests of which either may perform the next operation.
    pub(super) const MIXED: Self = Self::Two { turn_max: 2 };
}

/// Draws the operations of one file.
pub(super) struct Generator {
    draw: Draw,
    weights: Weights,
    shape: Shape,
    guests: Guests,
    number: u32,
    /// Operations to draw before the ending.
    left: u64,
    drawn: u64,
    guest: u8,
    turn: u64,
    /// What remains to do when all are drawn, the last first.
    ending: Vec<(u8, Operation)>,
}

impl Generator {
    /// The operations that follow from `seed`, `most` of them at most before the ending.
    pub(super) fn new(seed: u64, weights: &Weights, guests: Guests, most: u64) -> Self {
        let mut draw = Draw(mix(seed).max(1));
        let shape = SHAPES[draw.below(SHAPES.len() as u64) as usize];
        let left = draw.between(FILE_OPERATIONS).min(most);
        let mut ending = vec![
            (0, Operation::Remove),
            (0, Operation::CheckAll),
            (0, Operation::Evict),
            (0, Operation::Reopen),
        ];
        if guests != Guests::One {
            ending.extend([(1, Operation::Reopen), (1, Operation::CheckAll)]);
        }
        ending.push((0, Operation::CheckAll));
        let weights = weights.clone();
        Self { draw, weights, shape, guests, number: 0, left, drawn: 0, guest: 0, turn: 0, ending }
    }

    /// Ends the file early: only the ending is left.
    pub(super) fn end(&mut self) {
        self.left = 0;
    }

    /// How many operations were drawn: with so many at most, the ones up to here are the same.
    pub(super) fn drawn(&self) -> u64 {
        self.drawn
    }

    /// The next operation on a file that has `size` bytes; none when the file is removed.
    pub(super) fn next(&mut self, size: u64) -> Option<Step> {
        let (guest, operation) = if self.number == 0 {
            (0, Operation::Create)
        } else if 0 < self.left {
            self.left -= 1;
            self.drawn += 1;
            let kind = self.weights.draw(&mut self.draw);
            (self.next_guest(), self.draw.operation(kind, &self.shape, size))
        } else {
            self.ending.pop()?
        };
        let step = Step { number: self.number, guest, operation };
        self.number += 1;
        Some(step)
    }

    fn next_guest(&mut self) -> u8 {
        if let Guests::Two { turn_max } = self.guests {
            if self.turn == 0 {
                self.turn = self.draw.between((1, turn_max));
                self.guest ^= 1;
            }
            self.turn -= 1;
        }
        self.guest
    }
}

#[cfg(test)]
mod tests;
