//! Commands of the node that governs all shards: its term, and acts on several shards.
//!
//! Spec: docs/protocol/shards.md.

use mds_namespace::Ino;
use mds_namespace::store::draft::{Part, Write};
use serde::{Deserialize, Serialize};

use super::namespace::{Create, Link, Remove, Rename};
use super::open::Open;
use super::outcome::Outcome;

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

/// A node governs, in the term of the entry: entries of an earlier term behind this one are
/// refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Govern;

/// A command about names, bound to the inodes that it may change: the directories, and those that
/// the names led to when it was planned. Its proposer keeps acts on several shards away from these.
/// If a name now leads to another inode, and the command would change that inode, it is refused
/// with `NamesMoved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Inodes that the command may change, besides those that it makes.
    pub inodes: Vec<Ino>,
    /// The command.
    pub what: AboutNames,
}

/// Commands about names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AboutNames {
    /// OPEN.
    Open(Open),
    /// CREATE.
    Create(Create),
    /// LINK.
    Link(Link),
    /// REMOVE.
    Remove(Remove),
    /// RENAME.
    Rename(Rename),
}

/// Reserves inode numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveInodes {
    /// How many; at most [`RESERVED_INODES_MAX`](crate::limits::RESERVED_INODES_MAX).
    pub count: u32,
}

/// Names an act on several shards: the governor's term, and how many it began before in that term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentId {
    /// Term of the governor.
    pub term: u64,
    /// Counts in that term.
    pub number: u64,
}

/// Decides an act on several shards: this shard writes its part, and keeps those of the others
/// until `Settle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intend {
    /// Names the act.
    pub id: IntentId,
    /// The part of each shard, this one included.
    pub parts: Vec<Part>,
    /// The act's outcome: the answer to this command.
    pub outcome: Box<Outcome>,
}

/// Writes this shard's part of an act whose intent another shard keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// The keys and values to write. Repeating it has no further effect.
    pub writes: Vec<Write>,
}

/// All parts of an act are written: forgets its intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// Names the act. An unknown one is no error.
    pub id: IntentId,
}

/// A file may have lost its last name: removes it unless it is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reap {
    /// The file.
    pub ino: Ino,
}

/// Removes what a former client holds in this shard, and the recorded outcomes of its requests.
/// Answered with [`Outcome::Removed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetClient {
    /// The client.
    pub client: u64,
}

/// Removes the recorded outcomes of a former session in this shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetSession {
    /// Session id.
    pub session: [u8; 16],
}
