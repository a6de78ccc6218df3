//! Objects whose access time is being noted: one entry of the log at a time for each.

use std::collections::HashSet;

use mds_namespace::Ino;
use parking_lot::Mutex;

use crate::limits::ACCESSES_MAX;

/// What is under way.
#[derive(Default)]
pub(crate) struct Accesses {
    pub(crate) noted: Mutex<HashSet<Ino>>,
}

impl Accesses {
    /// True if nothing is under way for this object, and there is room: from now on something is.
    pub(crate) fn begin(&self, ino: Ino) -> bool {
        let mut noted = self.noted.lock();
        noted.len() < ACCESSES_MAX && noted.insert(ino)
    }

    pub(crate) fn end(&self, ino: Ino) {
        self.noted.lock().remove(&ino);
    }
}
