//! The governor of a shard, and intents of acts on several shards.
//!
//! Spec: docs/formats/state.md; docs/protocol/shards.md.

use mds_namespace::store::draft::Part;
use serde::{Deserialize, Serialize};

/// The governor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governor {
    /// The term in which that node leads shard 0; 0 before the first.
    pub term: u64,
}

/// An act on several shards that is decided, and not yet known to be written by all shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The parts of the other shards.
    pub parts: Vec<Part>,
}
