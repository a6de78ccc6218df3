//! Wakes the driver of work items, and sees that one caller at a time tells a data server what it
//! missed.

use std::collections::BTreeSet;

use layout::DataServerId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Wakes the driver.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) call: Notify,
    /// Data servers that are being told what they missed.
    pub(crate) settling: Mutex<BTreeSet<DataServerId>>,
}

impl Work {
    /// There is something to do.
    pub(crate) fn wake(&self) {
        self.call.notify_one();
    }

    /// Nobody else tells this data server what it missed until this is dropped; `None` if somebody
    /// does.
    pub(crate) fn settle_alone(&self, home: DataServerId) -> Option<Settling<'_>> {
        self.settling.lock().insert(home).then(|| Settling { work: self, home })
    }
}

/// A data server is being told what it missed.
pub(crate) struct Settling<'a> {
    pub(crate) work: &'a Work,
    pub(crate) home: DataServerId,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.work.settling.lock().remove(&self.home);
    }
}
