//! Recalls under way.

use std::collections::HashMap;
use std::sync::Arc;

use mds_namespace::Ino;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::RECALLS_MAX;

/// Recalls under way, by client and file.
#[derive(Default)]
pub(crate) struct Recalls {
    pub(crate) waiting: Mutex<HashMap<(u64, Ino), Arc<Notify>>>,
}

impl Recalls {
    /// A client returned a file's layout, or part of it.
    pub(crate) fn returned(&self, client: u64, ino: Ino) {
        if let Some(waiting) = self.waiting.lock().get(&(client, ino)) {
            waiting.notify_one();
        }
    }

    /// A client returned the layouts of all files, or parts of them.
    pub(crate) fn returned_all(&self, client: u64) {
        let waiting = self.waiting.lock();
        let of_client = waiting.iter().filter(|((whose, _), _)| *whose == client);
        of_client.for_each(|(_, returned)| returned.notify_one());
    }

    pub(crate) fn begin(&self, client: u64, ino: Ino) -> Option<Arc<Notify>> {
        let mut waiting = self.waiting.lock();
        if waiting.len() == RECALLS_MAX || waiting.contains_key(&(client, ino)) {
            return None;
        }
        Some(Arc::clone(waiting.entry((client, ino)).or_default()))
    }

    pub(crate) fn is_under_way(&self, client: u64, ino: Ino) -> bool {
        self.waiting.lock().contains_key(&(client, ino))
    }

    pub(crate) fn end(&self, client: u64, ino: Ino) {
        self.waiting.lock().remove(&(client, ino));
    }
}
