//! An image that another data server is sending.

use std::sync::Arc;

use ds_image::ImageReceiver;
use tokio::sync::Mutex;

/// An image that is coming in.
#[derive(Clone)]
pub(super) struct Receiving {
    pub(super) file_bytes: u32,
    /// Bytes of it came last then.
    pub(super) last_ms: u64,
    pub(super) receiver: Arc<Mutex<Option<ImageReceiver>>>,
}
