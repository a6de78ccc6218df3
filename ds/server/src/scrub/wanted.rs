//! Extents whose journal was found bad by somebody who needed it: the scrub looks at them next,
//! whatever it was about to do.

use std::collections::BTreeSet;

use layout::ExtentId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::SCRUB_AGAIN_MAX;

/// The extents, as they are told.
#[derive(Default)]
pub(crate) struct Wanted {
    extents: Mutex<BTreeSet<ExtentId>>,
    came: Notify,
}

impl Wanted {
    /// Has the scrub look at an extent. More than it can remember wait for their turn.
    pub(crate) fn want(&self, extent: ExtentId) {
        let mut extents = self.extents.lock();
        if extents.len() < SCRUB_AGAIN_MAX {
            extents.insert(extent);
        }
        drop(extents);
        self.came.notify_one();
    }

    pub(super) fn take(&self) -> BTreeSet<ExtentId> {
        std::mem::take(&mut *self.extents.lock())
    }

    /// Returns when something was told since it returned last.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }
}
