//! Ends a client whose lease ran out, and cleans up after the log has dropped one.
//!
//! Spec: RFC 8881 §8.4.2.4.

use env_transport::LogRate;
use mds_state::command::client::{RemoveClient, RemovedClient};
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;

use crate::server::Server;

/// Whether expired leases count here. Not in a term other than the one in which they were
/// restarted: another node may have led and renewed them.
pub(crate) fn leases_count(server: &Server) -> bool {
    let term = server.shards.leading_term();
    term.is_some() && term == server.courtesy.term()
}

/// Ends a client whose lease ran out.
pub(crate) async fn expire(server: &Server, client: u64) {
    static RATE: LogRate = LogRate::new();
    if let Some(suppressed) = RATE.admit(server.now_ms()) {
        tracing::info!(client, suppressed, "lease ran out");
    }
    match server.propose(Command::RemoveClient(RemoveClient { client, only_if_idle: false })).await {
        Ok(Outcome::Removed(removed)) => client_gone(server, &removed),
        Ok(_) | Err(Nfsstat4::StaleClientid) => server.front.sessions.lock().drop_client(client),
        Err(status) => tracing::warn!(client, status = status.name(), "client not removed"),
    }
}

/// Cleans up after the log has dropped a client: its sessions end, and files it was writing get
/// their size from the data servers.
pub(crate) fn client_gone(server: &Server, removed: &RemovedClient) {
    server.front.sessions.lock().drop_client(removed.client);
    server.revoked.forget(removed.client);
    // Its handles are fenced first.
    server.work.wake();
    if !removed.wrote.is_empty() {
        server.settling.wake();
    }
}

/// Returns once no shard holds state of an ended client, or at a time limit.
pub(crate) async fn gone_everywhere(server: &Server, client: u64) {
    server.shards.forgotten(client).await;
    server.settling.wake();
}
