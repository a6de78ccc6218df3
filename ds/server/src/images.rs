//! The images of this server, and every image that its journal names: the directory they are in,
//! and how their bytes are got at.
//!
//! Content is read from the image here; if there is none, or a frame of it is bad, from where the
//! group's record says; if that fails, it is computed from the rest of the group. `serve` is what
//! other servers ask for, `encode` and `rebuild` make images that metadata servers want, `mend`
//! writes bad frames anew. When and what is sealed is not decided here.
//!
//! INVARIANT: content that comes out was compared with the hashes that the image's root vouches
//! for.
//! Spec: docs/protocol/seal.md §5.

pub(crate) mod content;
pub(crate) mod encode;
mod groups;
pub(crate) mod have;
mod lru;
pub(crate) mod mend;
mod mending;
mod metrics;
mod outlet;
mod pieces;
pub(crate) mod rebuild;
mod rebuilt;
mod receiving;
mod remote;
pub(crate) mod serve;
mod trouble;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ds_image::{DeleteError, Image, ImageId, ImageStore, OpenError, StoreError, StoredImage};
use env::Env;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use wire_nfs::control::Refusal;

use crate::directory::Directory;
use crate::limits::{
    FRAMES_KEPT_BYTES, IMAGE_BYTES_IN_FLIGHT_MAX, IMAGE_WORK_WAIT_MS_MAX, IMAGE_WORKS_MAX,
    IMAGE_WORKS_QUEUED_MAX, IMAGES_OPEN_BYTES, LOST_KNOWN_MAX,
};
use crate::throttle::Throttle;
use groups::Groups;
pub(crate) use groups::{Found, NoGroup};
use lru::Lru;
use mending::Mending;
pub(crate) use metrics::ImageMetrics;
use pieces::joined;
use receiving::Receiving;
use trouble::NoBytes;

/// About what an open image of an extent takes in memory.
const MAP_BYTES: usize = 64 << 10;

/// Images, wherever they are.
pub(crate) struct Images {
    env: Env,
    pub(crate) dir: ImageStore,
    directory: Arc<Directory>,
    pub(crate) metrics: ImageMetrics,
    groups: Groups,
    /// Images here that were read lately.
    opened: Mutex<Lru<ImageId, StoredImage>>,
    /// What surrounds the frames of images that are not here, or not whole.
    lost: Mutex<Lru<ImageId, Image>>,
    /// Frames of those, as content.
    frames: Mutex<Lru<(ImageId, u16), Bytes>>,
    /// Servers that did not answer, and until when others are asked first.
    silent: Mutex<HashMap<u32, u64>>,
    receiving: Mutex<HashMap<ImageId, Receiving>>,
    /// Bytes of images that are being read for others.
    read_room: Semaphore,
    /// Groups being encoded and images being made again.
    works: Semaphore,
    /// Those, and calls that wait for their turn.
    works_asked: Semaphore,
    /// Bytes of images that are made again.
    repair: Throttle,
    mending: Mutex<Mending>,
    touched: Mutex<Touched>,
}

/// Something that a metadata server asked for is being done as long as this is there.
pub(crate) struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _turn: SemaphorePermit<'a>,
}

/// When images were made here for a metadata server, or another one: a question that is older says
/// nothing about them.
#[derive(Default)]
struct Touched {
    clock: u64,
    at: HashMap<ImageId, u64>,
}

impl Images {
    /// Opens the directory of images of a store in `dir`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub(crate) async fn open(
        env: &Env,
        dir: &Path,
        directory: Arc<Directory>,
        metrics: ImageMetrics,
        repair: Throttle,
    ) -> Result<Arc<Self>, StoreError> {
        let dir = ImageStore::open(Arc::clone(&env.disk), &dir.join("images")).await?;
        Ok(Arc::new(Self {
            env: env.clone(),
            dir,
            directory,
            metrics,
            groups: Groups::new(),
            opened: Mutex::new(Lru::new(IMAGES_OPEN_BYTES)),
            lost: Mutex::new(Lru::new(LOST_KNOWN_MAX)),
            frames: Mutex::new(Lru::new(FRAMES_KEPT_BYTES)),
            silent: Mutex::default(),
            receiving: Mutex::default(),
            read_room: Semaphore::new(IMAGE_BYTES_IN_FLIGHT_MAX as usize),
            works: Semaphore::new(IMAGE_WORKS_MAX),
            works_asked: Semaphore::new(IMAGE_WORKS_MAX + IMAGE_WORKS_QUEUED_MAX),
            repair,
            mending: Mutex::default(),
            touched: Mutex::default(),
        }))
    }

    /// A moment, to be compared with [`was_touched_since`](Self::was_touched_since).
    pub(crate) fn moment(&self) -> u64 {
        let mut touched = self.touched.lock();
        touched.clock += 1;
        touched.clock
    }

    /// Somebody has this image made here.
    pub(crate) fn touch(&self, image: ImageId) {
        let mut touched = self.touched.lock();
        touched.clock += 1;
        let now = touched.clock;
        touched.at.insert(image, now);
    }

    /// Whether somebody had the image made here after that moment.
    pub(crate) fn was_touched_since(&self, image: ImageId, moment: u64) -> bool {
        self.touched.lock().at.get(&image).is_some_and(|at| moment < *at)
    }

    /// Whoever asked before that moment has its answer.
    pub(crate) fn forget_touched_before(&self, moment: u64) {
        self.touched.lock().at.retain(|_, at| moment <= *at);
    }

    /// Opens an image that is here, or finds it open.
    pub(crate) async fn opened(&self, image: ImageId) -> Result<StoredImage, OpenError> {
        if let Some(opened) = self.opened.lock().get(&image) {
            return Ok(opened);
        }
        let opened = self.dir.open_any(image).await?;
        let cost = match &opened {
            StoredImage::Extent(_) => MAP_BYTES,
            // The lists are there as they are in the file, and by slot.
            StoredImage::Parity(parity) => {
                2 * usize::try_from(parity.info().file_bytes - parity.info().payload_bytes)
                    .unwrap_or(MAP_BYTES)
            }
        };
        self.opened.lock().put(image, opened.clone(), cost);
        Ok(opened)
    }

    /// Its file is, or will be, another one.
    pub(crate) fn close(&self, image: ImageId) {
        self.opened.lock().remove(&image);
    }

    /// Deletes an image.
    ///
    /// # Errors
    /// Any [`DeleteError`].
    pub(crate) async fn delete(&self, image: ImageId) -> Result<(), DeleteError> {
        self.close(image);
        let deleted = self.dir.delete(image).await;
        // It may have been opened again meanwhile.
        self.close(image);
        deleted
    }

    /// The group of an image that is, or should be, here, as a metadata server says now, and the
    /// slot that is ours: one of two copies has the same name.
    pub(crate) async fn group_of(&self, image: ImageId) -> Result<Found, NoGroup> {
        let now_ms = self.env.clock.monotonic_ms();
        let mut found = self.groups.ask(&self.directory, image, now_ms).await?;
        let (shape, homes) = (found.group.shape(), found.group.homes());
        let ours = |slot: &usize| {
            homes[*slot] == self.directory.own() && shape.image(*slot).is_some_and(|(one, _)| one == image)
        };
        found.slot = (0..shape.slots()).find(ours).unwrap_or(found.slot);
        Ok(found)
    }

    /// The right to do what a metadata server asks for: in the order in which the calls came.
    ///
    /// # Errors
    /// BUSY if too many wait already, or its turn does not come.
    pub(crate) async fn asked_to_work(&self) -> Result<Turn<'_>, Refusal> {
        let place = self.works_asked.try_acquire().map_err(|_| Refusal::Busy)?;
        tokio::select! {
            biased;
            turn = self.works.acquire() => {
                turn.map(|turn| Turn { _place: place, _turn: turn }).map_err(|_| Refusal::Busy)
            }
            () = self.env.clock.sleep_ms(IMAGE_WORK_WAIT_MS_MAX) => Err(Refusal::Busy),
        }
    }

    /// The right to make an image again: only so many are made at a time.
    pub(crate) async fn turn_to_work(&self) -> Option<SemaphorePermit<'_>> {
        self.works.acquire().await.ok()
    }

    /// Bytes of the file of an image that is here.
    async fn raw(&self, image: ImageId, offset: u64, length: u32) -> Result<Bytes, NoBytes> {
        let opened = self.opened(image).await.map_err(|error| self.bad(image, &error))?;
        let read = opened.read_raw(offset, length).await;
        let mut pieces = read.map_err(|error| self.bad(image, &error))?;
        match (pieces.len(), pieces.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => Ok(joined(pieces.iter().chain(&last))),
        }
    }

    fn bad(&self, image: ImageId, error: &dyn std::error::Error) -> NoBytes {
        if self.dir.contains(image) {
            self.metrics.bad_images.inc();
            tracing::warn!(%image, %error, "an image here gives no right bytes");
        }
        self.close(image);
        NoBytes::Absent
    }
}
