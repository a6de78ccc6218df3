//! The heartbeat between two nodes: procedure NODE_HEARTBEAT of docs/protocol/raft.md, postcard of
//! these types.

use serde::{Deserialize, Serialize};

/// A shard that the sender leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Led {
    pub(crate) shard: u32,
    pub(crate) term: u64,
    /// The shard sends no heartbeats of its own: this one stands for them.
    pub(crate) hibernates: bool,
}

/// From one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) from: u64,
    /// Differs at each start of the node.
    pub(crate) start: u64,
    /// Version of the list of shards that it leads.
    pub(crate) version: u64,
    /// That list, unless the receiver has acknowledged this version.
    pub(crate) leads: Option<Vec<Led>>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BeatReply {
    pub(crate) start: u64,
    /// The version of the sender's list that this node has; 0: none.
    pub(crate) version: u64,
    /// Shards of that list of which this node knows another leader, another term, or none.
    pub(crate) refused: Vec<u32>,
}
