//! Wakes the driver that fences restricted exports.

use tokio::sync::Notify;

/// Wakes the driver.
#[derive(Default)]
pub(crate) struct ExportFence {
    pub(crate) call: Notify,
}

impl ExportFence {
    /// Wakes the driver after exports were set.
    pub(crate) fn wake(&self) {
        self.call.notify_one();
    }
}
