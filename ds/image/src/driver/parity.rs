//! Reads a parity image: its footer, its raw bytes block by block, a walk through everything.
//!
//! INVARIANT: no byte of the payload is given out whose block was not compared with its list since
//! it was read; the footer was checked when the image was opened, and is given out from memory.
//! Spec: docs/formats/group.md §4, §5.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use layout::ec::footer::{Footer, FooterError, TRAILER_BYTES, Trailer};
use layout::ec::{ImageId, ImageSum, Shape, Sums};

use super::bytes::ImageBytes;
use super::image::{BadFrame, Progress};
use crate::error::{FrameFault, OpenError, ReadError};
use crate::format::FormatError;
use crate::identity::ParityInfo;
use crate::limits::{FILE_BYTES_MAX, RAW_BLOCK_BYTES, READ_BYTES_MAX, WALK_READ_BYTES};

const MAGIC: &[u8] = b"SHOALPAR";

/// A parity image open for reading. Clones are the same one.
#[derive(Clone)]
pub struct ParityImage {
    opened: Arc<Opened>,
}

struct Opened {
    bytes: Arc<dyn ImageBytes>,
    info: ParityInfo,
    footer: Footer,
    /// What follows the payload, as it is in the file.
    tail: Bytes,
}

impl fmt::Debug for ParityImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParityImage").field("info", self.info()).finish_non_exhaustive()
    }
}

/// Whether a file ends as parity images do. What is wrong with it otherwise shows when it is
/// opened.
pub(super) async fn is_parity(bytes: &dyn ImageBytes) -> Result<bool, OpenError> {
    let file_bytes = bytes.file_bytes().await?;
    let Some(at) = file_bytes.checked_sub(TRAILER_BYTES as u64) else {
        return Err(FormatError::Length { bytes: file_bytes }.into());
    };
    Ok(bytes.read_at(at, MAGIC.len()).await?[..] == *MAGIC)
}

impl ParityImage {
    pub(super) async fn load(bytes: Arc<dyn ImageBytes>) -> Result<Self, OpenError> {
        let file_bytes = bytes.file_bytes().await?;
        let length = FormatError::Length { bytes: file_bytes };
        if FILE_BYTES_MAX < file_bytes {
            return Err(length.into());
        }
        let at = file_bytes.checked_sub(TRAILER_BYTES as u64).ok_or(length)?;
        let trailer = bytes.read_at(at, TRAILER_BYTES).await?;
        let trailer = Trailer::decode(trailer[..].try_into().map_err(|_| length)?, file_bytes)?;
        let tail = bytes.read_at(trailer.payload_bytes, trailer.footer_bytes()).await?;
        let footer = Footer::decode(trailer, &tail)?;
        let slot = footer.shape.profile().data() + footer.parity;
        let (image, sum) = footer.shape.image(slot).ok_or(FooterError::Lists)?;
        let (group, payload_bytes) = (footer.shape.group(), trailer.payload_bytes);
        let info = ParityInfo { image, group, slot, payload_bytes, file_bytes, sum };
        Ok(Self { opened: Arc::new(Opened { bytes, info, footer, tail }) })
    }

    /// Opens a parity image whose file is not in a directory of ours. What it says of itself is
    /// consistent, and no more: the caller knows the group, and compares the sum.
    ///
    /// # Errors
    /// Any [`OpenError`] but `Absent`; [`FormatError::Foreign`] if it is another image.
    pub async fn open(bytes: Arc<dyn ImageBytes>, image: ImageId) -> Result<Self, OpenError> {
        let opened = Self::load(bytes).await?;
        let found = opened.info().image;
        if found == image { Ok(opened) } else { Err(FormatError::Foreign { found }.into()) }
    }

    /// What is known of it as a whole.
    #[must_use]
    pub fn info(&self) -> &ParityInfo {
        &self.opened.info
    }

    /// The group as it was made: its images, their lengths and sums.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.opened.footer.shape
    }

    /// The checksums of the blocks of each slot's image.
    #[must_use]
    pub fn sums(&self) -> &[Sums] {
        &self.opened.footer.sums
    }

    /// Bytes of the file as they are, in pieces. Every block that the range touches is verified as
    /// a whole.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub async fn read_raw(&self, offset: u64, length: u32) -> Result<Vec<Bytes>, ReadError> {
        let ParityInfo { payload_bytes, file_bytes, .. } = *self.info();
        let end = offset.checked_add(u64::from(length)).filter(|end| *end <= file_bytes);
        let Some(end) = end.filter(|_| length <= READ_BYTES_MAX) else {
            return Err(ReadError::Range { offset, length });
        };
        let mut pieces = Vec::new();
        let payload_end = end.min(payload_bytes);
        if offset < payload_end {
            let first = offset / RAW_BLOCK_BYTES;
            let last = payload_end.div_ceil(RAW_BLOCK_BYTES);
            let start = first * RAW_BLOCK_BYTES;
            let read = self.blocks(first, last).await;
            for block in first..last {
                self.check(block, &read, start)?;
                tokio::task::yield_now().await;
            }
            pieces.push(read.slice(place(offset - start)..place(payload_end - start)));
        }
        let tail_start = offset.max(payload_bytes);
        if tail_start < end {
            pieces
                .push(self.opened.tail.slice(place(tail_start - payload_bytes)..place(end - payload_bytes)));
        }
        Ok(pieces)
    }

    /// Reads everything again and verifies it. Answers the bad blocks; what surrounds them was
    /// checked when it was opened.
    ///
    /// `progress` is called after each [`WALK_READ_BYTES`], and waited for: what it waits is the
    /// walk's pace.
    pub async fn verify<F>(&self, mut progress: impl FnMut(Progress) -> F + Send) -> Vec<BadFrame>
    where
        F: Future<Output = ()> + Send,
    {
        let ParityInfo { payload_bytes, file_bytes: bytes, .. } = *self.info();
        let around = bytes - payload_bytes;
        progress(Progress { bytes_done: around, bytes, bad_frames: 0 }).await;
        let blocks = self.info().payload_bytes.div_ceil(RAW_BLOCK_BYTES);
        let step = WALK_READ_BYTES / RAW_BLOCK_BYTES;
        let mut bad = Vec::new();
        for first in (0..blocks).step_by(place(step)) {
            let last = blocks.min(first + step);
            let read = self.blocks(first, last).await;
            for block in first..last {
                if let Err(ReadError::Damaged { frame, fault }) =
                    self.check(block, &read, first * RAW_BLOCK_BYTES)
                {
                    bad.push(BadFrame { frame, fault });
                }
                tokio::task::yield_now().await;
            }
            let bytes_done = around + (last * RAW_BLOCK_BYTES).min(payload_bytes);
            progress(Progress { bytes_done, bytes, bad_frames: bad.len() }).await;
        }
        bad
    }

    /// BLAKE3 of the whole file, footer and all: reads and verifies all of it.
    ///
    /// # Errors
    /// [`ReadError::Damaged`].
    pub async fn file_sum(&self) -> Result<ImageSum, ReadError> {
        let mut sum = blake3::Hasher::new();
        let (mut at, bytes) = (0, self.info().file_bytes);
        while at < bytes {
            let length = u32::try_from((bytes - at).min(WALK_READ_BYTES)).expect("at most a walk's read");
            for piece in self.read_raw(at, length).await? {
                sum.update(&piece);
            }
            at += u64::from(length);
        }
        Ok(ImageSum(*sum.finalize().as_bytes()))
    }

    /// Whole blocks, as far as the disk gives them; nothing if it refuses.
    async fn blocks(&self, first: u64, last: u64) -> Bytes {
        let start = first * RAW_BLOCK_BYTES;
        let end = (last * RAW_BLOCK_BYTES).min(self.info().payload_bytes);
        // The block that is missing then tells what is wrong.
        self.opened.bytes.read_at(start, place(end - start)).await.unwrap_or_default()
    }

    /// Compares a block of what was read from `start` on with the list.
    fn check(&self, block: u64, read: &Bytes, start: u64) -> Result<(), ReadError> {
        let ParityInfo { payload_bytes, slot, .. } = *self.info();
        let (from, to) = (block * RAW_BLOCK_BYTES, ((block + 1) * RAW_BLOCK_BYTES).min(payload_bytes));
        let damaged = |fault| ReadError::Damaged { frame: u16::try_from(block).expect("bounded"), fault };
        let bytes = read.get(place(from - start)..place(to - start));
        let bytes = bytes.ok_or_else(|| damaged(FrameFault::Short))?;
        if self.opened.footer.sums[slot].check(block, bytes) {
            Ok(())
        } else {
            Err(damaged(FrameFault::Hash))
        }
    }
}

fn place(bytes: u64) -> usize {
    usize::try_from(bytes).expect("at most FILE_BYTES_MAX")
}
