//! Reads an image: opening, ranges of content, raw bytes, a walk through everything.
//!
//! INVARIANT: no byte is given out whose frame was not compared with its hash since it was read.
//! Spec: docs/formats/image.md §5.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use env::File;
use layout::ec::{ImageId, ImageSum};

use super::bytes::{ImageBytes, LocalBytes};
use crate::error::{FrameFault, OpenError, ReadError, VerifyError};
use crate::format::FormatError;
use crate::format::footer::{self, Footer};
use crate::identity::{ImageInfo, ImageRoot};
use crate::limits::{FOOTER_BYTES, FRAME_BYTES, HEADER_BYTES, TAIL_READ_BYTES, WALK_READ_BYTES};
use crate::map::{ImageMap, RawStep, Step, StoredFrame, entries_of};

static ZEROS: [u8; FRAME_BYTES] = [0; FRAME_BYTES];

/// An image open for reading. Clones are the same one.
#[derive(Clone)]
pub struct Image {
    opened: Arc<Opened>,
}

struct Opened {
    bytes: Arc<dyn ImageBytes>,
    map: Arc<ImageMap>,
}

/// How far a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file that were read and verified,
    pub bytes_done: u64,
    /// of so many.
    pub bytes: u64,
    /// Bad frames so far.
    pub bad_frames: usize,
}

/// A frame that a walk found to be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// Its number.
    pub frame: u16,
    /// What is wrong with it.
    pub fault: FrameFault,
}

/// What was read of some frames that lie one behind the other; nothing if the disk refused.
pub(super) struct Fetched {
    from: u64,
    bytes: Option<Bytes>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("info", self.info()).finish_non_exhaustive()
    }
}

impl From<VerifyError> for OpenError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Format(error) => Self::Format(error),
            VerifyError::Io(error) => Self::Io(error),
        }
    }
}

impl Image {
    pub(super) async fn load(file: Arc<dyn File>) -> Result<Self, VerifyError> {
        Self::read_map(Arc::new(LocalBytes(file))).await
    }

    async fn read_map(bytes: Arc<dyn ImageBytes>) -> Result<Self, VerifyError> {
        let map = Arc::new(load_map(&*bytes).await?);
        Ok(Self { opened: Arc::new(Opened { bytes, map }) })
    }

    /// Opens an image whose file is not in a directory of ours. The root vouches for everything
    /// that is read of it.
    ///
    /// # Errors
    /// Any [`OpenError`] but `Absent`; [`FormatError::Foreign`] and [`FormatError::Root`] if it is
    /// not the image that has this id and root.
    pub async fn open(
        bytes: Arc<dyn ImageBytes>,
        image: ImageId,
        root: ImageRoot,
    ) -> Result<Self, OpenError> {
        let opened = Self::read_map(bytes).await?;
        let info = opened.info();
        if info.identity.image != image {
            return Err(FormatError::Foreign { found: info.identity.image }.into());
        }
        if info.root != root {
            return Err(FormatError::Root { said: root, found: info.root }.into());
        }
        Ok(opened)
    }

    /// The same image, its frames read from elsewhere: what surrounds them is not read again.
    #[must_use]
    pub fn through(&self, bytes: Arc<dyn ImageBytes>) -> Self {
        Self { opened: Arc::new(Opened { bytes, map: Arc::clone(&self.opened.map) }) }
    }

    /// What is known of the image as a whole. Its bytes, as parity sees them, are
    /// [`ImageInfo::image_bytes`].
    #[must_use]
    pub fn info(&self) -> &ImageInfo {
        self.map().info()
    }

    pub(super) fn map(&self) -> &ImageMap {
        &self.opened.map
    }

    /// Where a frame lies in the file; `None` if it is a hole or behind the end. Tells what to
    /// rebuild when it is bad.
    #[must_use]
    pub fn stored_frame(&self, frame: u16) -> Option<StoredFrame> {
        self.map().entry_of(frame).map(|entry| self.map().stored_frame(entry))
    }

    /// All stored frames by ascending number. What lies between them is holes.
    pub fn stored_frames(&self) -> impl Iterator<Item = StoredFrame> {
        (0..self.map().places().len()).map(|entry| self.map().stored_frame(entry))
    }

    /// Content: `length` bytes from `offset` on, in bytes from the start of the extent, in pieces;
    /// fewer only where the content ends. Holes are zeros. Reads and verifies whole frames.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub async fn read(&self, offset: u32, length: u32) -> Result<Vec<Bytes>, ReadError> {
        let steps = self.map().steps(offset, length)?;
        let fetched = self.fetch(&entries_of(&steps)).await;
        let mut pieces = Vec::with_capacity(steps.len());
        for step in steps {
            pieces.push(match step {
                Step::Hole(bytes) => Bytes::from_static(&ZEROS[..bytes]),
                Step::Frame { entry, part } => {
                    let stored = self.stored(&fetched, entry).await;
                    let content = stored.and_then(|stored| self.map().content(entry, stored));
                    content.map_err(|fault| self.damaged(entry, fault))?.slice(part)
                }
            });
            tokio::task::yield_now().await;
        }
        Ok(pieces)
    }

    /// Bytes of the file as they are, in pieces: for parity, and for who rebuilds another image.
    /// Every frame that the range touches is verified as a whole, so long ranges cost least.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub async fn read_raw(&self, offset: u64, length: u32) -> Result<Vec<Bytes>, ReadError> {
        let steps = self.map().raw_steps(offset, length)?;
        let fetched = self.fetch(&entries_of(&steps)).await;
        let mut pieces = Vec::with_capacity(steps.len());
        for step in steps {
            pieces.push(match step {
                RawStep::Known(bytes) => bytes,
                RawStep::Frame { entry, part } => {
                    let stored = self.stored(&fetched, entry).await;
                    let checked = stored.and_then(|stored| self.map().check(entry, &stored).map(|()| stored));
                    checked.map_err(|fault| self.damaged(entry, fault))?.slice(part)
                }
            });
            tokio::task::yield_now().await;
        }
        Ok(pieces)
    }

    /// BLAKE3 of the file, by which a group knows the image: reads and verifies all of it.
    ///
    /// # Errors
    /// [`ReadError::Damaged`].
    pub async fn sum(&self) -> Result<ImageSum, ReadError> {
        let mut sum = blake3::Hasher::new();
        let (mut at, bytes) = (0, self.info().image_bytes);
        while at < bytes {
            let length = u32::try_from((bytes - at).min(WALK_READ_BYTES)).expect("at most a walk's read");
            for piece in self.read_raw(at, length).await? {
                sum.update(&piece);
            }
            at += u64::from(length);
        }
        Ok(ImageSum(*sum.finalize().as_bytes()))
    }

    /// Reads everything again and verifies it, down to the content of each frame. Answers the bad
    /// frames.
    ///
    /// `progress` is called after each piece of the file, [`WALK_READ_BYTES`] or a frame, and
    /// waited for: what it waits is the walk's pace.
    ///
    /// # Errors
    /// Any [`VerifyError`].
    pub async fn verify<F>(
        &self,
        mut progress: impl FnMut(Progress) -> F + Send,
    ) -> Result<Vec<BadFrame>, VerifyError>
    where
        F: Future<Output = ()> + Send,
    {
        let info = load_map(&*self.opened.bytes).await?.info().to_owned();
        if info != *self.info() {
            return Err(FormatError::Root { said: self.info().root, found: info.root }.into());
        }
        let mut bad = Vec::new();
        let around = info.image_bytes - u64::from(info.stored_bytes);
        progress(Progress { bytes_done: around, bytes: info.image_bytes, bad_frames: 0 }).await;
        for run in self.map().runs(WALK_READ_BYTES) {
            let done = around + self.map().span(&run).end - HEADER_BYTES as u64;
            let fetched = self.fetch(&run).await;
            for entry in run {
                let stored = self.stored(&fetched, entry).await;
                if let Err(fault) = stored.and_then(|stored| self.map().content(entry, stored)) {
                    bad.push(BadFrame { frame: self.map().places()[entry].frame, fault });
                }
                tokio::task::yield_now().await;
            }
            progress(Progress { bytes_done: done, bytes: info.image_bytes, bad_frames: bad.len() }).await;
        }
        Ok(bad)
    }

    fn damaged(&self, entry: usize, fault: FrameFault) -> ReadError {
        ReadError::Damaged { frame: self.map().places()[entry].frame, fault }
    }

    /// Reads the stored bytes of entries at once. The caller bounds them.
    pub(super) async fn fetch(&self, entries: &Range<usize>) -> Fetched {
        let Range { start: from, end } = self.map().span(entries);
        if from == end {
            return Fetched { from, bytes: Some(Bytes::new()) };
        }
        let length = usize::try_from(end - from).expect("at most IMAGE_BYTES_MAX");
        Fetched { from, bytes: self.opened.bytes.read_at(from, length).await.ok() }
    }

    /// The stored bytes of one entry of those fetched, as far as the file goes; not verified yet.
    /// If the disk refused to read them all, it may still give this one.
    pub(super) async fn stored(&self, fetched: &Fetched, entry: usize) -> Result<Bytes, FrameFault> {
        let span = self.map().span(&(entry..entry + 1));
        let length = usize::try_from(span.end - span.start).expect("at most a frame");
        match &fetched.bytes {
            Some(bytes) => {
                let at = usize::try_from(span.start - fetched.from).expect("inside what was fetched");
                Ok(bytes.slice(at.min(bytes.len())..(at + length).min(bytes.len())))
            }
            None => {
                let read = self.opened.bytes.read_at(span.start, length).await;
                read.map_err(|_| FrameFault::Unreadable)
            }
        }
    }
}

/// Reads and checks what surrounds the frames: two reads, whatever the image.
async fn load_map(file: &dyn ImageBytes) -> Result<ImageMap, VerifyError> {
    let image_bytes = file.file_bytes().await?;
    footer::check_length(image_bytes)?;
    let length = usize::try_from(image_bytes).expect("at most IMAGE_BYTES_MAX").min(TAIL_READ_BYTES);
    let end = file.read_at(image_bytes - length as u64, length).await?;
    let short = FormatError::Length { bytes: end.len() as u64 };
    let last: &[u8; FOOTER_BYTES] = end.last_chunk().ok_or(short)?;
    let footer = Footer::decode(last, image_bytes)?;
    let tail_bytes = footer.index_bytes() + FOOTER_BYTES;
    // The file may have been cut between two of these calls.
    let tail = end.len().checked_sub(tail_bytes).map(|at| end.slice(at..)).ok_or(short)?;
    let header = file.read_at(0, HEADER_BYTES).await?;
    let header: &[u8; HEADER_BYTES] = header[..].try_into().map_err(|_| short)?;
    Ok(ImageMap::decode(header, &footer, tail)?)
}
