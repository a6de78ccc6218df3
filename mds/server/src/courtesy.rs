//! Clients whose lease ran out while they held something: whose state is kept, and since which term that counts.
//!
//! A client behind a partition so comes back to its opens and locks if no other client missed them. `reaper.rs` fills the
//! table, `give_way.rs` ends those in the way of another client. The log does not name them: another leader starts
//! all leases in full.
//!
//! Spec: RFC 8881 §8.4.2.4 (a server may keep state beyond the lease).

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// Clients whose lease has run out and whose state is kept.
#[derive(Default)]
pub(crate) struct Courtesy {
    pub(crate) kept: Mutex<Kept>,
}

/// Whose state is kept, as of a term.
#[derive(Default)]
pub(crate) struct Kept {
    /// The term in which this node leads and has begun all leases anew.
    term: Option<u64>,
    pub(crate) clients: BTreeSet<u64>,
}

impl Courtesy {
    /// All leases were begun anew in a term; `None` if they do not count: this node does not lead, or cannot tell whose there are.
    pub(crate) fn begin(&self, term: Option<u64>) {
        *self.kept.lock() = Kept { term, clients: BTreeSet::new() };
    }

    /// In which term leases were begun anew.
    pub(crate) fn term(&self) -> Option<u64> {
        self.kept.lock().term
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.kept.lock().clients.len()
    }

    /// Whether a client's lease has run out.
    pub(crate) fn has(&self, client: u64) -> bool {
        self.kept.lock().clients.contains(&client)
    }
}
