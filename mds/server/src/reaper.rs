//! Finds clients whose lease ran out, keeps them (`courtesy.rs`) or ends them (`client_end.rs`),
//! and limits the layouts of the others.
//!
//! Spec: RFC 8881 §8.3, §8.4.2.4.

use std::sync::Arc;

use mds_state::record::Tally;

use crate::client_end::{expire, leases_count};
use crate::limits::COURTESY_CLIENTS_MAX;
use crate::recall_any::{self, Asked};
use crate::server::Server;

/// Interval of the checks of the leases.
const ROUND_MS: u64 = 1000;

/// Checks the leases for as long as the server lives. When this node begins to lead, all leases
/// start in full.
pub(crate) async fn drive_leases(server: Arc<Server>) {
    let mut asked = Asked::default();
    loop {
        let term = server.shards.leading_term();
        if term != server.courtesy.term() {
            server.courtesy.begin_term(term.filter(|_| restart_leases(&server)));
        }
        if server.courtesy.term().is_some() {
            expire_or_keep(&server, expired(&server)).await;
            limit_layouts(&server, &mut asked);
        }
        server.env.clock.sleep_ms(ROUND_MS).await;
    }
}

/// Starts all leases in full. False if the clients cannot be read now.
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

/// Expires or keeps each client whose lease has run out.
pub(crate) async fn expire_or_keep(server: &Arc<Server>, expired: Vec<u64>) {
    let now_ms = server.now_ms();
    server.courtesy.kept.lock().clients.retain(|client| expired.contains(client));
    let silent_ms = |client| server.front.sessions.lock().leases_mut().silent_ms(client, now_ms).unwrap_or(0);
    let kept_ms = server.config.lease_ms.saturating_add(server.config.courtesy_ms);
    for client in expired {
        if !leases_count(server) {
            return;
        }
        let is_late = kept_ms <= silent_ms(client);
        if !is_late && server.courtesy.has(client) {
            continue;
        }
        let goes =
            is_late || server.courtesy.count() == COURTESY_CLIENTS_MAX || !holds_something(server, client);
        // Expiring the clients before this one may have taken long: it may have renewed its lease.
        if goes && !server.front.sessions.lock().expired(server.now_ms()).contains(&client) {
            continue;
        }
        if goes {
            server.courtesy.kept.lock().clients.remove(&client);
            expire(server, client).await;
        } else {
            tracing::info!(client, "lease ran out: its state is kept until another client wants it");
            server.courtesy.kept.lock().clients.insert(client);
        }
    }
}

/// Whether a client holds any state. True if that cannot be read.
fn holds_something(server: &Server, client: u64) -> bool {
    let tally = server.view().and_then(|view| view.tally(client).map_err(|e| crate::status::of_refusal(&e)));
    !matches!(tally, Ok(tally) if tally == Tally::default())
}

/// Counts the clients' layouts, and sends CB_RECALL_ANY to those with too many.
fn limit_layouts(server: &Arc<Server>, asked: &mut Asked) {
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
