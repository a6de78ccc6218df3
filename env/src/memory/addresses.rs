//! Addresses in memory: who has which is a table that machines of one world share, and what was
//! said is written down.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addresses::{Addresses, ServiceAddress};

/// What a machine did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It took an address, or went on with it.
    Added(ServiceAddress),
    /// It gave an address up.
    Removed(ServiceAddress),
    /// It told the network.
    Announced(ServiceAddress),
    /// It tickled a client: service address, client.
    Tickled(SocketAddr, SocketAddr),
    /// It ended the connections at an address.
    Ended(IpAddr),
}

/// One machine. Clones are the same.
#[derive(Clone, Default)]
pub struct MemoryAddresses {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    held: BTreeMap<ServiceAddress, u32>,
    said: Vec<Said>,
    lease_ms: u32,
    refuses: bool,
}

impl MemoryAddresses {
    /// What was done since this was last asked.
    #[must_use]
    pub fn said(&self) -> Vec<Said> {
        std::mem::take(&mut self.lock().said)
    }

    /// The last lease that was told.
    #[must_use]
    pub fn lease_ms(&self) -> u32 {
        self.lock().lease_ms
    }

    /// From now on nothing can be added, or can again.
    pub fn refuse(&self, refuses: bool) {
        self.lock().refuses = refuses;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses for MemoryAddresses {
    fn add(&self, address: ServiceAddress, valid_s: u32) -> io::Result<()> {
        let mut state = self.lock();
        if state.refuses {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.held.insert(address, valid_s);
        state.said.push(Said::Added(address));
        Ok(())
    }

    fn remove(&self, address: ServiceAddress) -> io::Result<bool> {
        let mut state = self.lock();
        state.said.push(Said::Removed(address));
        Ok(state.held.remove(&address).is_some())
    }

    fn present(&self) -> io::Result<Vec<ServiceAddress>> {
        Ok(self.lock().held.keys().copied().collect())
    }

    fn announce(&self, address: ServiceAddress) -> io::Result<()> {
        self.lock().said.push(Said::Announced(address));
        Ok(())
    }

    fn tickle(&self, service: SocketAddr, client: SocketAddr) -> io::Result<()> {
        self.lock().said.push(Said::Tickled(service, client));
        Ok(())
    }

    fn end_connections(&self, ip: IpAddr) -> usize {
        self.lock().said.push(Said::Ended(ip));
        0
    }

    fn keep(&self, lease_ms: u32) {
        self.lock().lease_ms = lease_ms;
    }
}
