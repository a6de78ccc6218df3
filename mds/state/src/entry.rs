//! One entry of the log: a command, its time, and the request that caused it.
//!
//! Encoded with postcard behind a version byte (docs/formats/raft_log.md).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::limits::ENTRY_BYTES_MAX;

/// Version of the encoding of [`Entry`] (docs/formats/raft_log.md).
const ENTRY_VERSION: u8 = 3;

/// The previous version: its origins named sessions that were not stored, and no code read them.
const ENTRY_VERSION_UNKEPT: u8 = 2;

/// Session, slot, sequence, operation.
type OriginUnkept = ([u8; 16], u32, u32, u32);

/// Why bytes are not an entry, or an entry cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is longer than a log entry may be.
    #[error("entry of {0} bytes is too long")]
    TooLong(usize),
    /// An entry version that this program does not know.
    #[error("unknown entry version {0:?}")]
    Version(Option<u8>),
    /// Not an entry.
    #[error("entry does not decode")]
    Garbled,
}

/// Names the request that caused a command. The command's outcome is recorded with its effect, and
/// a request that is resent to any server gets the recorded outcome (docs/protocol/sessions.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Session id.
    pub session: [u8; 16],
    /// Slot within the session.
    pub slot: u32,
    /// Sequence id of the request on that slot.
    pub sequence: u32,
    /// Position of the operation within its compound.
    pub operation: u32,
    /// Fingerprint of the whole request: another request under the same sequence is no retry.
    pub request: u64,
    /// The proposer's tenure of the session.
    pub tenure: u32,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Wall-clock time at the proposer, nanoseconds since 1970.
    pub now_unix_ns: u64,
    /// The client request that caused the command, if there is one.
    pub origin: Option<Origin>,
    /// The proposer's word: the term in which it governs in the bits from 24 on, a count below; 0
    /// in shard 0 (docs/protocol/shards.md §2).
    pub governor: u64,
    /// The command.
    pub command: Command,
}

impl Entry {
    /// Encodes the payload of an entry's record in the log.
    ///
    /// # Errors
    /// [`EntryError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let bytes = postcard::to_extend(self, vec![ENTRY_VERSION]).map_err(|_| EntryError::Garbled)?;
        if ENTRY_BYTES_MAX < bytes.len() {
            return Err(EntryError::TooLong(bytes.len()));
        }
        assert!(bytes.first() == Some(&ENTRY_VERSION), "an entry begins with its version");
        debug_assert!(Self::decode(&bytes).is_ok(), "an entry that is encoded can be read");
        Ok(bytes)
    }

    /// Decodes the payload of an entry's record in the log (docs/formats/raft_log.md).
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        match bytes.split_first() {
            Some((&ENTRY_VERSION, rest)) => whole(rest),
            Some((&ENTRY_VERSION_UNKEPT, rest)) => {
                let (now_unix_ns, _, command): (u64, Option<OriginUnkept>, Command) = whole(rest)?;
                Ok(Self { now_unix_ns, origin: None, governor: 0, command })
            }
            version => Err(EntryError::Version(version.map(|(first, _)| *first))),
        }
    }
}

fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EntryError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(EntryError::Garbled),
    }
}
