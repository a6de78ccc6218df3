//! Reports revoked layouts to clients, and forgets those that they free.
//!
//! Spec: RFC 8881 §18.38.3, §18.46.3.

use mds_state::StateidValue;
use wire_session::server::ClientRecord;

use crate::front::Front;
use crate::revoked::{Lost, Other, Revoked};

/// Records the revoked layout of a client that may still believe it holds it.
pub(crate) fn note_revoked(
    (front, revoked): (&Front, &Revoked),
    record: &ClientRecord,
    other: Other,
    now_ms: u64,
) {
    if !is_told(&record.implementation) {
        return;
    }
    let mut sessions = front.sessions.lock();
    let expired = sessions.expired(now_ms).contains(&record.client);
    let lost = if expired { Lost::Expired } else { Lost::NotReturned };
    if revoked.note(record.client, other, lost) {
        sessions.raise_flags(record.client, lost.flag());
    }
}

/// FREE_STATEID of a revoked layout. False if it was not revoked.
pub(crate) fn free_revoked((front, revoked): (&Front, &Revoked), client: u64, stateid: StateidValue) -> bool {
    let Some((lost, others)) = revoked.free(client, stateid.other) else { return false };
    if !others {
        front.sessions.lock().lower_flags(client, lost.flag());
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
