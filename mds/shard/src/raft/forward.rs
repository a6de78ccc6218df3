//! What a replica that follows asks of the one that leads: to propose an entry for it, and how far the log must be applied for a read.
//!
//! Procedures PROPOSE and READ_INDEX of docs/protocol/raft.md, postcard of these.

use serde::{Deserialize, Serialize};

use crate::command::Outcome;

/// An entry that is to be proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// As docs/formats/raft_log.md has it.
    #[serde(with = "serde_bytes")]
    pub(crate) entry: Vec<u8>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proposed {
    /// It is applied, at this place of the log.
    Done { index: u64, outcome: Box<Outcome> },
    /// The callee does not lead: nothing was done.
    NotLeading,
    /// Too many proposals wait, or the entry is none: nothing was done.
    Refused,
    /// It may have been, or yet be, carried out.
    Unknown,
}

/// Asks for the place up to which the log must be applied for a read that begins now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskIndex;

/// That place; none if the callee does not lead, or no majority answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadIndex {
    pub(crate) index: Option<u64>,
}
