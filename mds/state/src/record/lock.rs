//! The locks of one lock-owner on one file, and the sum of a file's locks.
//!
//! Spec: docs/formats/state.md, locks.

use std::collections::BTreeMap;

use mds_namespace::FsError;
use serde::{Deserialize, Serialize};

use super::value::{Value, bad_value, bad_version, read_postcard, write_postcard};
use crate::lock_ranges::HeldRange;
use crate::stateid::{OTHER_BYTES, StateidValue};

/// The locks of one lock-owner on one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRecord {
    /// Identity of its stateid.
    pub other: [u8; OTHER_BYTES],
    /// Current sequence of its stateid.
    pub seqid: u32,
    /// Client id.
    pub client: u64,
    /// Lock-owner.
    pub owner: Vec<u8>,
    /// The open of the lock.
    pub open: [u8; OTHER_BYTES],
    /// The locked ranges.
    pub ranges: Ranges,
}

/// Location of the ranges of a lock stateid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Each has a key of its own; this is their number.
    Apart(u32),
    /// In the record itself, as in version 1.
    Within(Vec<HeldRange>),
}

impl LockRecord {
    /// The current stateid.
    #[must_use]
    pub fn stateid(&self) -> StateidValue {
        StateidValue { seqid: self.seqid, other: self.other }
    }

    /// The number of locked ranges.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.ranges {
            Ranges::Apart(count) => *count as usize,
            Ranges::Within(ranges) => ranges.len(),
        }
    }
}

/// A record in the store, whose ranges are a number or a list.
#[derive(Serialize, Deserialize)]
struct Stored<R> {
    other: [u8; OTHER_BYTES],
    seqid: u32,
    client: u64,
    #[serde(with = "serde_bytes")]
    owner: Vec<u8>,
    open: [u8; OTHER_BYTES],
    ranges: R,
}

impl<R> Stored<R> {
    fn record(self, ranges: impl FnOnce(R) -> Ranges) -> LockRecord {
        let Self { other, seqid, client, owner, open, ranges: of_it } = self;
        LockRecord { other, seqid, client, owner, open, ranges: ranges(of_it) }
    }
}

/// The version whose records contain the ranges.
const WITHIN_VERSION: u8 = 1;

impl Value for LockRecord {
    const VERSION: u8 = 2;

    fn write(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Self { other, seqid, client, open, .. } = *self;
        let owner = self.owner.clone();
        match &self.ranges {
            Ranges::Apart(count) => {
                write_postcard(&Stored { other, seqid, client, owner, open, ranges: count }, bytes)
            }
            Ranges::Within(ranges) => {
                write_postcard(&Stored { other, seqid, client, owner, open, ranges }, bytes)
            }
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        read_postcard::<Stored<u32>>(bytes).map(|stored| stored.record(Ranges::Apart))
    }

    fn encode(&self) -> Vec<u8> {
        let version = match self.ranges {
            Ranges::Apart(_) => Self::VERSION,
            Ranges::Within(_) => WITHIN_VERSION,
        };
        self.write(vec![version])
    }

    fn decode(bytes: &[u8]) -> Result<Self, FsError> {
        match bytes.split_first() {
            Some((&WITHIN_VERSION, rest)) => {
                let stored: Stored<Vec<HeldRange>> = read_postcard(rest).ok_or_else(bad_value::<Self>)?;
                Ok(stored.record(Ranges::Within))
            }
            Some((&version, rest)) if version == Self::VERSION => {
                Self::read(rest).ok_or_else(bad_value::<Self>)
            }
            version => Err(bad_version::<Self>(version.map(|(first, _)| *first))),
        }
    }
}

/// The sum of a file's locks. A file with lock records and without this has only records of version
/// 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLocks {
    /// Lock stateids.
    pub lockers: u32,
    /// The number of read locks in the interval tree at each level.
    pub reads: BTreeMap<u8, u32>,
    /// The same for write locks.
    pub writes: BTreeMap<u8, u32>,
}

impl FileLocks {
    /// The levels of one kind of locks.
    #[must_use]
    pub fn levels(&self, exclusive: bool) -> &BTreeMap<u8, u32> {
        if exclusive { &self.writes } else { &self.reads }
    }

    /// As [`levels`](Self::levels), mutable.
    pub(crate) fn levels_mut(&mut self, exclusive: bool) -> &mut BTreeMap<u8, u32> {
        if exclusive { &mut self.writes } else { &mut self.reads }
    }
}
