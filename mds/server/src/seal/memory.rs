//! What the leader knows of images and groups beside the log, and what it has under way.
//!
//! A new leader begins with nothing: images are reported to it again.
//!
//! Spec: docs/protocol/seal.md.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use layout::DataServerId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::pool::Pool;
use crate::progress::Progress;

/// How groups are, as of the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Groups there are.
    pub(crate) groups: u64,
    /// Bytes of the files of living members.
    pub(crate) living_bytes: u64,
    /// Bytes of the files of dead ones.
    pub(crate) dead_bytes: u64,
    /// Images whose data servers are not up.
    pub(crate) away: u64,
    /// Groups with more images away than they can do without.
    pub(crate) unreadable: u64,
    /// Bytes of images that are to be made again.
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

/// What drivers and requests share.
#[derive(Default)]
pub(crate) struct Sealing {
    pub(super) pool: Mutex<Pool>,
    /// Told when there is something to do.
    pub(crate) call: Notify,
    /// How far that is.
    pub(crate) progress: Mutex<Progress>,
    /// Told when an image was made again, or was not: there is room for another one.
    pub(crate) remade: Notify,
    /// As of the last whole look.
    pub(crate) tally: Mutex<Tally>,
    /// Has data servers be asked at once whether they have their images.
    pub(crate) count: Notify,
    /// Images that were found missing, and are not being made again yet.
    pub(crate) missing: AtomicU64,
    /// What each server that is to be empty still has, as of the last whole look: images.
    pub(crate) left: Mutex<BTreeMap<DataServerId, u64>>,
    /// Bytes of the images that groups have on each server, as of the last whole look.
    pub(crate) held: Mutex<BTreeMap<DataServerId, u64>>,
    /// Since when this node leads, by the monotonic clock.
    pub(crate) leading_since_ms: Mutex<Option<u64>>,
}

impl Sealing {
    /// Images that wait for a group, and images that are being made again.
    pub(crate) fn under_way(&self) -> (u64, u64) {
        let pool = self.pool.lock();
        (pool.waiting() as u64, pool.remaking() as u64)
    }

    /// Images that data servers which are up do not have any more, and that are not being made again yet.
    pub(crate) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Takes note of whether this node leads. What a leader knew before is old when it leads again.
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
