//! Ends clients whose lease ran out (`courtesy.rs` says which), clears up after clients that are gone, and looks at what the others hold.
//!
//! Spec: RFC 8881 §8.3, §8.4.2.4.

use std::sync::Arc;

use mds_namespace::Ino;
use mds_shard::command::client::{RemoveClient, RemovedClient};
use mds_shard::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;

use crate::courtesy;
use crate::limits::{SIZE_WAIT_MS_MAX, SIZES_WAIT_MS_MAX};
use crate::recall_any::{self, Asked};
use crate::server::Server;
use crate::status;

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
            ask_sizes(&server, server.shards.take_written()).await;
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
    tracing::info!(client, "lease ran out");
    match server.propose(Command::RemoveClient(RemoveClient { client, only_if_idle: false })).await {
        Ok(Outcome::Removed(removed)) => client_gone(server, &removed).await,
        Ok(_) | Err(Nfsstat4::StaleClientid) => server.front.sessions.lock().drop_client(client),
        Err(status) => tracing::warn!(client, status = status.name(), "client not removed"),
    }
}

/// What is left to do when the log has dropped a client: its sessions end, and files it was writing get their size from
/// the data servers.
pub(crate) async fn client_gone(server: &Server, removed: &RemovedClient) {
    server.front.sessions.lock().drop_client(removed.client);
    server.revoked.forget(removed.client);
    ask_sizes(server, removed.wrote.clone()).await;
}

/// Returns when a client that is gone is in nobody's way in any shard, or that takes too long.
pub(crate) async fn gone_everywhere(server: &Server, client: u64) {
    server.shards.forgotten(client).await;
    ask_sizes(server, server.shards.take_written()).await;
}

/// Of files that clients were writing that are gone. Those that it takes too long for are asked for later: first those whose turn did not come,
/// behind them those of which a data server says nothing.
async fn ask_sizes(server: &Server, wrote: Vec<Ino>) {
    if wrote.is_empty() {
        return;
    }
    server.work.wake();
    let end_ms = server.now_ms() + SIZES_WAIT_MS_MAX;
    let mut tried = Vec::new();
    for ino in wrote {
        if end_ms <= server.now_ms() {
            server.shards.note_written(ino);
            continue;
        }
        let late = server.env.clock.sleep_ms(SIZE_WAIT_MS_MAX);
        let asked = tokio::select! {
            biased;
            asked = ask_size(server, ino) => asked,
            () = late => Err(Nfsstat4::Delay),
        };
        match asked {
            Ok(()) => {}
            Err(Nfsstat4::Delay) => tried.push(ino),
            Err(status) => {
                tracing::warn!(
                    ino,
                    status = status.name(),
                    "size of a file written by a lost client is not known"
                );
            }
        }
    }
    tried.into_iter().for_each(|ino| server.shards.note_written(ino));
}

async fn ask_size(server: &Server, ino: Ino) -> Result<(), Nfsstat4> {
    match server.view().and_then(|view| view.inode(ino).map_err(|e| status::of_refusal(&e))) {
        Ok(inode) => server.whole_size_from_homes(inode).await,
        Err(Nfsstat4::Delay) => Err(Nfsstat4::Delay),
        // It was removed.
        Err(_) => Ok(()),
    }
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
