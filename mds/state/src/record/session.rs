//! Sessions as stored, and recorded outcomes of the requests on their slots.
//!
//! Spec: docs/formats/state.md; docs/protocol/sessions.md §2.

use serde::{Deserialize, Serialize};
use wire_session::server::record::SessionRecord;

use crate::command::Outcome;

/// A session as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    /// The session's parameters.
    pub record: SessionRecord,
    /// The number of its resumptions, plus one.
    pub tenure: u32,
}

/// The last request on a slot that put a command into the log, and the outcomes of its commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// The request's sequence.
    pub sequence: u32,
    /// The request's fingerprint.
    pub request: u64,
    /// In the order of their execution; one for each operation at most.
    pub outcomes: Vec<Recorded>,
}

/// The outcome of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Position of the operation within its compound.
    pub operation: u32,
    /// Its command's outcome, reduced to what the reply needs.
    pub outcome: Outcome,
}

impl SlotRecord {
    /// The recorded outcome of an operation.
    #[must_use]
    pub fn outcome_of(&self, operation: u32) -> Option<&Outcome> {
        self.outcomes.iter().find(|one| one.operation == operation).map(|one| &one.outcome)
    }
}
