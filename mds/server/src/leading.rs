//! What only the leader may do: everything else is refused, and names the leader if it is known.
//!
//! Spec: docs/protocol/admin.md §1.

use mds_shard::ProposeError;
use wire_nfs::control::Refusal;

use crate::server::Server;

/// Refuses what only the leader may do.
///
/// # Errors
/// `NotLeader`.
pub(crate) fn check_leading(server: &Server) -> Result<(), Refusal> {
    if server.shards.is_leader() {
        return Ok(());
    }
    Err(server.not_leader(server.shards.leader()))
}

/// What a caller is answered whose command has no outcome.
pub(crate) fn refusal_of(server: &Server, error: ProposeError) -> Refusal {
    match error {
        ProposeError::NotLeader { leader } => server.not_leader(leader),
        _ => Refusal::Busy,
    }
}
