//! What goes into the log and what comes out: a record, its header, and where it lies.
//!
//! `kind`, `role`, `stream`, `sub`, `epoch` and `position` belong to the log's user; the log stores
//! and returns them and looks at none.

use bytes::Bytes;

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The user's: what the payload is.
    pub kind: u8,
    /// The user's: whose copy this is.
    pub role: u8,
    /// The user's: inode number, or Raft group.
    pub stream: u64,
    /// The user's: extent index.
    pub sub: u32,
    /// The user's: epoch, or Raft term.
    pub epoch: u64,
    /// The user's: byte offset, or log index.
    pub position: u64,
    /// The bytes, in order. Written from where they are, not copied.
    pub payload: Vec<Bytes>,
}

/// A record without its bytes, as recovery and reads show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// As appended.
    pub kind: u8,
    /// As appended.
    pub role: u8,
    /// As appended.
    pub stream: u64,
    /// As appended.
    pub sub: u32,
    /// As appended.
    pub epoch: u64,
    /// As appended.
    pub position: u64,
    /// Length of the payload in bytes.
    pub payload_len: u32,
}

/// Where a record lies. Valid until its segment is dropped, over restarts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Sequence number of the segment.
    pub segment: u64,
    /// Byte offset of the record's header in the segment.
    pub offset: u64,
    /// Length of the payload in bytes.
    pub payload_len: u32,
}

/// What an append waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The operating system has the bytes: they can be read, and survive this process but not the
    /// machine.
    Written,
    /// The bytes are on stable storage, and so is everything enqueued before them.
    Synced,
}
