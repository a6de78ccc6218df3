//! Reads content of images: here, from another data server, or computed from the group.
//!
//! INVARIANT: content that comes out was compared with the hashes that the image's root vouches
//! for.
//! Spec: docs/protocol/seal.md §5.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ds_image::limits::FRAME_BYTES;
use ds_image::{Image, ImageBytes, ImageId, ImageRoot, OpenError, StoredImage};
use ds_store::{ImageReadError, ImageRef, ImageSource};
use env::BoxFuture;
use layout::ExtentId;

use super::Images;
use super::groups::{self, NoGroup};
use super::mend::start_mending;
use super::pieces::{frames_of, part};
use super::remote::RemoteBytes;
use super::trouble::{NoBytes, Trouble};

/// The way in which the store reads images.
pub(crate) struct StoreImages(pub(crate) Arc<Images>);

impl ImageSource for StoreImages {
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

/// No bytes: an image is kept without a way to read it.
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
    /// Content of an image that the journal names, or the log: `length` bytes from `offset` on, all
    /// of them within it.
    pub(crate) async fn content(
        self: &Arc<Self>,
        image: &ImageRef,
        offset: u32,
        length: u32,
    ) -> Result<Vec<Bytes>, ImageReadError> {
        if let Some(pieces) = self.read_here(image, offset, length).await {
            return Ok(pieces);
        }
        let frame = u32::try_from(FRAME_BYTES).expect("64 KiB");
        let end = offset + length;
        let start = offset - offset % frame;
        let stop = end.next_multiple_of(frame).min(image.content_bytes);
        assert!(start <= offset && end <= stop, "whole frames hold the range");
        let whole = match self.find_kept(image.image, start..stop) {
            Some(pieces) => pieces,
            None => {
                let pieces = self.read_elsewhere(image, start..stop).await?;
                self.keep_frames(image.image, start, &pieces);
                pieces
            }
        };
        Ok(part(whole, (offset - start) as usize, length as usize))
    }

    /// Reads the image here, if there is one and it is right.
    async fn read_here(self: &Arc<Self>, image: &ImageRef, offset: u32, length: u32) -> Option<Vec<Bytes>> {
        if !self.shelf.dir.contains(image.image) {
            return None;
        }
        let read = match self.shelf.open_image(image.image).await {
            Ok(StoredImage::Extent(found)) if found.info().root.0 == image.root => {
                found.read(offset, length).await.map_err(|error| self.shelf.note_bad(image.image, &error))
            }
            Ok(_) => Err(NoBytes::Absent),
            Err(error) => Err(self.shelf.note_bad(image.image, &error)),
        };
        if read.is_err() {
            start_mending(self, image);
        }
        read.ok()
    }

    /// Reads another server's image, or computes the range. What this server remembers of the group
    /// may be old: then it asks for the group once more.
    async fn read_elsewhere(
        self: &Arc<Self>,
        image: &ImageRef,
        range: Range<u32>,
    ) -> Result<Vec<Bytes>, ImageReadError> {
        let now_ms = self.clock.monotonic_ms();
        if let Some(known) = self.groups.known(image.image, now_ms)
            && let Ok(pieces) = self.read_group(&known, image, &range).await
        {
            return Ok(pieces);
        }
        let found =
            self.groups.ask_group(&self.directory, image.image, now_ms).await.map_err(|none| match none {
                NoGroup::Unknown => ImageReadError::Unavailable,
                NoGroup::None => ImageReadError::Damaged,
            })?;
        self.read_group(&found, image, &range).await
    }

    async fn read_group(
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
                if let Some(pieces) = self.read_through(Arc::new(bytes), image, range).await {
                    self.shelf.metrics.remote_reads.inc();
                    return Ok(pieces);
                }
            }
        }
        let bytes = self.rebuilt_bytes(&found.group, found.slot, &trouble);
        match self.read_through(bytes, image, range).await {
            Some(pieces) => {
                self.shelf.metrics.rebuilt_reads.inc();
                Ok(pieces)
            }
            None if trouble.may_pass() => Err(ImageReadError::Unavailable),
            None => Err(ImageReadError::Damaged),
        }
    }

    /// Reads an image through bytes that this server compares with the image's hashes.
    async fn read_through(
        &self,
        bytes: Arc<dyn ImageBytes>,
        image: &ImageRef,
        range: &Range<u32>,
    ) -> Option<Vec<Bytes>> {
        let read = async {
            let opened = self.open_lost(bytes, image).await.map_err(|error| error.to_string())?;
            let length = range.end - range.start;
            opened.read(range.start, length).await.map_err(|error| error.to_string())
        };
        let read: Result<Vec<Bytes>, String> = read.await;
        read.inspect_err(|error| tracing::debug!(image = %image.image, %error, "not there")).ok()
    }

    /// Opens an image through such bytes. What surrounds its frames is the same wherever it came
    /// from.
    async fn open_lost(&self, bytes: Arc<dyn ImageBytes>, image: &ImageRef) -> Result<Image, OpenError> {
        if let Some(known) = self.elsewhere.lost.lock().get(&image.image)
            && known.info().root.0 == image.root
        {
            return Ok(known.through(bytes));
        }
        let opened = Image::open(bytes, image.image, ImageRoot(image.root)).await?;
        self.elsewhere.lost.lock().put(image.image, opened.through(Arc::new(Nowhere)), 1);
        Ok(opened)
    }

    /// Frames of an image that are kept, if all of the range are.
    fn find_kept(&self, image: ImageId, range: Range<u32>) -> Option<Vec<Bytes>> {
        let mut frames = self.elsewhere.frames.lock();
        frames_of(range).map(|frame| frames.get(&(image, frame))).collect()
    }

    /// Keeps whole frames of an image that is not here, so that a client which reads on does not
    /// have them computed again.
    fn keep_frames(&self, image: ImageId, start: u32, pieces: &[Bytes]) {
        let mut frames = self.elsewhere.frames.lock();
        let mut at = start;
        for piece in pieces {
            let frame = u16::try_from(at as usize / FRAME_BYTES).expect("inside an extent");
            assert!(piece.len() <= FRAME_BYTES, "a piece of an image is at most a frame");
            at += u32::try_from(piece.len()).expect("at most a frame");
            // A piece may be a part of something much larger, which would stay as long as it does.
            frames.put((image, frame), Bytes::copy_from_slice(piece), piece.len());
        }
    }
}
