//! Commands of the node that governs all shards: its term, and acts on several shards.
//!
//! Spec: docs/protocol/shards.md.

use mds_namespace::Ino;
use mds_namespace::store::draft::{Part, Write};
use serde::{Deserialize, Serialize};

use super::Outcome;

/// The first entry of a shard other than the one with the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatShard {
    /// Its number, not 0.
    pub shard: u16,
    /// Identity of the file system.
    pub file_system: [u8; 16],
    /// Key for data-server handles.
    pub handle_key: [u8; 32],
    /// Key for directory cookies.
    pub cookie_key: [u8; 32],
}

/// A node governs, in the term that the entry carries: entries of an earlier term that come behind this are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Govern;

/// Sets inode numbers aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveInodes {
    /// How many; at most [`RESERVED_INODES_MAX`](crate::limits::RESERVED_INODES_MAX).
    pub count: u32,
}

/// Names an act on several shards: the governor's term, and how many it began before in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentId {
    /// Term of the governor.
    pub term: u64,
    /// Counts in that term.
    pub number: u64,
}

/// An act on several shards becomes real: this shard writes its part, and keeps those of the others until `Settle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intend {
    /// Names it.
    pub id: IntentId,
    /// What each shard is to write, this one included.
    pub parts: Vec<Part>,
    /// What the act comes to: the answer to this command.
    pub outcome: Box<Outcome>,
}

/// An act that another shard keeps has this part here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// What to write. Once more does no harm.
    pub writes: Vec<Write>,
}

/// All parts of an act are written: it may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// Names it. One that is not known is no error.
    pub id: IntentId,
}

/// A file may have lost its last name: it goes if nobody has it open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reap {
    /// The file.
    pub ino: Ino,
}

/// A client is gone: so is all it holds here, and what its requests came to. Answered with
/// [`Outcome::Removed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetClient {
    /// The client.
    pub client: u64,
}

/// A session is gone: so is what its requests came to here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetSession {
    /// Session id.
    pub session: [u8; 16],
}
