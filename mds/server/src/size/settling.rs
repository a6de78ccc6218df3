//! Wakes the driver that settles sizes.

use tokio::sync::Notify;

/// Wakes the driver.
#[derive(Default)]
pub(crate) struct Settling {
    pub(crate) call: Notify,
}

impl Settling {
    /// Wakes the driver: a file may have lost its last layout for writing, and its size is not
    /// settled.
    pub(crate) fn wake(&self) {
        self.call.notify_one();
    }
}
