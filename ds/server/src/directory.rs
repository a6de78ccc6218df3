//! The other nodes: data servers by their id, with a connection to each that is used, and the
//! metadata server that gave the lease; and which of the data servers this one is.
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

use crate::limits::REPLICA_WINDOW_BYTES;
use crate::link::Link;

/// Another data server.
pub(crate) struct Neighbour {
    /// Calls to it. Records of all extents share the connection, so that one flush of the replica
    /// answers many.
    pub(crate) link: Link,
    /// Bytes of records that this server may still send before the replica answers.
    pub(crate) window: Semaphore,
}

/// All nodes, as metadata servers told them.
pub(crate) struct Directory {
    env: Env,
    keys: Keyring,
    /// The id of this server; [`UNKNOWN`] until a metadata server has told it.
    own: AtomicU32,
    known: Mutex<Known>,
}

/// Of [`Directory`]: no metadata server gives this id to a data server.
const UNKNOWN: u32 = 0;

#[derive(Default)]
struct Known {
    version: u64,
    addresses: HashMap<u32, String>,
    neighbours: HashMap<u32, Arc<Neighbour>>,
    metadata: Option<Arc<Link>>,
}

impl Directory {
    pub(crate) fn new(env: &Env, keys: Keyring) -> Self {
        Self { env: env.clone(), keys, own: AtomicU32::new(UNKNOWN), known: Mutex::default() }
    }

    /// Notes the id that a metadata server gave to this server.
    pub(crate) fn identify(&self, own: DataServerId) {
        self.own.store(own.0, Ordering::Relaxed);
    }

    /// The id of this server, once a metadata server has told it.
    pub(crate) fn own(&self) -> Option<DataServerId> {
        Some(DataServerId(self.own.load(Ordering::Relaxed))).filter(|own| own.0 != UNKNOWN)
    }

    /// Whether this is the id of this server.
    pub(crate) fn is_own(&self, server: u32) -> bool {
        self.own().is_some_and(|own| own.0 == server)
    }

    /// The version that a metadata server told last; 0 before the first.
    pub(crate) fn version(&self) -> u64 {
        self.known.lock().version
    }

    /// Replaces the addresses with those that a metadata server has told.
    pub(crate) fn replace(&self, told: Told) {
        let mut known = self.known.lock();
        known.version = told.version;
        known.addresses = told.servers.into_iter().map(|one| (one.server, one.control)).collect();
    }

    /// Notes that this metadata server gives the lease.
    pub(crate) fn use_metadata(&self, link: &Arc<Link>) {
        self.known.lock().metadata = Some(Arc::clone(link));
    }

    /// The metadata server that gave the lease last.
    pub(crate) fn metadata(&self) -> Option<Arc<Link>> {
        self.known.lock().metadata.clone()
    }

    /// A data server; `None` if no metadata server has told its address.
    pub(crate) fn neighbour(&self, id: DataServerId) -> Option<Arc<Neighbour>> {
        let mut known = self.known.lock();
        let address: SocketAddr = known.addresses.get(&id.0)?.parse().ok()?;
        if let Some(neighbour) = known.neighbours.get(&id.0)
            && neighbour.link.address() == address
        {
            return Some(Arc::clone(neighbour));
        }
        let window = Semaphore::new(REPLICA_WINDOW_BYTES as usize);
        let link = Link::new(&self.env, address, &self.keys, NodeKind::Data);
        assert_eq!(link.address(), address, "a link leads to the address that the directory has");
        let neighbour = Arc::new(Neighbour { link, window });
        known.neighbours.insert(id.0, Arc::clone(&neighbour));
        Some(neighbour)
    }
}
