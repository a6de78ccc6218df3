//! The service addresses of a node, as seen by the rest of the server: all of them, and those held
//! here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use env::ServiceAddress;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::ServiceAddresses;

/// The service addresses of a node, as seen by the rest of the server.
pub(crate) struct Service {
    pub(crate) given: ServiceAddresses,
    pub(crate) ips: BTreeSet<IpAddr>,
    pub(crate) held: Mutex<BTreeSet<ServiceAddress>>,
    /// An address belongs here and could not be taken.
    pub(crate) is_untaken: AtomicBool,
    /// Connections came or went.
    pub(crate) changed: Notify,
    pub(crate) leaving: AtomicBool,
    pub(crate) left: watch::Sender<bool>,
}

impl Service {
    /// Holds no address yet.
    pub(crate) fn new(given: ServiceAddresses) -> Self {
        let ips = given.addresses.iter().map(|address| address.ip).collect();
        Self {
            given,
            ips,
            held: Mutex::default(),
            is_untaken: AtomicBool::new(false),
            changed: Notify::new(),
            leaving: AtomicBool::new(false),
            left: watch::Sender::new(false),
        }
    }

    /// Whether a connection goes to a service address.
    pub(crate) fn has(&self, local: IpAddr) -> bool {
        self.ips.contains(&local.to_canonical())
    }

    /// Each address, and whether it is held here.
    pub(crate) fn places(&self) -> Vec<(ServiceAddress, bool)> {
        let held = self.held.lock();
        self.given.addresses.iter().map(|address| (*address, held.contains(address))).collect()
    }

    /// Removes all addresses for good; returns once they are gone.
    pub(crate) async fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.changed.notify_one();
        // The sender is in `self`, so the only end is the value.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }
}
