//! A log entry's content: bytes from the proposer to the log, to the followers, to `apply`.
//!
//! Encoded once, where it is proposed; every replica applies the very bytes that are in its log.

use std::fmt;

use bytes::Bytes;
use mds_state::limits::ENTRY_BYTES_MAX;
use mds_state::{Entry, EntryError, Outcome};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An encoded [`Entry`]. Equal if the bytes are.
#[derive(Clone)]
pub(crate) struct EncodedEntry {
    pub(crate) bytes: Bytes,
    /// No client waits for it. Known to the proposer's process only.
    is_unhurried: bool,
}

impl From<Bytes> for EncodedEntry {
    /// A client may wait for it.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, is_unhurried: false }
    }
}

impl PartialEq for EncodedEntry {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for EncodedEntry {}

impl EncodedEntry {
    pub(crate) fn encode(entry: &Entry) -> Result<Self, EntryError> {
        let bytes = entry.encode()?;
        assert!(bytes.len() <= ENTRY_BYTES_MAX, "an entry fits a record of the log");
        Ok(Bytes::from(bytes).into())
    }

    /// The same entry, marked as one for whose durability no client waits.
    pub(crate) fn unhurried(self) -> Self {
        Self { is_unhurried: true, ..self }
    }

    pub(crate) fn is_unhurried(&self) -> bool {
        self.is_unhurried
    }

    pub(crate) fn decode(&self) -> Result<Entry, EntryError> {
        Entry::decode(&self.bytes)
    }
}

impl fmt::Debug for EncodedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedEntry({} bytes)", self.bytes.len())
    }
}

impl fmt::Display for EncodedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for EncodedEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for EncodedEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        Ok(Bytes::from(bytes).into())
    }
}

/// The outcome of applying an entry. Never leaves the process.
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

#[cfg(test)]
mod tests {
    use mds_state::command::open;
    use mds_state::{Command, StateidValue};

    use super::*;

    /// The mark is not in the entry's bytes: a follower flushes each entry.
    #[test]
    fn the_unhurried_mark_is_not_encoded() {
        let stateid = StateidValue { seqid: 1, other: [9; 12] };
        let command = Command::Close(open::Close { client: 1, ino: 2, stateid });
        let entry = Entry { now_unix_ns: u64::MAX, origin: None, governor: 0, command };
        let hurried = EncodedEntry::encode(&entry).unwrap();
        assert!(!hurried.is_unhurried());
        let unhurried = hurried.clone().unhurried();
        assert!(unhurried.is_unhurried() && unhurried == hurried);
        assert!(!EncodedEntry::from(unhurried.bytes).is_unhurried());
    }
}
