//! Extents whose journal a READ, or a replica that is being filled, found bad: the scrub checks
//! them next, whatever it was about to do.

use std::collections::BTreeSet;

use layout::ExtentId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::SCRUB_AGAIN_MAX;

/// The extents that the scrub is to check next.
#[derive(Default)]
pub(crate) struct Wanted {
    extents: Mutex<BTreeSet<ExtentId>>,
    came: Notify,
}

impl Wanted {
    /// Has the scrub check an extent next. More than it can remember wait for the next round.
    pub(crate) fn request_check(&self, extent: ExtentId) {
        let mut extents = self.extents.lock();
        if extents.len() < SCRUB_AGAIN_MAX {
            extents.insert(extent);
        }
        assert!(extents.len() <= SCRUB_AGAIN_MAX, "what is remembered is bounded");
        drop(extents);
        self.came.notify_one();
    }

    /// Takes the extents that were requested since the last call.
    pub(super) fn take_extents(&self) -> BTreeSet<ExtentId> {
        std::mem::take(&mut *self.extents.lock())
    }

    /// Returns when an extent was requested since this returned last.
    pub(super) async fn wait_for_request(&self) {
        self.came.notified().await;
    }
}
