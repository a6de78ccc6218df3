//! The end of the engine of a shard.

use mds_raft::{EngineStopped, Node};

/// Returns when the engine of a shard of the node has stopped unasked; never without a node.
pub(super) async fn failed(node: Option<&Node>) -> EngineStopped {
    match node {
        Some(node) => node.failed().await,
        None => std::future::pending().await,
    }
}
