//! Objects whose access time is being recorded: one log entry at a time for each.

use std::collections::HashSet;

use mds_namespace::Ino;
use parking_lot::Mutex;

use crate::limits::ACCESSES_MAX;

/// Objects with an entry in flight.
#[derive(Default)]
pub(crate) struct Accesses {
    pub(crate) noted: Mutex<HashSet<Ino>>,
}

impl Accesses {
    /// Reserves an entry for this object. False if one is in flight, or the table is full.
    pub(crate) fn begin_entry(&self, ino: Ino) -> bool {
        let mut noted = self.noted.lock();
        noted.len() < ACCESSES_MAX && noted.insert(ino)
    }

    pub(crate) fn end(&self, ino: Ino) {
        self.noted.lock().remove(&ino);
    }
}
