//! Courtesy locks: clients whose lease ran out and whose state is kept, and the term of that.
//!
//! So a client behind a partition gets its opens and locks back if no other client wanted them.
//! `reaper.rs` fills the table, `give_way.rs` expires clients in conflict with another. Renewals
//! are not in the log: a new leader starts all leases in full.
//!
//! Spec: RFC 8881 §8.4.2.4 (a server may keep state beyond the lease).

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// Clients whose lease has run out and whose state is kept.
#[derive(Default)]
pub(crate) struct Courtesy {
    pub(crate) kept: Mutex<Kept>,
}

/// The clients kept in a term.
#[derive(Default)]
pub(crate) struct Kept {
    /// The term in which this node leads and has restarted all leases.
    term: Option<u64>,
    pub(crate) clients: BTreeSet<u64>,
}

impl Courtesy {
    /// Records that all leases were restarted in a term; `None` if they do not count: this node
    /// does not lead, or cannot read its clients.
    pub(crate) fn begin_term(&self, term: Option<u64>) {
        *self.kept.lock() = Kept { term, clients: BTreeSet::new() };
    }

    /// The term in which leases were restarted.
    pub(crate) fn term(&self) -> Option<u64> {
        self.kept.lock().term
    }

    /// Number of clients.
    pub(crate) fn count(&self) -> usize {
        self.kept.lock().clients.len()
    }

    /// Whether a client is kept although its lease has run out.
    pub(crate) fn has(&self, client: u64) -> bool {
        self.kept.lock().clients.contains(&client)
    }
}
