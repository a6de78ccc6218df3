//! Ends clients whose lease ran out (`courtesy.rs` says which), clears up after clients that are gone, and looks at what the others hold.
//!
//! Spec: RFC 8881 §8.3, §8.4.2.4.

use env_transport::LogRate;
use std::sync::Arc;

use mds_shard::command::client::{RemoveClient, RemovedClient};
use mds_shard::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;

use crate::courtesy;
use crate::recall_any::{self, Asked};
use crate::server::Server;

/// Between two looks at the leases.
const ROUND_MS: u64 = 1000;

/// Looks at the leases for as long as the server lives. When this node begins to lead, all leases start in full.
pub(crate) async fn drive(server: Arc<Server>) {
    let mut asked = Asked::default();
    loop {
        let term = server.shards.leading_term();
        if term != server.courtesy.term() {
            server.courtesy.begin(term.filter(|_| restart_leases(&server)));
        }
        if server.courtesy.term().is_some() {
            courtesy::look(&server, expired(&server)).await;
            look_at_layouts(&server, &mut asked);
        }
        server.env.clock.sleep_ms(ROUND_MS).await;
    }
}

/// False if it cannot be told now whose leases there are.
fn restart_leases(server: &Server) -> bool {
    let clients = match server.view().map(|view| view.clients()) {
        Ok(Ok(clients)) => clients,
        Ok(Err(error)) => {
            tracing::error!(%error, "clients cannot be read");
            return false;
        }
        Err(_) => return false,
    };
    let now_ms = server.now_ms();
    let ids = clients.iter().map(|client| client.record.client);
    server.front.sessions.lock().leases_mut().restart(ids, now_ms);
    true
}

fn expired(server: &Server) -> Vec<u64> {
    server.front.sessions.lock().expired(server.now_ms())
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

/// What is left to do when the log has dropped a client: its sessions end, and files it was writing get their size from
/// the data servers.
pub(crate) fn client_gone(server: &Server, removed: &RemovedClient) {
    server.front.sessions.lock().drop_client(removed.client);
    server.revoked.forget(removed.client);
    // Its handles are fenced first.
    server.work.wake();
    if !removed.wrote.is_empty() {
        server.settling.wake();
    }
}

/// Returns when a client that is gone is in nobody's way in any shard, or that takes too long.
pub(crate) async fn gone_everywhere(server: &Server, client: u64) {
    server.shards.forgotten(client).await;
    server.settling.wake();
}

/// Counts what clients hold, and asks those that hold too much.
fn look_at_layouts(server: &Arc<Server>, asked: &mut Asked) {
    let Ok(view) = server.view() else { return };
    let Ok(clients) = view.clients() else { return };
    let mut layouts = 0;
    for client in &clients {
        let Ok(tally) = view.tally(client.record.client) else { continue };
        layouts += u64::from(tally.layouts);
        recall_any::ask_if_many(server, asked, client.record.client, tally.layouts);
    }
    asked.keep_only(|id| clients.iter().any(|client| client.record.client == id));
    server.metrics.set_state(clients.len() as u64, layouts);
}
