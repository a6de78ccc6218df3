//! Service addresses on this node: when they are taken, announced, renewed and given up.
//!
//! [`Holder`] carries out what somebody else has decided, the list of addresses that belong here now; today that is all of them where
//! the leader is, and none elsewhere (`drive`). Input and time in, acts out: it touches nothing.
//!
//! INVARIANT: an address that does not belong here is given up at the next look, whatever else fails.
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

/// What a metadata server needs to have service addresses.
#[derive(Clone)]
pub struct ServiceAddresses {
    /// Those of the cluster; all nodes name the same.
    pub addresses: Vec<ServiceAddress>,
    /// The machine.
    pub door: Arc<dyn Addresses>,
}

impl fmt::Debug for ServiceAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceAddresses").field(&self.addresses).finish()
    }
}

/// What is to be done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Take it.
    Take(ServiceAddress),
    /// Tell the network, and the clients that had it elsewhere.
    Announce(ServiceAddress),
    /// Go on with it.
    Renew(ServiceAddress),
    /// Give it up, and end its connections.
    GiveUp(ServiceAddress),
}

/// What has been done with an address that is here.
#[derive(Clone, Copy, Debug)]
struct Held {
    since_ms: u64,
    announced: usize,
    /// When it was last taken or renewed.
    renewed_ms: u64,
    /// When that is tried next.
    renew_ms: u64,
}

impl Held {
    fn since(now_ms: u64, announced: usize) -> Self {
        Self { since_ms: now_ms, announced, renewed_ms: now_ms, renew_ms: now_ms + ADDRESS_RENEW_MS }
    }
}

/// The addresses that are here.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    held: BTreeMap<ServiceAddress, Held>,
}

impl Holder {
    /// What is to be done now so that exactly `wanted` are here. What has failed must be told before the next look.
    pub(crate) fn look(&mut self, wanted: &[ServiceAddress], now_ms: u64) -> Vec<Act> {
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
                // Those that were missed meanwhile are one.
                held.announced = due;
                acts.push(Act::Announce(*address));
            }
        }
        acts
    }

    /// An address could not be taken, or has gone without having been given up: it is taken at the next look, if it still belongs here.
    pub(crate) fn lost(&mut self, address: ServiceAddress) {
        self.held.remove(&address);
    }

    /// An address was renewed.
    pub(crate) fn renewed(&mut self, address: ServiceAddress, now_ms: u64) {
        if let Some(held) = self.held.get_mut(&address) {
            held.renewed_ms = now_ms;
        }
    }

    /// An address could not be renewed. It is here until its time is over, and to be given up like any other; the renewal is tried again
    /// soon.
    pub(crate) fn not_renewed(&mut self, address: ServiceAddress, now_ms: u64) {
        let Some(held) = self.held.get_mut(&address) else { return };
        held.renew_ms = now_ms + ADDRESS_RENEW_AGAIN_MS;
        if held.renewed_ms + ADDRESS_OUTLIVED_MS <= now_ms {
            self.lost(address);
        }
    }

    /// An address could not be given up: that is tried again at the next look.
    pub(crate) fn stays(&mut self, address: ServiceAddress, now_ms: u64) {
        self.held.insert(address, Held::since(now_ms, ADDRESS_ANNOUNCED_AT_MS.len()));
    }

    /// Whether an address is here.
    pub(crate) fn has(&self, address: ServiceAddress) -> bool {
        self.held.contains_key(&address)
    }

    /// Those that are here.
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
        assert_eq!(holder.look(&[own], 1_000), [Act::Take(own), Act::Announce(own)]);
        assert_eq!(holder.look(&[own], 1_001), []);
        let (mut announced, mut renewed) = (vec![0], Vec::new());
        for after_ms in 1..10_000 {
            for act in holder.look(&[own], 1_000 + after_ms) {
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
    fn what_does_not_belong_here_goes_first_and_at_once() {
        let (mut holder, one, other) = (Holder::default(), address(100), address(101));
        holder.look(&[one], 0);
        assert_eq!(holder.look(&[other], 1), [Act::GiveUp(one), Act::Take(other), Act::Announce(other)]);
        assert_eq!(holder.look(&[], 2), [Act::GiveUp(other)]);
        assert_eq!(holder.look(&[], 3), []);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let (mut holder, own) = (Holder::default(), address(100));
        holder.look(&[own], 0);
        holder.lost(own);
        assert_eq!(holder.held().count(), 0);
        assert_eq!(holder.look(&[own], 20), [Act::Take(own), Act::Announce(own)]);
        assert_eq!(holder.look(&[], 40), [Act::GiveUp(own)]);
        holder.stays(own, 40);
        assert_eq!(holder.look(&[], 60), [Act::GiveUp(own)]);
    }

    #[test]
    fn what_cannot_be_renewed_is_here_until_its_time_is_over() {
        let (mut holder, own) = (Holder::default(), address(100));
        holder.look(&[own], 0);
        let (mut tries, mut now_ms) = (0, 0);
        while holder.held().count() != 0 {
            now_ms += 50;
            if holder.look(&[own], now_ms).contains(&Act::Renew(own)) {
                tries += 1;
                holder.not_renewed(own, now_ms);
            }
        }
        assert_eq!(now_ms, ADDRESS_OUTLIVED_MS);
        assert_eq!(tries, 1 + (ADDRESS_OUTLIVED_MS - ADDRESS_RENEW_MS) / ADDRESS_RENEW_AGAIN_MS);
        // One that comes in between counts.
        assert_eq!(holder.look(&[own], 10_000), [Act::Take(own), Act::Announce(own)]);
        holder.look(&[own], 14_000);
        holder.renewed(own, 14_000);
        holder.not_renewed(own, 19_000);
        assert_eq!(holder.look(&[], 19_050), [Act::GiveUp(own)]);
    }

    #[test]
    fn a_late_look_announces_once() {
        let (mut holder, own) = (Holder::default(), address(100));
        holder.look(&[own], 0);
        let acts = holder.look(&[own], 3_600_000);
        assert_eq!(acts, [Act::Renew(own), Act::Announce(own)]);
    }
}
