//! Expires courtesy clients in conflict with an OPEN, a lock, or another principal.
//!
//! Layouts are recalled like any other client's, and revoked without an answer (`recall.rs`).
//!
//! INVARIANT: a client with a valid lease loses nothing to another's request.
//! Spec: RFC 8881 §8.4.2.4.

use std::collections::BTreeSet;
use std::sync::Arc;

use mds_namespace::{Caller, Ino, op};
use mds_state::command::lock::Range;
use mds_state::command::open::{Share, Target};

use crate::client_end::{expire, gone_everywhere, leases_count};
use crate::server::Server;

/// Before a LOCK: expires courtesy clients with conflicting locks.
pub(crate) async fn give_way_to_lock(server: &Arc<Server>, ino: Ino, range: Range, exclusive: bool) {
    if server.courtesy.count() == 0 {
        return;
    }
    let found = server.view().map(|view| view.lock_holders(ino, range, exclusive));
    if let Ok(Ok(holders)) = found {
        give_way(server, holders).await;
    }
}

/// Before an EXCHANGE_ID by another principal: expires the owner's client if only courtesy
/// keeps it.
///
/// Spec: RFC 8881 §18.35.4, case 3 (the client in the way has no state, or its lease has
/// expired).
pub(crate) async fn give_way_to_principal(server: &Arc<Server>, owner: &[u8], principal: &[u8]) {
    if server.courtesy.count() == 0 {
        return;
    }
    let Ok(view) = server.view() else { return };
    let confirmed = view.clients_of_owner(owner).ok().and_then(|clients| clients.confirmed);
    let Some(client) = confirmed else { return };
    let is_others = matches!(view.client(client), Ok(Some(stored)) if stored.record.principal != principal);
    drop(view);
    if is_others {
        give_way(server, vec![client]).await;
    }
}

/// Before an OPEN: expires courtesy clients with conflicting share reservations.
pub(crate) async fn give_way_to_open(server: &Arc<Server>, target: &Target, share: Share) {
    if server.courtesy.count() == 0 {
        return;
    }
    let Ok(view) = server.view() else { return };
    let ino = match target {
        Target::Handle { ino, .. } | Target::Foreign { ino, .. } => *ino,
        Target::Name { directory, name } | Target::Create { directory, name, .. } => {
            // The OPEN checks whether the caller may look up the name.
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
    give_way(server, in_the_way.map(|open| open.client).collect()).await;
}

async fn give_way(server: &Arc<Server>, holders: Vec<u64>) {
    let holders: BTreeSet<u64> = holders.into_iter().filter(|client| server.courtesy.has(*client)).collect();
    for client in holders {
        // It may have renewed its lease since the last check.
        if leases_count(server) && server.front.sessions.lock().expired(server.now_ms()).contains(&client) {
            tracing::info!(client, "expired: kept out of courtesy, and in conflict with another client");
            server.courtesy.kept.lock().clients.remove(&client);
            expire(server, client).await;
            gone_everywhere(server, client).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use wire_nfs::v4::SessionId;

    use super::*;
    use crate::front::tests::server;
    use crate::reaper::expire_or_keep;
    use crate::shards::tests::guest::guest;

    /// Another node may have led meanwhile, and renewed the client's lease: the lease that this
    /// node remembers is of an earlier term.
    #[tokio::test]
    async fn a_lease_of_another_term_expires_no_client() {
        let dir = tempfile::tempdir().unwrap();
        let (server, clock) = server(dir.path()).await;
        let guest = guest(&server.shards, "one").await;
        server.hold_session(SessionId(guest.session)).await.unwrap();
        let is_known = || server.view().unwrap().client(guest.client).unwrap().is_some();
        let term = server.shards.leading_term();
        clock.advance_ms(server.config.lease_ms + server.config.courtesy_ms + 1);
        assert!(server.front.sessions.lock().expired(server.now_ms()).contains(&guest.client));
        for other in [None, term.map(|term| term - 1)] {
            server.courtesy.begin_term(other);
            expire_or_keep(&server, vec![guest.client]).await;
            server.courtesy.kept.lock().clients.insert(guest.client);
            give_way(&server, vec![guest.client]).await;
            assert!(is_known(), "{other:?}");
        }
        server.courtesy.begin_term(term);
        give_way(&server, vec![guest.client]).await;
        assert!(is_known(), "it is not kept out of courtesy");
        server.courtesy.kept.lock().clients.insert(guest.client);
        give_way(&server, vec![guest.client]).await;
        assert!(!is_known());
        server.shards.stop().await;
    }
}
