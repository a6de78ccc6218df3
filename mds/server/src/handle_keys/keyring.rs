//! The keys of data-server handles, as this node last read them from the log.
//!
//! Spec: docs/formats/ds_handle.md.

use std::sync::Arc;

use layout::HandleKey;
use mds_namespace::Superblock;
use mds_state::record::{HandleKeys, Rotation};
use parking_lot::RwLock;
use tokio::sync::Notify;

/// Derives the first key of a cluster.
const CONTEXT_FIRST: &str = "shoal 2026-11-25 data-server handles: the first key";

/// The keys of this cluster, as this node knows them.
pub(crate) struct HandleKeyring {
    pub(crate) first: HandleKey,
    pub(crate) known: RwLock<Known>,
    /// Wakes the driver.
    pub(crate) call: Notify,
}

pub(crate) struct Known {
    /// The shard's count of changes before the keys were read; `None` before the first read.
    pub(crate) moved: Option<u64>,
    pub(crate) keys: Arc<GoodKeys>,
}

/// The keys that are valid by the log.
pub(crate) struct GoodKeys {
    /// Raised by each command that adds or drops a key.
    pub(crate) version: u64,
    /// New handles are sealed under it.
    pub(crate) used: HandleKey,
    pub(crate) all: Vec<HandleKey>,
    pub(crate) rotation: Rotation,
}

impl HandleKeyring {
    /// For a file system with this superblock.
    pub(crate) fn new(superblock: &Superblock) -> Self {
        let first = HandleKey::new(blake3::derive_key(CONTEXT_FIRST, &superblock.handle_key));
        let keys = Arc::new(GoodKeys::from_log(&first, &HandleKeys::default()));
        Self { first, known: RwLock::new(Known { moved: None, keys }), call: Notify::new() }
    }

    /// The keys, if nothing has changed since they were read.
    pub(crate) fn known(&self, moved: u64) -> Option<Arc<GoodKeys>> {
        let known = self.known.read();
        (known.moved == Some(moved)).then(|| Arc::clone(&known.keys))
    }

    pub(crate) fn learn(&self, moved: u64, keys: &HandleKeys) -> Arc<GoodKeys> {
        let keys = Arc::new(GoodKeys::from_log(&self.first, keys));
        let mut known = self.known.write();
        // Readers may arrive out of order.
        if known.moved.is_none_or(|before| before < moved) {
            *known = Known { moved: Some(moved), keys };
        }
        Arc::clone(&known.keys)
    }
}

impl GoodKeys {
    pub(crate) fn from_log(first: &HandleKey, keys: &HandleKeys) -> Self {
        let later = keys.later.iter().map(|key| HandleKey::numbered(key.number, key.bytes));
        let all: Vec<HandleKey> =
            keys.is_first_good.then(|| first.clone()).into_iter().chain(later).collect();
        let used = all.iter().find(|key| key.number() == keys.used).unwrap_or(first).clone();
        Self { version: keys.version, used, all, rotation: keys.rotation() }
    }
}
