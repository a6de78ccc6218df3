//! Who governs a shard, and acts on several shards that it keeps.
//!
//! Spec: docs/formats/state.md; docs/protocol/shards.md.

use mds_namespace::store::draft::Part;
use serde::{Deserialize, Serialize};

/// Who governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governor {
    /// The term in which that node leads shard 0; 0 before the first.
    pub term: u64,
}

/// An act on several shards that is real, and not yet known to be written by all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What the others are to write.
    pub parts: Vec<Part>,
}
