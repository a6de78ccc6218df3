//! The other nodes: data servers by their id, with a connection to each that is used, and the
//! metadata server that gave the lease.
//!
//! Spec: docs/protocol/control.md §2.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use env::Env;
use layout::DataServerId;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wire_nfs::control::copies::Directory as Told;
use wire_nfs::control::{Keyring, NodeKind};

use crate::limits::BACKUP_WINDOW_BYTES;
use crate::link::Link;

/// Another data server.
pub(crate) struct Neighbour {
    /// Calls to it. Records of all extents share it, so that one flush over there answers many.
    pub(crate) link: Link,
    /// Bytes that may still be sent before an answer.
    pub(crate) window: Semaphore,
}

/// Who is there.
pub(crate) struct Directory {
    keys: Keyring,
    /// Who we are; 0: nobody has told.
    own: AtomicU32,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    version: u64,
    addresses: HashMap<u32, String>,
    neighbours: HashMap<u32, Arc<Neighbour>>,
    metadata: Option<Arc<Link>>,
}

impl Directory {
    pub(crate) fn new(keys: Keyring) -> Self {
        Self { keys, own: AtomicU32::new(0), known: Mutex::default() }
    }

    /// A metadata server has told who we are.
    pub(crate) fn identify(&self, own: DataServerId) {
        self.own.store(own.0, Ordering::Relaxed);
    }

    /// Who we are.
    pub(crate) fn own(&self) -> Option<DataServerId> {
        Some(DataServerId(self.own.load(Ordering::Relaxed))).filter(|own| own.0 != 0)
    }

    /// Which version was told last; 0 for none.
    pub(crate) fn version(&self) -> u64 {
        self.known.lock().version
    }

    /// A metadata server has told it again.
    pub(crate) fn replace(&self, told: Told) {
        let mut known = self.known.lock();
        known.version = told.version;
        known.addresses = told.servers.into_iter().map(|one| (one.server, one.control)).collect();
    }

    /// This metadata server gives the lease.
    pub(crate) fn use_metadata(&self, link: &Arc<Link>) {
        self.known.lock().metadata = Some(Arc::clone(link));
    }

    /// The one that gave the lease last.
    pub(crate) fn metadata(&self) -> Option<Arc<Link>> {
        self.known.lock().metadata.clone()
    }

    /// A data server; `None` if nobody has told where it is.
    pub(crate) fn neighbour(&self, env: &Env, id: DataServerId) -> Option<Arc<Neighbour>> {
        let mut known = self.known.lock();
        let address: SocketAddr = known.addresses.get(&id.0)?.parse().ok()?;
        if let Some(neighbour) = known.neighbours.get(&id.0)
            && neighbour.link.address() == address
        {
            return Some(Arc::clone(neighbour));
        }
        let window = Semaphore::new(BACKUP_WINDOW_BYTES as usize);
        let neighbour =
            Arc::new(Neighbour { link: Link::new(env, address, &self.keys, NodeKind::Data), window });
        known.neighbours.insert(id.0, Arc::clone(&neighbour));
        Some(neighbour)
    }
}
