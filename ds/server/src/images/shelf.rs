//! The images on the disk of this server: their directory, those that are open, and which were made
//! here lately.
//!
//! INVARIANT: a question to a metadata server says nothing of an image that was made here after the
//! question ([`Shelf::was_touched_since`]).
//! Spec: docs/protocol/seal.md §2, §5.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ds_image::{DeleteError, ImageId, ImageStore, ImageSum, OpenError, ReadError, StoreError, StoredImage};
use env::Disk;
use parking_lot::Mutex;

use super::lru::Lru;
use super::metrics::ImageMetrics;
use super::pieces::joined;
use super::trouble::NoBytes;
use crate::limits::IMAGES_OPEN_BYTES;

/// About what an open image of an extent takes in memory.
const MAP_BYTES: usize = 64 << 10;
const _: () = assert!(MAP_BYTES <= IMAGES_OPEN_BYTES, "an open image is kept");

/// The images here.
pub(crate) struct Shelf {
    pub(crate) dir: ImageStore,
    pub(crate) metrics: ImageMetrics,
    /// Images that were read lately.
    opened: Mutex<Lru<ImageId, StoredImage>>,
    touched: Mutex<Touched>,
}

/// When images were made here for a metadata server, or another data server.
#[derive(Default)]
struct Touched {
    clock: u64,
    at: HashMap<ImageId, u64>,
}

impl Touched {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Shelf {
    /// Opens the directory of images of a store in `dir`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub(crate) async fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        metrics: ImageMetrics,
    ) -> Result<Self, StoreError> {
        let dir = ImageStore::open(Arc::clone(disk), &dir.join("images")).await?;
        let opened = Mutex::new(Lru::new(IMAGES_OPEN_BYTES));
        Ok(Self { dir, metrics, opened, touched: Mutex::default() })
    }

    /// A moment, to be compared with [`was_touched_since`](Self::was_touched_since).
    pub(crate) fn moment(&self) -> u64 {
        self.touched.lock().tick()
    }

    /// Notes that another node has this image made here.
    pub(crate) fn touch(&self, image: ImageId) {
        let mut touched = self.touched.lock();
        let now = touched.tick();
        let before = touched.at.insert(image, now);
        assert!(before.is_none_or(|before| before < now), "moments only go up");
    }

    /// Whether another node had the image made here after that moment.
    pub(crate) fn was_touched_since(&self, image: ImageId, moment: u64) -> bool {
        self.touched.lock().at.get(&image).is_some_and(|at| moment < *at)
    }

    /// Drops marks that are older than every outstanding question.
    pub(crate) fn forget_touched_before(&self, moment: u64) {
        self.touched.lock().at.retain(|_, at| moment <= *at);
    }

    /// Opens an image that is here, or finds it open.
    pub(crate) async fn open_image(&self, image: ImageId) -> Result<StoredImage, OpenError> {
        if let Some(opened) = self.opened.lock().get(&image) {
            return Ok(opened);
        }
        let opened = self.dir.open_any(image).await?;
        let cost = match &opened {
            StoredImage::Extent(_) => MAP_BYTES,
            // The lists are there as they are in the file, and by slot.
            StoredImage::Parity(parity) => {
                let info = parity.info();
                2 * usize::try_from(info.file_bytes - info.payload_bytes).unwrap_or(MAP_BYTES)
            }
        };
        self.opened.lock().put(image, opened.clone(), cost);
        Ok(opened)
    }

    /// Evicts an image whose file was or will be replaced.
    pub(crate) fn close_image(&self, image: ImageId) {
        self.opened.lock().remove(&image);
    }

    /// Deletes an image.
    ///
    /// # Errors
    /// Any [`DeleteError`].
    pub(crate) async fn delete_image(&self, image: ImageId) -> Result<(), DeleteError> {
        self.close_image(image);
        let deleted = self.dir.delete(image).await;
        // It may have been opened again meanwhile.
        self.close_image(image);
        deleted
    }

    /// Bytes of the file of an image that is here.
    pub(crate) async fn read_file(&self, image: ImageId, offset: u64, length: u32) -> Result<Bytes, NoBytes> {
        let opened = self.open_image(image).await.map_err(|error| self.note_bad(image, &error))?;
        let read = opened.read_raw(offset, length).await;
        let mut pieces = read.map_err(|error| self.note_bad(image, &error))?;
        match (pieces.len(), pieces.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => Ok(joined(pieces.iter().chain(&last))),
        }
    }

    /// Counts an image here that gives no right bytes.
    pub(crate) fn note_bad(&self, image: ImageId, error: &dyn std::error::Error) -> NoBytes {
        if self.dir.contains(image) {
            self.metrics.bad_images.inc();
            tracing::warn!(%image, %error, "an image here gives no right bytes");
        }
        self.close_image(image);
        NoBytes::Absent
    }

    /// Whether an image here is whole and has this sum: every byte of it is read.
    pub(crate) async fn is_whole(&self, image: ImageId, sum: ImageSum) -> bool {
        self.close_image(image);
        let Ok(opened) = self.dir.open_any(image).await else { return false };
        file_sum(&opened).await.is_ok_and(|found| found == sum)
    }
}

/// BLAKE3 of a whole file, every byte of it verified.
async fn file_sum(image: &StoredImage) -> Result<ImageSum, ReadError> {
    match image {
        StoredImage::Extent(image) => image.sum().await,
        StoredImage::Parity(image) => image.file_sum().await,
    }
}

/// Whether an image here is whole, and is the one that a group has in a slot.
pub(crate) async fn is_slot(image: &StoredImage, sum: ImageSum) -> bool {
    match image {
        StoredImage::Extent(image) => image.sum().await.is_ok_and(|found| found == sum),
        StoredImage::Parity(image) => {
            image.info().sum == sum && image.verify(|_| std::future::ready(())).await.is_empty()
        }
    }
}
