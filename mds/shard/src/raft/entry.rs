//! A log entry's content: bytes from the proposer to the log, to the followers, to `apply`.
//!
//! Encoded once, where it is proposed; every replica applies the very bytes that are in its log.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::command::{Command, Entry, Origin, Outcome};
use crate::limits::ENTRY_BYTES_MAX;

/// Version of the encoding of [`Entry`] (docs/formats/raft_log.md).
pub(crate) const ENTRY_VERSION: u8 = 3;

/// The version before: its origins named no sessions that anybody kept, and nothing looked at them.
const ENTRY_VERSION_UNKEPT: u8 = 2;

/// Session, slot, sequence, operation.
type OriginUnkept = ([u8; 16], u32, u32, u32);

/// The number that `Command::Close` is encoded as.
const CLOSE_VARIANT: u32 = 6;
/// The number that `Command::Accessed` is encoded as.
const ACCESSED_VARIANT: u32 = 67;

/// Why bytes are no entry, or an entry has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
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

    /// Whether nobody waits for it to be durable.
    pub(crate) fn is_unhurried(&self) -> bool {
        let Some((&ENTRY_VERSION, rest)) = self.0.split_first() else { return false };
        // Only the head: an entry may be long, and this is asked of each.
        let head: Result<(u64, Option<Origin>, u64, u32), _> =
            postcard::take_from_bytes(rest).map(|(head, _)| head);
        head.is_ok_and(|(_, _, _, variant)| matches!(variant, CLOSE_VARIANT | ACCESSED_VARIANT))
    }

    pub(crate) fn decode(&self) -> Result<Entry, EntryError> {
        Entry::decode(&self.0)
    }
}

impl Entry {
    /// What the payload of an entry's record in the log says (docs/formats/raft_log.md).
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

#[cfg(test)]
mod tests {
    use super::*;
    use mds_namespace::Timestamp;

    use crate::command::{StateidValue, lock, namespace, open};

    fn encoded(command: Command) -> EncodedEntry {
        let (slot, sequence, operation, tenure) = (300, 70_000, 3, 129);
        let origin = Origin { session: [7; 16], slot, sequence, operation, request: u64::MAX, tenure };
        let origin = Some(origin);
        EncodedEntry::encode(&Entry { now_unix_ns: u64::MAX, origin, governor: 0, command }).unwrap()
    }

    #[test]
    fn only_close_and_accessed_are_unhurried() {
        let stateid = StateidValue { seqid: 1, other: [9; 12] };
        let share = open::Share { access: 1, deny: 0 };
        assert!(encoded(Command::Close(open::Close { client: 1, ino: 2, stateid })).is_unhurried());
        let accessed = namespace::Accessed { ino: 2, seen: Timestamp { seconds: -1, nanos: 3 } };
        assert!(encoded(Command::Accessed(accessed)).is_unhurried());
        for other in [
            Command::OpenDowngrade(open::OpenDowngrade { client: 1, ino: 2, stateid, share }),
            Command::FreeStateid(lock::FreeStateid { client: 1, stateid }),
        ] {
            assert!(!encoded(other).is_unhurried());
        }
        for garbled in [&[][..], &[ENTRY_VERSION], &[ENTRY_VERSION, 1, 2], &[9, 1, 0, 6], &[2, 1, 0, 6]] {
            assert!(!EncodedEntry(Bytes::copy_from_slice(garbled)).is_unhurried());
        }
    }
}
