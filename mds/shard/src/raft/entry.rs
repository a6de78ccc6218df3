//! A log entry's content: bytes from the proposer to the log, to the followers, to `apply`.
//!
//! Encoded once, where it is proposed; every replica applies the very bytes that are in its log.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::command::{Entry, Outcome};
use crate::limits::ENTRY_BYTES_MAX;

/// Version of the encoding of [`Entry`] (docs/formats/raft_log.md).
pub(crate) const ENTRY_VERSION: u8 = 1;

/// Why bytes are no entry, or an entry has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// It is longer than a log entry may be.
    #[error("entry of {0} bytes is too long")]
    TooLong(usize),
    /// Written by a version this program does not know.
    #[error("entry version {0:?} is not known")]
    Version(Option<u8>),
    /// Not an entry.
    #[error("entry does not decode")]
    Garbled,
}

/// An encoded [`Entry`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EncodedEntry(pub(crate) Bytes);

impl EncodedEntry {
    pub(crate) fn encode(entry: &Entry) -> Result<Self, EntryError> {
        let bytes = postcard::to_extend(entry, vec![ENTRY_VERSION]).map_err(|_| EntryError::Garbled)?;
        if ENTRY_BYTES_MAX < bytes.len() {
            return Err(EntryError::TooLong(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    pub(crate) fn decode(&self) -> Result<Entry, EntryError> {
        match self.0.split_first() {
            Some((&ENTRY_VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((entry, [])) => Ok(entry),
                Ok(_) | Err(_) => Err(EntryError::Garbled),
            },
            version => Err(EntryError::Version(version.map(|(first, _)| *first))),
        }
    }
}

impl fmt::Debug for EncodedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedEntry({} bytes)", self.0.len())
    }
}

impl fmt::Display for EncodedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for EncodedEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for EncodedEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        Ok(Self(bytes.into()))
    }
}

/// What applying an entry answers. Never leaves the process.
pub(crate) struct Answer(pub(crate) Outcome);

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        // The engine's trait bound asks for it; an answer goes to a task of this process only.
        Err(serde::ser::Error::custom("an answer stays in its process"))
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("an answer stays in its process"))
    }
}
