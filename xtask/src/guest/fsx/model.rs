//! What the file must hold: its size and its bytes, kept sparsely, changed by each operation as
//! POSIX has it.
//!
//! A planted lie makes the model forget one operation: the exerciser must then report a difference.

use std::collections::BTreeMap;

use super::operation::{Operation, Range};
use super::pattern;

const CHUNK_BYTES: u64 = 64 << 10;

/// A lie of the model, which proves that the exerciser finds what the model and the file differ in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Plant {
    /// The first truncation that removes bytes is not applied.
    Truncation,
    /// The first append is not applied.
    Append,
    /// The first write of more than one byte is applied but for its last byte.
    LastByte,
}

/// The expected file.
pub(super) struct Model {
    size: u64,
    chunks: BTreeMap<u64, Box<[u8]>>,
    salt: u64,
    plant: Option<Plant>,
}

impl Model {
    pub(super) fn new(salt: u64, plant: Option<Plant>) -> Self {
        Self { size: 0, chunks: BTreeMap::new(), salt, plant }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    /// What a write of operation `number` has for `range`.
    pub(super) fn content(&self, range: Range, number: u32) -> Vec<u8> {
        let mut bytes = vec![0; range.bytes as usize];
        pattern::fill(&mut bytes, range.at, self.salt, number);
        bytes
    }

    /// One record of operation `number`: the same bytes wherever the record lands.
    pub(super) fn record(&self, bytes: u64, number: u32) -> Vec<u8> {
        self.content(Range { at: 0, bytes }, number)
    }

    /// The part of `range` before the end of the file.
    pub(super) fn clip(&self, range: Range) -> Range {
        let end = (range.at + range.bytes).min(self.size);
        Range { at: range.at, bytes: end.saturating_sub(range.at) }
    }

    /// The bytes that a read of `range` must return; fewer than asked for at the end of the file.
    pub(super) fn read(&self, range: Range) -> Vec<u8> {
        let range = self.clip(range);
        let mut bytes = vec![0; range.bytes as usize];
        let end = range.at + range.bytes;
        for (index, chunk) in self.chunks.range(range.at / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES)) {
            let start = index * CHUNK_BYTES;
            let (from, to) = (range.at.max(start), end.min(start + CHUNK_BYTES));
            let (source, target) = ((from - start) as usize, (from - range.at) as usize);
            let count = (to - from) as usize;
            bytes[target..target + count].copy_from_slice(&chunk[source..source + count]);
        }
        bytes
    }

    /// Whether anything was written in `range`, or near it.
    pub(super) fn has_data(&self, range: Range) -> bool {
        let end = (range.at + range.bytes).div_ceil(CHUNK_BYTES);
        self.chunks.range(range.at / CHUNK_BYTES..end).next().is_some()
    }

    /// Applies operation `number`.
    pub(super) fn apply(&mut self, operation: Operation, number: u32) {
        match operation {
            Operation::Write(range) | Operation::DirectWrite(range) | Operation::MapWrite { range, .. } => {
                let mut bytes = self.content(range, number);
                if 1 < range.bytes && self.lies(Plant::LastByte) {
                    bytes.pop();
                }
                self.put(range.at, &bytes);
            }
            Operation::Append { bytes, .. } => {
                if !self.lies(Plant::Append) {
                    let range = Range { at: self.size, bytes };
                    self.put(range.at, &self.content(range, number));
                }
            }
            Operation::AppendMany { writers, records, bytes } => {
                for _ in 0..u64::from(writers) * u64::from(records) {
                    self.put(self.size, &self.record(bytes, number));
                }
            }
            Operation::Truncate(size) | Operation::TruncatePath(size) => self.truncate(size),
            Operation::OpenTruncate => self.truncate(0),
            Operation::Create
            | Operation::Read(_)
            | Operation::MapRead(_)
            | Operation::DirectRead(_)
            | Operation::Fsync
            | Operation::Fdatasync
            | Operation::Reopen
            | Operation::Close
            | Operation::Evict
            | Operation::DropCaches
            | Operation::SeekEnd
            | Operation::Stat
            | Operation::Pause(_)
            | Operation::CheckAll
            | Operation::Remove => {}
        }
    }

    fn lies(&mut self, about: Plant) -> bool {
        self.plant.take_if(|plant| *plant == about).is_some()
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (at, bytes);
        if rest.is_empty() {
            return;
        }
        self.size = self.size.max(at + rest.len() as u64);
        while !rest.is_empty() {
            let empty = || vec![0; CHUNK_BYTES as usize].into_boxed_slice();
            let chunk = self.chunks.entry(at / CHUNK_BYTES).or_insert_with(empty);
            let start = (at % CHUNK_BYTES) as usize;
            let count = (chunk.len() - start).min(rest.len());
            let (piece, more) = rest.split_at(count);
            chunk[start..start + count].copy_from_slice(piece);
            (rest, at) = (more, at + count as u64);
        }
    }

    fn truncate(&mut self, size: u64) {
        if size < self.size {
            if self.lies(Plant::Truncation) {
                return;
            }
            self.chunks.split_off(&size.div_ceil(CHUNK_BYTES));
            if let Some(chunk) = self.chunks.get_mut(&(size / CHUNK_BYTES)) {
                chunk[(size % CHUNK_BYTES) as usize..].fill(0);
            }
        }
        self.size = size;
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Model, Operation, Plant, Range};

    fn range(at: u64, bytes: u64) -> Range {
        Range { at, bytes }
    }

    /// A plain vector is the model of the model.
    #[test]
    fn the_sparse_model_is_a_vector() {
        let mut model = Model::new(7, None);
        let mut plain: Vec<u8> = Vec::new();
        let mut random = 4711;
        for number in 0..600 {
            let next = crate::guest::random(&mut random);
            let (at, bytes) = (next % (3 * CHUNK_BYTES), next >> 32 & 0x1_FFFF);
            if next >> 60 < 4 {
                model.apply(Operation::Truncate(at), number);
                plain.resize(at as usize, 0);
            } else {
                let content = model.content(range(at, bytes), number);
                model.apply(Operation::Write(range(at, bytes)), number);
                let end = (at + bytes) as usize;
                if 0 < bytes && plain.len() < end {
                    plain.resize(end, 0);
                }
                plain[at as usize..][..bytes as usize].copy_from_slice(&content);
            }
            assert_eq!(model.size(), plain.len() as u64);
            assert!(model.read(range(0, 1 << 20)) == plain, "operation {number}");
        }
    }

    #[test]
    fn what_was_cut_is_zeros_when_the_file_grows() {
        let mut model = Model::new(1, None);
        model.apply(Operation::Append { bytes: 100, fresh: false }, 1);
        model.apply(Operation::TruncatePath(50), 2);
        model.apply(Operation::Truncate(200), 3);
        let bytes = model.read(range(0, 1000));
        assert_eq!(bytes.len(), 200);
        assert_eq!(bytes[..50], model.content(range(0, 50), 1));
        assert!(bytes[50..].iter().all(|byte| *byte == 0));
        model.apply(Operation::OpenTruncate, 4);
        assert_eq!(model.size(), 0);
    }

    #[test]
    fn concurrent_records_follow_one_another() {
        let mut model = Model::new(1, None);
        model.apply(Operation::AppendMany { writers: 2, records: 3, bytes: 10 }, 5);
        let record = model.record(10, 5);
        assert_eq!(model.read(range(0, 100)), record.repeat(6));
    }

    #[test]
    fn a_planted_lie_is_told_once() {
        let mut model = Model::new(1, Some(Plant::Truncation));
        model.apply(Operation::Write(range(0, 10)), 1);
        model.apply(Operation::Truncate(20), 2);
        model.apply(Operation::Truncate(5), 3);
        assert_eq!(model.size(), 20);
        model.apply(Operation::Truncate(5), 4);
        assert_eq!(model.size(), 5);
    }
}
