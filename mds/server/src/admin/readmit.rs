//! MDS_READMIT: takes in again a metadata server that lost its disk and was started with an empty
//! directory.
//!
//! The node (`mds_raft`) does it, and continues by itself. This file makes the reply to the
//! administrator.
//!
//! Spec: docs/protocol/admin.md §7.

use mds_raft::{Readmission, ReadmitError};
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::Readmitted;

use crate::server::Server;

/// Begins the readmission, or reports its progress if it has begun.
pub(super) async fn readmit_server(server: &Server, number: u64) -> Result<Readmitted, Refusal> {
    // Shards that were not started as one node have no other members to readmit.
    let Some(node) = server.shards.node() else { return Err(Refusal::Busy) };
    match node.readmit(number).await {
        Ok(Readmission { shards, done }) => {
            if done == shards {
                tracing::info!(
                    number,
                    shards,
                    "all shards have a metadata server that was to be taken in again"
                );
            }
            Ok(Readmitted { words: String::new(), shards, done })
        }
        Err(ReadmitError::NotLeader) => Err(server.not_leader(server.shards.leader())),
        Err(ReadmitError::Unavailable) => Err(Refusal::Busy),
        Err(error @ ReadmitError::Shards { .. }) => Ok(no(error.to_string())),
        Err(ReadmitError::Unknown(number)) => Ok(no(format!("no metadata server has the number {number}"))),
        Err(ReadmitError::Unreachable(number)) => Ok(no(format!(
            "metadata server {number} does not answer: start it under its number, with an empty directory if its own is gone, \
             and ask again"
        ))),
    }
}

fn no(words: String) -> Readmitted {
    Readmitted { words, ..Readmitted::default() }
}
