//! Reports revoked layouts to clients, and forgets those that they free.
//!
//! Spec: RFC 8881 §18.38.3, §18.46.3.

use mds_shard::StateidValue;

use crate::revoked::{Lost, Other};
use crate::server::Server;

/// Records the revoked layout of a client that may still believe it holds it.
pub(crate) fn note_revoked(server: &Server, client: u64, other: Other) {
    let Ok(Ok(Some(stored))) = server.view().map(|view| view.client(client)) else { return };
    if !is_told(&stored.record.implementation) {
        return;
    }
    let expired = server.front.sessions.lock().expired(server.now_ms()).contains(&client);
    let lost = if expired { Lost::Expired } else { Lost::NotReturned };
    if server.revoked.note(client, other, lost) {
        server.front.sessions.lock().raise_flags(client, lost.flag());
    }
}

/// FREE_STATEID of a revoked layout. False if it was not revoked.
pub(crate) fn free_revoked(server: &Server, client: u64, stateid: StateidValue) -> bool {
    let Some((lost, others)) = server.revoked.free(client, stateid.other) else { return false };
    if !others {
        server.front.sessions.lock().lower_flags(client, lost.flag());
    }
    true
}

/// Whether a client with this implementation name gets revocation flags.
fn is_told(implementation: &str) -> bool {
    !implementation.is_empty() && !implementation.starts_with("Linux ")
}

#[cfg(test)]
mod tests {
    use super::is_told;

    #[test]
    fn a_linux_client_gets_no_flags() {
        assert!(is_told("pynfs X.X"));
        assert!(!is_told("Linux 7.2.1 #1 SMP x86_64"));
        assert!(!is_told(""));
    }
}
