//! The leader's knowledge of images and groups besides the log, and its work under way.
//!
//! A new leader begins with nothing: data servers report their images again.
//!
//! Spec: docs/protocol/seal.md.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use layout::DataServerId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::pool::Pool;
use crate::progress::Progress;

/// State of the groups, as of the last scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Number of groups.
    pub(crate) groups: u64,
    /// Bytes of the files of living members.
    pub(crate) living_bytes: u64,
    /// Bytes of the files of dead members.
    pub(crate) dead_bytes: u64,
    /// Images whose data servers are not up.
    pub(crate) away: u64,
    /// Groups with more images away than their code can lose.
    pub(crate) unreadable: u64,
    /// Bytes of images to be recreated.
    pub(crate) lost_bytes: u64,
    /// The fewest images that any group can still lose; `u64::MAX` without groups.
    pub(crate) losses_survived: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let (groups, living_bytes, dead_bytes, lost_bytes, away, unreadable) = (0, 0, 0, 0, 0, 0);
        Self { groups, living_bytes, dead_bytes, away, unreadable, lost_bytes, losses_survived: u64::MAX }
    }
}

/// State shared by drivers and requests.
#[derive(Default)]
pub(crate) struct Sealing {
    pub(super) pool: Mutex<Pool>,
    /// Notified when images wait.
    pub(crate) call: Notify,
    /// Progress of the repair.
    pub(crate) progress: Mutex<Progress>,
    /// Notified at the end of a recreation: another may begin.
    pub(crate) remade: Notify,
    /// As of the last complete scan.
    pub(crate) tally: Mutex<Tally>,
    /// Triggers queries to all data servers for their images.
    pub(crate) count: Notify,
    /// Images that were found missing, and are not being recreated yet.
    pub(crate) missing: AtomicU64,
    /// Images left on each server that is being drained, as of the last complete scan.
    pub(crate) left: Mutex<BTreeMap<DataServerId, u64>>,
    /// Bytes of the groups' images on each server, as of the last complete scan.
    pub(crate) held: Mutex<BTreeMap<DataServerId, u64>>,
    /// Since when this node leads, by the monotonic clock.
    pub(crate) leading_since_ms: Mutex<Option<u64>>,
}

impl Sealing {
    /// Number of images that wait for a group, and that are being recreated.
    pub(crate) fn under_way(&self) -> (u64, u64) {
        let pool = self.pool.lock();
        (pool.waiting() as u64, pool.remaking() as u64)
    }

    /// Number of images that healthy data servers no longer have, and that are not being recreated
    /// yet.
    pub(crate) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Records whether this node leads. Knowledge of an earlier term is stale and is dropped.
    pub(crate) fn leads(&self, leads: bool, now_ms: u64) -> bool {
        let mut since_ms = self.leading_since_ms.lock();
        match (leads, *since_ms) {
            (true, None) => *since_ms = Some(now_ms),
            (false, Some(_)) => {
                *since_ms = None;
                self.pool.lock().forget();
            }
            (true, Some(_)) | (false, None) => {}
        }
        leads
    }
}
