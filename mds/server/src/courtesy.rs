//! Clients whose lease ran out while they held something: it is kept until somebody wants what it is in the way of, or for too long.
//!
//! A client behind a partition so comes back to its opens and locks if nobody missed them. Layouts are asked back like any other's, and taken
//! when there is no answer (`recall.rs`). Who is here is not in the log: another leader starts all leases in full.
//!
//! INVARIANT: a client whose lease holds loses nothing to another's request.
//! Spec: RFC 8881 §8.4.2.4 (a server may keep state beyond the lease).

use std::collections::BTreeSet;
use std::sync::Arc;

use mds_namespace::{Caller, Ino, op};
use mds_shard::command::lock::Range;
use mds_shard::command::open::{Share, Target};
use mds_shard::record::Tally;
use parking_lot::Mutex;

use crate::limits::COURTESY_CLIENTS_MAX;
use crate::reaper::{expire, gone_everywhere};
use crate::server::Server;

/// Clients whose lease has run out and whose state is kept.
#[derive(Default)]
pub(crate) struct Courtesy {
    clients: Mutex<BTreeSet<u64>>,
}

impl Courtesy {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.clients.lock().len()
    }

    fn has(&self, client: u64) -> bool {
        self.clients.lock().contains(&client)
    }
}

/// Decides about all clients whose lease has run out.
pub(crate) async fn look(server: &Arc<Server>, expired: Vec<u64>) {
    let now_ms = server.now_ms();
    server.courtesy.clients.lock().retain(|client| expired.contains(client));
    let silent_ms = |client| server.front.sessions.lock().leases_mut().silent_ms(client, now_ms).unwrap_or(0);
    let kept_ms = server.config.lease_ms.saturating_add(server.config.courtesy_ms);
    for client in expired {
        let is_late = kept_ms <= silent_ms(client);
        if !is_late && server.courtesy.has(client) {
            continue;
        }
        if is_late || server.courtesy.count() == COURTESY_CLIENTS_MAX || !holds_something(server, client) {
            server.courtesy.clients.lock().remove(&client);
            expire(server, client).await;
        } else {
            tracing::info!(client, "lease ran out: what it holds is kept until somebody wants it");
            server.courtesy.clients.lock().insert(client);
        }
    }
}

/// Whether there is anything to keep. If that cannot be told, there is.
fn holds_something(server: &Server, client: u64) -> bool {
    let tally = server.view().and_then(|view| view.tally(client).map_err(|e| crate::status::of_refusal(&e)));
    !matches!(tally, Ok(tally) if tally == Tally::default())
}

impl Server {
    /// Somebody wants to lock a range of a file: clients that are kept out of courtesy and are in the way go.
    pub(crate) async fn give_way_to_lock(self: &Arc<Self>, ino: Ino, range: Range, exclusive: bool) {
        if self.courtesy.count() == 0 {
            return;
        }
        let found = self.view().map(|view| view.lock_holders(ino, range, exclusive));
        if let Ok(Ok(holders)) = found {
            self.give_way(holders).await;
        }
    }

    /// Somebody wants to open a file.
    pub(crate) async fn give_way_to_open(self: &Arc<Self>, target: &Target, share: Share) {
        if self.courtesy.count() == 0 {
            return;
        }
        let Ok(view) = self.view() else { return };
        let ino = match target {
            Target::Handle { ino, .. } | Target::Foreign { ino, .. } => *ino,
            Target::Name { directory, name } | Target::Create { directory, name, .. } => {
                // Whether the caller may look there, the OPEN says.
                match op::lookup::find(view.namespace(), &Caller::default(), *directory, name) {
                    Ok(Some(inode)) => inode.ino,
                    Ok(None) | Err(_) => return,
                }
            }
        };
        let Ok(opens) = view.opens_of(ino) else { return };
        drop(view);
        let in_the_way = opens
            .iter()
            .filter(|open| share.access & open.share.deny != 0 || share.deny & open.share.access != 0);
        self.give_way(in_the_way.map(|open| open.client).collect()).await;
    }

    async fn give_way(self: &Arc<Self>, holders: Vec<u64>) {
        let holders: BTreeSet<u64> =
            holders.into_iter().filter(|client| self.courtesy.has(*client)).collect();
        for client in holders {
            // It may have come back since the last look.
            if self.front.sessions.lock().expired(self.now_ms()).contains(&client) {
                tracing::info!(client, "kept beyond its lease, and now in another client's way");
                self.courtesy.clients.lock().remove(&client);
                expire(self, client).await;
                gone_everywhere(self, client).await;
            }
        }
    }
}
