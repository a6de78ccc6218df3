//! The images that other data servers are sending here.
//!
//! Spec: docs/protocol/seal.md §3.

use std::collections::HashMap;
use std::sync::Arc;

use ds_image::{CreateError, ImageId, ImageReceiver};
use env::Clock;
use parking_lot::Mutex;
use wire_nfs::control::Refusal;

use super::shelf::Shelf;
use crate::limits::{RECEIVING_MAX, RECEIVING_MS_MAX};

/// An image that is coming in.
#[derive(Clone)]
pub(super) struct Receiving {
    file_bytes: u32,
    /// When bytes of it came last.
    last_ms: u64,
    pub(super) receiver: Arc<tokio::sync::Mutex<Option<ImageReceiver>>>,
}

/// All images that are coming in.
pub(crate) struct Incoming {
    clock: Arc<dyn Clock>,
    shelf: Arc<Shelf>,
    images: Mutex<HashMap<ImageId, Receiving>>,
}

impl Incoming {
    pub(crate) fn new(clock: Arc<dyn Clock>, shelf: Arc<Shelf>) -> Self {
        Self { clock, shelf, images: Mutex::default() }
    }

    /// The image that is coming in, begun if it is not.
    pub(super) async fn begin_image(&self, image: ImageId, file_bytes: u32) -> Result<Receiving, Refusal> {
        self.forget_unfinished();
        let now_ms = self.clock.monotonic_ms();
        {
            let mut all = self.images.lock();
            if let Some(known) = all.get_mut(&image) {
                known.last_ms = now_ms;
                return if known.file_bytes == file_bytes {
                    Ok(known.clone())
                } else {
                    Err(Refusal::Invalid)
                };
            }
            if RECEIVING_MAX <= all.len() {
                return Err(Refusal::Busy);
            }
        }
        let received = self.shelf.dir.receive(image, u64::from(file_bytes)).await;
        let receiver = received.map_err(|error| match error {
            CreateError::Format(_) => Refusal::Invalid,
            CreateError::Io(_) => Refusal::Io,
            CreateError::Exists | CreateError::Busy | CreateError::TooMany => Refusal::Busy,
        })?;
        let receiver = Arc::new(tokio::sync::Mutex::new(Some(receiver)));
        let begun = Receiving { file_bytes, last_ms: now_ms, receiver };
        self.images.lock().insert(image, begun.clone());
        Ok(begun)
    }

    /// Takes an image out of those that are coming in.
    pub(super) fn take_image(&self, image: ImageId) -> Option<Receiving> {
        self.images.lock().remove(&image)
    }

    /// Gives up images that other servers began to send, and do not go on with.
    pub(crate) fn forget_unfinished(&self) {
        let now_ms = self.clock.monotonic_ms();
        self.images.lock().retain(|_, one| now_ms < one.last_ms + RECEIVING_MS_MAX);
    }
}
