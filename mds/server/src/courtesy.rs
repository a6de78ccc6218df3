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
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The term in which this node leads and has begun all leases anew.
    term: Option<u64>,
    clients: BTreeSet<u64>,
}

impl Courtesy {
    /// All leases were begun anew in a term; `None` if they do not count: this node does not lead, or cannot tell whose there are.
    pub(crate) fn begin(&self, term: Option<u64>) {
        *self.kept.lock() = Kept { term, clients: BTreeSet::new() };
    }

    /// In which term leases were begun anew.
    pub(crate) fn term(&self) -> Option<u64> {
        self.kept.lock().term
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.kept.lock().clients.len()
    }

    /// Whether a client's lease has run out.
    pub(crate) fn has(&self, client: u64) -> bool {
        self.kept.lock().clients.contains(&client)
    }
}

/// Decides about all clients whose lease has run out.
pub(crate) async fn look(server: &Arc<Server>, expired: Vec<u64>) {
    let now_ms = server.now_ms();
    server.courtesy.kept.lock().clients.retain(|client| expired.contains(client));
    let silent_ms = |client| server.front.sessions.lock().leases_mut().silent_ms(client, now_ms).unwrap_or(0);
    let kept_ms = server.config.lease_ms.saturating_add(server.config.courtesy_ms);
    for client in expired {
        if !server.leases_count() {
            return;
        }
        let is_late = kept_ms <= silent_ms(client);
        if !is_late && server.courtesy.has(client) {
            continue;
        }
        let goes =
            is_late || server.courtesy.count() == COURTESY_CLIENTS_MAX || !holds_something(server, client);
        // To end those before it may have taken long: it may have come back meanwhile.
        if goes && !server.front.sessions.lock().expired(server.now_ms()).contains(&client) {
            continue;
        }
        if goes {
            server.courtesy.kept.lock().clients.remove(&client);
            expire(server, client).await;
        } else {
            tracing::info!(client, "lease ran out: what it holds is kept until somebody wants it");
            server.courtesy.kept.lock().clients.insert(client);
        }
    }
}

/// Whether there is anything to keep. If that cannot be told, there is.
fn holds_something(server: &Server, client: u64) -> bool {
    let tally = server.view().and_then(|view| view.tally(client).map_err(|e| crate::status::of_refusal(&e)));
    !matches!(tally, Ok(tally) if tally == Tally::default())
}

impl Server {
    /// Whether it counts here that a lease has run out. In another term than that in which they were begun it does not: another node may have
    /// led and renewed them.
    fn leases_count(&self) -> bool {
        let term = self.shards.leading_term();
        term.is_some() && term == self.courtesy.term()
    }

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

    /// Another principal wants the name of a client: if only courtesy keeps that one, it goes.
    ///
    /// Spec: RFC 8881 §18.35.4, case 3 (the client in the way has no state, or its lease has
    /// expired).
    pub(crate) async fn give_way_to_principal(self: &Arc<Self>, owner: &[u8], principal: &[u8]) {
        if self.courtesy.count() == 0 {
            return;
        }
        let Ok(view) = self.view() else { return };
        let confirmed = view.clients_of_owner(owner).ok().and_then(|clients| clients.confirmed);
        let Some(client) = confirmed else { return };
        let is_others =
            matches!(view.client(client), Ok(Some(stored)) if stored.record.principal != principal);
        drop(view);
        if is_others {
            self.give_way(vec![client]).await;
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
            if self.leases_count() && self.front.sessions.lock().expired(self.now_ms()).contains(&client) {
                tracing::info!(client, "kept beyond its lease, and now in another client's way");
                self.courtesy.kept.lock().clients.remove(&client);
                expire(self, client).await;
                gone_everywhere(self, client).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire_nfs::v4::SessionId;

    use super::*;
    use crate::front::tests::server;
    use crate::shards::tests::guest::guest;

    /// Another node may have led meanwhile, to which the client came back: what this one remembers of its lease is of an earlier term.
    #[tokio::test]
    async fn a_lease_of_another_term_ends_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (server, clock) = server(dir.path()).await;
        let guest = guest(&server.shards, "one").await;
        server.hold_session(SessionId(guest.session)).await.unwrap();
        let is_known = || server.view().unwrap().client(guest.client).unwrap().is_some();
        let term = server.shards.leading_term();
        clock.advance_ms(server.config.lease_ms + server.config.courtesy_ms + 1);
        assert!(server.front.sessions.lock().expired(server.now_ms()).contains(&guest.client));
        for other in [None, term.map(|term| term - 1)] {
            server.courtesy.begin(other);
            look(&server, vec![guest.client]).await;
            server.courtesy.kept.lock().clients.insert(guest.client);
            server.give_way(vec![guest.client]).await;
            assert!(is_known(), "{other:?}");
        }
        server.courtesy.begin(term);
        server.give_way(vec![guest.client]).await;
        assert!(is_known(), "it is not kept out of courtesy");
        server.courtesy.kept.lock().clients.insert(guest.client);
        server.give_way(vec![guest.client]).await;
        assert!(!is_known());
        server.shards.stop().await;
    }
}
