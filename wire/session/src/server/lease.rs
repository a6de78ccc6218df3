//! Leases: when the server last heard of each client.
//!
//! Times are milliseconds of any clock that never goes back, given by the caller. Says who is late;
//! what becomes of their state is decided elsewhere.
//!
//! Spec: RFC 8881 §8.3, §8.4.

use std::collections::BTreeMap;

/// The leases of all clients, confirmed or not.
#[derive(Debug)]
pub struct Leases {
    lease_ms: u64,
    renewed_ms: BTreeMap<u64, u64>,
}

impl Leases {
    /// No clients yet.
    #[must_use]
    pub fn new(lease_ms: u64) -> Self {
        Self { lease_ms, renewed_ms: BTreeMap::new() }
    }

    /// How long a lease lasts.
    ///
    /// # Units
    /// Milliseconds.
    #[must_use]
    pub fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// A client was heard.
    pub fn renew(&mut self, client: u64, now_ms: u64) {
        let renewed_ms = self.renewed_ms.entry(client).or_insert(now_ms);
        *renewed_ms = now_ms.max(*renewed_ms);
    }

    /// Every one of these clients gets a full lease from now on: after a restart the server does
    /// not know when it last heard of them, and they may not suffer for it. Others are forgotten.
    pub fn restart(&mut self, clients: impl IntoIterator<Item = u64>, now_ms: u64) {
        self.renewed_ms = clients.into_iter().map(|client| (client, now_ms)).collect();
        debug_assert!(self.expired(now_ms).next().is_none(), "a restart gives full leases");
    }

    /// The client is gone.
    pub fn forget(&mut self, client: u64) {
        self.renewed_ms.remove(&client);
    }

    /// The clients that were not heard for longer than a lease, by id. They stay here until
    /// forgotten or heard again.
    pub fn expired(&self, now_ms: u64) -> impl Iterator<Item = u64> + '_ {
        let lease_ms = self.lease_ms;
        self.renewed_ms
            .iter()
            .filter(move |(_, renewed_ms)| renewed_ms.saturating_add(lease_ms) < now_ms)
            .map(|(client, _)| *client)
    }

    /// Milliseconds since a client was heard; `None` if it is not known.
    #[must_use]
    pub fn silent_ms(&self, client: u64, now_ms: u64) -> Option<u64> {
        self.renewed_ms.get(&client).map(|renewed_ms| now_ms.saturating_sub(*renewed_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(leases: &Leases, now_ms: u64) -> Vec<u64> {
        leases.expired(now_ms).collect()
    }

    #[test]
    fn a_silent_client_is_late() {
        let mut leases = Leases::new(90_000);
        leases.renew(1, 0);
        leases.renew(2, 50_000);
        assert_eq!(late(&leases, 90_000), []);
        assert_eq!(late(&leases, 90_001), [1]);
        assert_eq!(late(&leases, 140_001), [1, 2]);
        leases.renew(1, 140_001);
        leases.forget(2);
        assert_eq!(late(&leases, 200_000), []);
        assert_eq!(leases.silent_ms(1, 140_003), Some(2));
        assert_eq!(leases.silent_ms(2, 0), None);
    }

    #[test]
    fn a_restart_gives_full_leases() {
        let mut leases = Leases::new(1000);
        leases.renew(7, 0);
        leases.restart([1, 2], 5000);
        assert_eq!(late(&leases, 6000), []);
        assert_eq!(late(&leases, 6001), [1, 2]);
    }

    #[test]
    fn time_that_seems_to_go_back_shortens_no_lease() {
        let mut leases = Leases::new(1000);
        leases.renew(1, 5000);
        leases.renew(1, 10);
        assert_eq!(late(&leases, 6000), []);
    }
}
