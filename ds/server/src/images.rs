//! The images of this server, and every image that its journal names: the directory they are in, and how their bytes are got at.
//!
//! Content is read from the image here; if there is none, or a frame of it is bad, from where the group's record says; if that
//! fails, it is computed from the rest of the group. `serve` is what other servers ask for, `encode` and `rebuild` make images that
//! metadata servers want, `mend` writes bad frames anew. When and what is sealed is not decided here.
//!
//! INVARIANT: content that comes out was compared with the hashes that the image's root vouches for.
//! Spec: docs/protocol/seal.md §5.

pub(crate) mod encode;
mod groups;
pub(crate) mod have;
mod lru;
pub(crate) mod mend;
mod metrics;
mod outlet;
pub(crate) mod rebuild;
mod rebuilt;
mod remote;
pub(crate) mod serve;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ds_image::limits::FRAME_BYTES;
use ds_image::{
    DeleteError, Image, ImageBytes, ImageId, ImageRoot, ImageStore, OpenError, StoreError, StoredImage,
};
use ds_store::{ImageReadError, ImageRef, ImageSource};
use env::{BoxFuture, Env};
use layout::ExtentId;
use layout::ec::Group;
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
pub(crate) use metrics::ImageMetrics;
use rebuilt::RebuiltBytes;
use remote::{NoBytes, RemoteBytes, Trouble};
use serve::Receiving;

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
    mending: Mutex<mend::Mending>,
    touched: Mutex<Touched>,
}

/// Something that a metadata server asked for is being done as long as this is there.
pub(crate) struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _turn: SemaphorePermit<'a>,
}

/// When images were made here for a metadata server, or another one: a question that is older says nothing about them.
#[derive(Default)]
struct Touched {
    clock: u64,
    at: HashMap<ImageId, u64>,
}

/// What the store reads images through.
pub(crate) struct Source(pub(crate) Arc<Images>);

impl ImageSource for Source {
    fn read(
        &self,
        _: ExtentId,
        image: &ImageRef,
        offset: u32,
        length: u32,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ImageReadError>> {
        let (images, image) = (Arc::clone(&self.0), *image);
        Box::pin(async move { images.content(&image, offset, length).await })
    }
}

/// No bytes: what is known of an image is kept without a way to read it.
struct Nowhere;

impl ImageBytes for Nowhere {
    fn file_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::NotFound.into())))
    }

    fn read_at(&self, _: u64, _: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::NotFound.into())))
    }
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

    /// The group of an image that is, or should be, here, as a metadata server says now, and the slot that is ours: one of two copies
    /// has the same name.
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

    /// Content of an image that the journal names, or the log: `length` bytes from `offset` on, all of them within it.
    pub(crate) async fn content(
        self: &Arc<Self>,
        image: &ImageRef,
        offset: u32,
        length: u32,
    ) -> Result<Vec<Bytes>, ImageReadError> {
        if let Some(pieces) = self.here(image, offset, length).await {
            return Ok(pieces);
        }
        let frame = u32::try_from(FRAME_BYTES).expect("64 KiB");
        let end = offset + length;
        let start = offset - offset % frame;
        let stop = end.next_multiple_of(frame).min(image.content_bytes);
        let whole = match self.kept(image.image, start..stop) {
            Some(pieces) => pieces,
            None => {
                let pieces = self.elsewhere(image, start..stop).await?;
                self.keep(image.image, start, &pieces);
                pieces
            }
        };
        Ok(part(whole, (offset - start) as usize, length as usize))
    }

    /// From the image here, if there is one and it is right.
    async fn here(self: &Arc<Self>, image: &ImageRef, offset: u32, length: u32) -> Option<Vec<Bytes>> {
        if !self.dir.contains(image.image) {
            return None;
        }
        let read = match self.opened(image.image).await {
            Ok(StoredImage::Extent(found)) if found.info().root.0 == image.root => {
                found.read(offset, length).await.map_err(|error| self.bad(image.image, &error))
            }
            Ok(_) => Err(NoBytes::Absent),
            Err(error) => Err(self.bad(image.image, &error)),
        };
        if read.is_err() {
            mend::begin(self, image);
        }
        read.ok()
    }

    /// From another server, or computed. What was remembered of the group may be old: then it is asked for once more.
    async fn elsewhere(
        self: &Arc<Self>,
        image: &ImageRef,
        range: Range<u32>,
    ) -> Result<Vec<Bytes>, ImageReadError> {
        let now_ms = self.env.clock.monotonic_ms();
        if let Some(known) = self.groups.known(image.image, now_ms)
            && let Ok(pieces) = self.from_group(&known, image, &range).await
        {
            return Ok(pieces);
        }
        let found =
            self.groups.ask(&self.directory, image.image, now_ms).await.map_err(|none| match none {
                NoGroup::Unknown => ImageReadError::Unavailable,
                NoGroup::None => ImageReadError::Damaged,
            })?;
        self.from_group(&found, image, &range).await
    }

    async fn from_group(
        self: &Arc<Self>,
        found: &groups::Found,
        image: &ImageRef,
        range: &Range<u32>,
    ) -> Result<Vec<Bytes>, ImageReadError> {
        let trouble = Arc::new(Trouble::default());
        let home = found.group.homes()[found.slot].filter(|home| self.directory.own() != Some(*home));
        if let Some(server) = home {
            if self.is_silent(server) {
                trouble.note(NoBytes::Unreachable);
            } else {
                let (images, trouble) = (Arc::clone(self), Arc::clone(&trouble));
                let file_bytes = u64::from(image.file_bytes);
                let gone = Arc::default();
                let bytes = RemoteBytes { images, server, image: image.image, file_bytes, trouble, gone };
                if let Some(pieces) = self.through(Arc::new(bytes), image, range).await {
                    self.metrics.remote_reads.inc();
                    return Ok(pieces);
                }
            }
        }
        let bytes = self.rebuilding(&found.group, found.slot, &trouble);
        match self.through(bytes, image, range).await {
            Some(pieces) => {
                self.metrics.rebuilt_reads.inc();
                Ok(pieces)
            }
            None if trouble.may_pass() => Err(ImageReadError::Unavailable),
            None => Err(ImageReadError::Damaged),
        }
    }

    fn rebuilding(
        self: &Arc<Self>,
        group: &Arc<Group>,
        slot: usize,
        trouble: &Arc<Trouble>,
    ) -> Arc<dyn ImageBytes> {
        Arc::new(RebuiltBytes::new(Arc::clone(self), Arc::clone(group), slot, Arc::clone(trouble)))
    }

    /// Reads an image through bytes that are not believed.
    async fn through(
        &self,
        bytes: Arc<dyn ImageBytes>,
        image: &ImageRef,
        range: &Range<u32>,
    ) -> Option<Vec<Bytes>> {
        let read = async {
            let opened = self.lost_image(bytes, image).await.map_err(|error| error.to_string())?;
            let length = range.end - range.start;
            opened.read(range.start, length).await.map_err(|error| error.to_string())
        };
        let read: Result<Vec<Bytes>, String> = read.await;
        read.inspect_err(|error| tracing::debug!(image = %image.image, %error, "not there")).ok()
    }

    /// An image that is read through such bytes. What surrounds its frames is the same wherever it came from.
    async fn lost_image(&self, bytes: Arc<dyn ImageBytes>, image: &ImageRef) -> Result<Image, OpenError> {
        if let Some(known) = self.lost.lock().get(&image.image)
            && known.info().root.0 == image.root
        {
            return Ok(known.through(bytes));
        }
        let opened = Image::open(bytes, image.image, ImageRoot(image.root)).await?;
        self.lost.lock().put(image.image, opened.through(Arc::new(Nowhere)), 1);
        Ok(opened)
    }

    fn kept(&self, image: ImageId, range: Range<u32>) -> Option<Vec<Bytes>> {
        let mut frames = self.frames.lock();
        frames_of(range).map(|frame| frames.get(&(image, frame))).collect()
    }

    /// Keeps whole frames of an image that is not here: who reads on needs not compute them again.
    fn keep(&self, image: ImageId, start: u32, pieces: &[Bytes]) {
        let mut frames = self.frames.lock();
        let mut at = start;
        for piece in pieces {
            let frame = u16::try_from(at as usize / FRAME_BYTES).expect("inside an extent");
            at += u32::try_from(piece.len()).expect("at most a frame");
            // A piece may be a part of something much larger, which would stay as long as it does.
            frames.put((image, frame), Bytes::copy_from_slice(piece), piece.len());
        }
    }
}

/// The frames of a range that begins at one.
fn frames_of(range: Range<u32>) -> impl Iterator<Item = u16> {
    let frame = |at: u32| u16::try_from((at as usize).div_ceil(FRAME_BYTES)).expect("inside an extent");
    frame(range.start)..frame(range.end)
}

/// `length` bytes behind the first `skip`.
fn part(pieces: Vec<Bytes>, mut skip: usize, length: usize) -> Vec<Bytes> {
    let mut left = length;
    let mut parts = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        let _before = piece.split_to(skip.min(piece.len()));
        skip -= _before.len();
        piece.truncate(left);
        left -= piece.len();
        if !piece.is_empty() {
            parts.push(piece);
        }
    }
    parts
}

fn joined<'a>(pieces: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut all = BytesMut::new();
    pieces.for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_pieces() {
        let pieces =
            || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"fgh")];
        for (skip, length) in [(0, 8), (0, 2), (1, 3), (3, 2), (4, 4), (7, 1), (5, 0)] {
            assert_eq!(part(pieces(), skip, length).concat(), b"abcdefgh"[skip..skip + length]);
        }
    }

    #[test]
    fn frames_of_ranges() {
        let frames = |range: Range<u32>| frames_of(range).collect::<Vec<u16>>();
        assert_eq!(frames(0..65_536), [0]);
        assert_eq!(frames(65_536..131_073), [1, 2]);
        assert_eq!(frames(1023 << 16..64 << 20), [1023]);
    }
}
