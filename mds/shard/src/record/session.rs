//! Sessions as stored, and what requests on their slots came to.
//!
//! Spec: docs/formats/state.md; docs/protocol/sessions.md §2.

use serde::{Deserialize, Serialize};
use wire_session::server::record::SessionRecord;

use crate::command::Outcome;

/// A session as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    /// What it is made of.
    pub record: SessionRecord,
    /// How often it was taken up, and once more.
    pub tenure: u32,
}

/// The last request on a slot that put a command into the log, and what its commands came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// The request's sequence.
    pub sequence: u32,
    /// The request's fingerprint.
    pub request: u64,
    /// In the order in which they were carried out; one for each operation at most.
    pub outcomes: Vec<Recorded>,
}

/// What one operation came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Position of the operation within its compound.
    pub operation: u32,
    /// What its command came to, cut to what its reply needs.
    pub outcome: Outcome,
}

impl SlotRecord {
    /// What is recorded of an operation.
    #[must_use]
    pub fn of(&self, operation: u32) -> Option<&Outcome> {
        self.outcomes.iter().find(|one| one.operation == operation).map(|one| &one.outcome)
    }
}
