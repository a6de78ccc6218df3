//! What the leader knows of the copies of extents beside the log, and what it has under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use layout::{DataServerId, Epoch, ExtentId};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How the copies of all extents are, as of the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Extents.
    pub(crate) extents: u64,
    /// With fewer copies that hold everything, on servers that are up, than wished.
    pub(crate) degraded: u64,
    /// With a backup that is being filled.
    pub(crate) filling: u64,
    /// That nobody serves now.
    pub(crate) unserved: u64,
    /// The fewest servers that must be lost for any extent to be lost, less one; of extents that
    /// are served.
    pub(crate) losses_survived: u64,
}

/// What the driver and requests share.
#[derive(Default)]
pub(crate) struct Copies {
    /// Told when homes have changed.
    pub(crate) changed: Notify,
    /// Has the driver look at once.
    pub(crate) look: Notify,
    /// As of the last whole look.
    pub(crate) tally: Mutex<Tally>,
    /// The term in which that was.
    pub(crate) counted: AtomicU64,
    /// What each server that is to be empty still keeps, as of the last whole look: extents.
    pub(crate) left: Mutex<BTreeMap<DataServerId, u64>>,
    /// Homes hand over now.
    pub(crate) handing: AtomicBool,
    /// Extents, and their epochs, whose new home has shown that it does not have what it is to
    /// serve, since the last look.
    pub(crate) refuted: Mutex<BTreeSet<(ExtentId, Epoch)>>,
    /// Extents whose layouts are being recalled because they get another home: no new ones
    /// meanwhile.
    pub(crate) moving: Mutex<BTreeSet<ExtentId>>,
}

impl Copies {
    /// All extents were counted in this term.
    pub(crate) fn set_counted(&self, term: u64) {
        self.counted.store(term, Ordering::Release);
    }

    /// Whether they were, in the term in which this node leads.
    pub(crate) fn is_counted(&self, leading: Option<u64>) -> bool {
        leading == Some(self.counted.load(Ordering::Acquire))
    }
}
