//! The clients that were connected to service addresses of this node recently. They are woken up if
//! this node takes an address again that it had lost.
//!
//! The list of callers that a leader sends reaches only the other nodes. And once a guard has ended
//! the sockets of a hung process, none is left for it to list.
//!
//! Spec: docs/protocol/addresses.md §4.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mds_raft::Caller;
use mds_raft::limits::CALLERS_MAX;

use crate::limits::{ADDRESS_PRESENT_MS, CALLERS_KEPT_MS};

/// Connected clients, and those that were recently.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// How long each client is still remembered.
    left_ms: BTreeMap<Caller, u64>,
    looked_ms: u64,
}

impl Remembered {
    /// Records the connected clients. Time passes for the others while their address is here or at
    /// another leader: only then can they reconnect.
    pub(crate) fn note(
        &mut self,
        own: &BTreeSet<Caller>,
        is_somewhere: impl Fn(IpAddr) -> bool,
        now_ms: u64,
    ) {
        // While this process hung, no client could reconnect.
        let passed_ms = now_ms.saturating_sub(self.looked_ms).min(ADDRESS_PRESENT_MS);
        self.looked_ms = now_ms;
        let connected = own.iter().take(CALLERS_MAX).map(|caller| (*caller, CALLERS_KEPT_MS)).collect();
        for (caller, left_ms) in std::mem::replace(&mut self.left_ms, connected) {
            let passed_ms = if is_somewhere(caller.service.ip()) { passed_ms } else { 0 };
            // Connected clients have precedence.
            if passed_ms < left_ms && self.left_ms.len() < CALLERS_MAX {
                self.left_ms.entry(caller).or_insert(left_ms - passed_ms);
            }
        }
    }

    /// All of them: `CALLERS_MAX` at most.
    pub(crate) fn callers(&self) -> impl Iterator<Item = Caller> {
        self.left_ms.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(number: usize) -> Caller {
        let port = u16::try_from(number).unwrap();
        Caller { service: ([10, 0, 0, 100], 2049).into(), client: ([10, 0, 0, 7], port).into() }
    }

    fn callers(numbers: std::ops::Range<usize>) -> BTreeSet<Caller> {
        numbers.map(caller).collect()
    }

    fn remembered(remembered: &Remembered) -> BTreeSet<Caller> {
        remembered.callers().collect()
    }

    #[test]
    fn a_client_is_remembered_until_it_had_time_to_reconnect() {
        let mut own = Remembered::default();
        own.note(&callers(0..2), |_| true, 1_000);
        // One client disconnects while the address is here, another connects.
        let (mut now_ms, end_ms) = (1_000, 1_000 + CALLERS_KEPT_MS);
        while now_ms + 50 < end_ms {
            now_ms += 50;
            own.note(&callers(1..3), |_| true, now_ms);
            assert_eq!(remembered(&own), callers(0..3), "{now_ms}");
        }
        own.note(&callers(1..3), |_| true, end_ms);
        assert_eq!(remembered(&own), callers(1..3));
    }

    #[test]
    fn no_time_passes_while_the_address_is_nowhere_or_the_process_hangs() {
        let mut own = Remembered::default();
        own.note(&callers(0..2), |_| true, 1_000);
        for now_ms in (1_050..10 * CALLERS_KEPT_MS).step_by(50) {
            own.note(&BTreeSet::new(), |_| false, now_ms);
        }
        assert_eq!(remembered(&own), callers(0..2), "nowhere");
        own.note(&BTreeSet::new(), |_| true, 100 * CALLERS_KEPT_MS);
        assert_eq!(remembered(&own), callers(0..2), "hung");
    }

    #[test]
    fn they_are_so_many_at_most_and_those_that_are_connected_come_first() {
        let mut own = Remembered::default();
        own.note(&callers(0..CALLERS_MAX), |_| true, 0);
        let now = callers(CALLERS_MAX..CALLERS_MAX + 10);
        own.note(&now, |_| true, 50);
        let all = remembered(&own);
        assert!(all.len() == CALLERS_MAX && now.is_subset(&all));
        own.note(&callers(0..CALLERS_MAX + 10), |_| true, 100);
        assert_eq!(own.callers().count(), CALLERS_MAX);
    }
}
