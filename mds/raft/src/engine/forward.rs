//! Requests of a follower to its leader: to propose an entry, and for the index that a read must
//! wait for.
//!
//! Procedures PROPOSE and READ_INDEX of docs/protocol/raft.md, postcard of these types.

use mds_state::Outcome;
use serde::{Deserialize, Serialize};

/// An entry to propose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// Its bytes (docs/formats/raft_log.md).
    #[serde(with = "serde_bytes")]
    pub(crate) entry: Vec<u8>,
}

/// Result of a [`Proposal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proposed {
    /// It is applied, at this log index.
    Done { index: u64, outcome: Box<Outcome> },
    /// The callee does not lead: nothing was done.
    NotLeading,
    /// Too many proposals wait, or the bytes are no entry: nothing was done.
    Refused,
    /// It may have been carried out, or may still be.
    Unknown,
}

/// Requests the index up to which the log must be applied for a read that begins now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueryIndex;

/// That index; `None` if the callee does not lead, or no majority answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadIndex {
    pub(crate) index: Option<u64>,
}
