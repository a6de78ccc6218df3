//! Commands of the node that governs all shards: its term, and acts on several shards.
//!
//! Spec: docs/protocol/shards.md.

use mds_namespace::Ino;
use mds_namespace::store::draft::{Part, Write};
use serde::{Deserialize, Serialize};

use super::namespace::{Create, Link, Remove, Rename};
use super::open::Open;
use super::{Command, Outcome};

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

/// A command about names, bound to the inodes that it may change: the directories, and what the names led to when it was planned. Those are what its
/// proposer keeps acts on several shards away from. If by now a name leads to another inode, and the command would change that, it is refused
/// with `NamesMoved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Inodes that may be changed, besides those that it makes.
    pub inodes: Vec<Ino>,
    /// What is to be done.
    pub what: AboutNames,
}

/// What is done to names.
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

impl Bound {
    /// The command bound to these inodes; another one as it is.
    #[must_use]
    pub fn to(inodes: Vec<Ino>, command: Command) -> Command {
        let what = match command {
            Command::Open(asked) => AboutNames::Open(asked),
            Command::Create(asked) => AboutNames::Create(asked),
            Command::Link(asked) => AboutNames::Link(asked),
            Command::Remove(asked) => AboutNames::Remove(asked),
            Command::Rename(asked) => AboutNames::Rename(asked),
            other => return other,
        };
        Command::Bound(Self { inodes, what })
    }
}

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
