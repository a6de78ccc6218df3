//! What data servers report of their disks: that one has failed, and how far their journals are on
//! stable storage.
//!
//! Decides nothing about extents: a server that may not serve has no lease, and is treated as any
//! other without one.
//!
//! INVARIANT: a failure counts as the end of a lease only if it is of the start that registered
//! here: no other start can hold one.
//! Spec: docs/protocol/control.md §2.

use layout::DataServerId;
use wire_nfs::control::heartbeat::JournalEnd;

use super::failure::Failure;
use super::{DataServers, Known};
use crate::limits::BURY_MS;

impl Known {
    /// Whether its disk has not failed, and its store lacks nothing.
    pub(super) fn may_serve(&self) -> bool {
        self.failure.is_none() && self.behind.is_none()
    }
}

impl DataServers {
    /// The server has reported that its disk failed. True if that is news; `None` if it has another
    /// store.
    pub(crate) fn fail(
        &self,
        id: DataServerId,
        (uuid, instance): ([u8; 16], u64),
        reason: &str,
        now_ms: u64,
    ) -> Option<bool> {
        let mut all = self.known.write();
        let known = all.get_mut(&id).filter(|known| known.uuid == uuid)?;
        // A report of an earlier start that was long on its way says nothing of the one that
        // registered since.
        if known.failure.is_some() || (known.instance != 0 && known.instance != instance) {
            return Some(false);
        }
        // 0 is none: nothing registered with this leader, and a lease of an earlier one may hold.
        let is_of_known_start = instance != 0 && known.instance == instance;
        known.failure = Some(Failure { reason: reason.to_owned(), since_ms: now_ms, is_of_known_start });
        Some(true)
    }

    /// Whether a data server has been dead for so long that its backups are replaced.
    ///
    /// Spec: docs/protocol/replicate.md §4.
    pub(crate) fn is_dead_for_long(&self, id: DataServerId, now_ms: u64) -> bool {
        self.dead_for_ms(id, now_ms).is_some_and(|dead_ms| BURY_MS <= dead_ms)
    }

    /// How far the journal of a store is on stable storage, as it last reported to this leader;
    /// `None` if it has not, or has no journal.
    #[must_use]
    pub(crate) fn durable_of(&self, uuid: &[u8; 16]) -> Option<JournalEnd> {
        let all = self.known.read();
        let known = all.values().find(|known| known.uuid == *uuid)?;
        Some(known.durable).filter(|durable| *durable != JournalEnd::default())
    }

    /// How many lack something that they had acknowledged.
    #[must_use]
    pub(crate) fn behind(&self) -> u64 {
        self.known.read().values().filter(|known| known.behind.is_some()).count() as u64
    }

    /// How many have reported that their disks failed.
    #[must_use]
    pub(crate) fn failed(&self) -> u64 {
        self.known.read().values().filter(|known| known.failure.is_some()).count() as u64
    }
}
