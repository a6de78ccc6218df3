//! Service addresses on this node: when they are taken, announced, renewed and given up.
//!
//! [`Holder`] carries out a decision made elsewhere: the list of addresses that belong here now.
//! Today that is all of them on the leader, and none on other nodes (`drive`). Time goes in, acts
//! come out: no I/O happens here.
//!
//! INVARIANT: an address that does not belong here is removed at the next pass, whatever else
//! fails.
//! Spec: docs/protocol/addresses.md §2.

pub(crate) mod drive;
mod remembered;
pub(crate) mod service;
mod untaken;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use env::{Addresses, ServiceAddress};

use crate::limits::{ADDRESS_ANNOUNCED_AT_MS, ADDRESS_OUTLIVED_MS, ADDRESS_RENEW_AGAIN_MS, ADDRESS_RENEW_MS};

/// Service addresses, and the means to configure them.
#[derive(Clone)]
pub struct ServiceAddresses {
    /// The addresses of the cluster, the same on all nodes.
    pub addresses: Vec<ServiceAddress>,
    /// Configures them on the machine.
    pub door: Arc<dyn Addresses>,
}

impl fmt::Debug for ServiceAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceAddresses").field(&self.addresses).finish()
    }
}

/// A change to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Configure it.
    Take(ServiceAddress),
    /// Announce it to the network, and to the clients that were connected to it elsewhere.
    Announce(ServiceAddress),
    /// Extend its lifetime.
    Renew(ServiceAddress),
    /// Remove it, and end its connections.
    GiveUp(ServiceAddress),
}

/// State of an address held here.
#[derive(Clone, Copy, Debug)]
struct Held {
    since_ms: u64,
    announced: usize,
    /// Time of the last take or renewal.
    renewed_ms: u64,
    /// Time of the next renewal.
    renew_ms: u64,
}

impl Held {
    fn since(now_ms: u64, announced: usize) -> Self {
        Self { since_ms: now_ms, announced, renewed_ms: now_ms, renew_ms: now_ms + ADDRESS_RENEW_MS }
    }
}

/// The addresses held here.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    held: BTreeMap<ServiceAddress, Held>,
}

impl Holder {
    /// Acts that leave exactly `wanted` held here. The caller reports failed acts before the next
    /// call.
    pub(crate) fn plan_acts(&mut self, wanted: &[ServiceAddress], now_ms: u64) -> Vec<Act> {
        let leaving = self.held.keys().filter(|address| !wanted.contains(address)).copied();
        let mut acts: Vec<Act> = leaving.map(Act::GiveUp).collect();
        self.held.retain(|address, _| wanted.contains(address));
        for address in wanted {
            let held = self.held.entry(*address).or_insert_with(|| {
                acts.push(Act::Take(*address));
                Held::since(now_ms, 0)
            });
            if held.renew_ms <= now_ms {
                held.renew_ms = now_ms + ADDRESS_RENEW_MS;
                acts.push(Act::Renew(*address));
            }
            let due = ADDRESS_ANNOUNCED_AT_MS.partition_point(|at_ms| held.since_ms + at_ms <= now_ms);
            if held.announced < due {
                // Missed announcements count as one.
                held.announced = due;
                acts.push(Act::Announce(*address));
            }
        }
        acts
    }

    /// Marks an address as not held: it could not be taken, or was removed by another. The next
    /// pass takes it if it still belongs here.
    pub(crate) fn lost(&mut self, address: ServiceAddress) {
        self.held.remove(&address);
    }

    /// An address was renewed.
    pub(crate) fn renewed(&mut self, address: ServiceAddress, now_ms: u64) {
        if let Some(held) = self.held.get_mut(&address) {
            held.renewed_ms = now_ms;
        }
    }

    /// Records a failed renewal. The address stays held until its lifetime ends, and can still be
    /// removed; the renewal is retried soon.
    pub(crate) fn not_renewed(&mut self, address: ServiceAddress, now_ms: u64) {
        let Some(held) = self.held.get_mut(&address) else { return };
        held.renew_ms = now_ms + ADDRESS_RENEW_AGAIN_MS;
        if held.renewed_ms + ADDRESS_OUTLIVED_MS <= now_ms {
            self.lost(address);
        }
    }

    /// Records a failed removal, which the next pass retries.
    pub(crate) fn stays(&mut self, address: ServiceAddress, now_ms: u64) {
        self.held.insert(address, Held::since(now_ms, ADDRESS_ANNOUNCED_AT_MS.len()));
    }

    /// Whether an address is held here.
    pub(crate) fn has(&self, address: ServiceAddress) -> bool {
        self.held.contains_key(&address)
    }

    /// The addresses held here.
    pub(crate) fn held(&self) -> impl Iterator<Item = ServiceAddress> {
        self.held.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> ServiceAddress {
        format!("10.0.0.{last}/24").parse().unwrap()
    }

    #[test]
    fn an_address_that_belongs_here_is_taken_announced_again_and_again_and_renewed() {
        let (mut holder, own) = (Holder::default(), address(100));
        assert_eq!(holder.plan_acts(&[own], 1_000), [Act::Take(own), Act::Announce(own)]);
        assert_eq!(holder.plan_acts(&[own], 1_001), []);
        let (mut announced, mut renewed) = (vec![0], Vec::new());
        for after_ms in 1..10_000 {
            for act in holder.plan_acts(&[own], 1_000 + after_ms) {
                match act {
                    Act::Announce(_) => announced.push(after_ms),
                    Act::Renew(_) => renewed.push(after_ms),
                    _ => panic!("{act:?}"),
                }
            }
        }
        assert_eq!(announced, ADDRESS_ANNOUNCED_AT_MS);
        // Neighbours ignore news within a second of the last: some of it comes later than that.
        assert!(announced.iter().any(|at_ms| 1_000 < *at_ms && *at_ms < 1_500));
        assert_eq!(renewed.len(), 9_999 / usize::try_from(ADDRESS_RENEW_MS).unwrap());
    }

    #[test]
    fn addresses_that_do_not_belong_here_are_removed_first() {
        let (mut holder, one, other) = (Holder::default(), address(100), address(101));
        holder.plan_acts(&[one], 0);
        assert_eq!(holder.plan_acts(&[other], 1), [Act::GiveUp(one), Act::Take(other), Act::Announce(other)]);
        assert_eq!(holder.plan_acts(&[], 2), [Act::GiveUp(other)]);
        assert_eq!(holder.plan_acts(&[], 3), []);
    }

    #[test]
    fn failed_acts_are_retried() {
        let (mut holder, own) = (Holder::default(), address(100));
        holder.plan_acts(&[own], 0);
        holder.lost(own);
        assert_eq!(holder.held().count(), 0);
        assert_eq!(holder.plan_acts(&[own], 20), [Act::Take(own), Act::Announce(own)]);
        assert_eq!(holder.plan_acts(&[], 40), [Act::GiveUp(own)]);
        holder.stays(own, 40);
        assert_eq!(holder.plan_acts(&[], 60), [Act::GiveUp(own)]);
    }

    #[test]
    fn an_address_without_renewals_is_held_until_its_lifetime_ends() {
        let (mut holder, own) = (Holder::default(), address(100));
        holder.plan_acts(&[own], 0);
        let (mut tries, mut now_ms) = (0, 0);
        while holder.held().count() != 0 {
            now_ms += 50;
            if holder.plan_acts(&[own], now_ms).contains(&Act::Renew(own)) {
                tries += 1;
                holder.not_renewed(own, now_ms);
            }
        }
        assert_eq!(now_ms, ADDRESS_OUTLIVED_MS);
        assert_eq!(tries, 1 + (ADDRESS_OUTLIVED_MS - ADDRESS_RENEW_MS) / ADDRESS_RENEW_AGAIN_MS);
        // A renewal in between counts.
        assert_eq!(holder.plan_acts(&[own], 10_000), [Act::Take(own), Act::Announce(own)]);
        holder.plan_acts(&[own], 14_000);
        holder.renewed(own, 14_000);
        holder.not_renewed(own, 19_000);
        assert_eq!(holder.plan_acts(&[], 19_050), [Act::GiveUp(own)]);
    }

    #[test]
    fn a_late_look_announces_once() {
        let (mut holder, own) = (Holder::default(), address(100));
        holder.plan_acts(&[own], 0);
        let acts = holder.plan_acts(&[own], 3_600_000);
        assert_eq!(acts, [Act::Renew(own), Act::Announce(own)]);
    }
}
