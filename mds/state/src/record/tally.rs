//! How much state a client has in one shard.
//!
//! Spec: docs/formats/state.md.

use mds_namespace::FsError;
use serde::{Deserialize, Serialize};

use super::value::{Value, bad_value, bad_version, read_postcard, write_postcard};

/// How much state a client has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Opens.
    pub opens: u32,
    /// Lock stateids.
    pub locks: u32,
    /// Layouts.
    pub layouts: u32,
    /// Byte ranges locked, without those in lock records of version 1.
    pub ranges: u32,
}

/// A tally in version 1 of its record.
#[derive(Deserialize)]
struct TallyWithoutRanges {
    opens: u32,
    locks: u32,
    layouts: u32,
}

impl Value for Tally {
    /// Version 1 counted no ranges.
    const VERSION: u8 = 2;

    fn decode(bytes: &[u8]) -> Result<Self, FsError> {
        match bytes.split_first() {
            Some((1, rest)) => {
                let TallyWithoutRanges { opens, locks, layouts } =
                    read_postcard(rest).ok_or_else(bad_value::<Self>)?;
                Ok(Self { opens, locks, layouts, ranges: 0 })
            }
            Some((&version, rest)) if version == Self::VERSION => {
                Self::read(rest).ok_or_else(bad_value::<Self>)
            }
            version => Err(bad_version::<Self>(version.map(|(first, _)| *first))),
        }
    }

    fn write(&self, bytes: Vec<u8>) -> Vec<u8> {
        write_postcard(self, bytes)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        read_postcard(bytes)
    }
}
