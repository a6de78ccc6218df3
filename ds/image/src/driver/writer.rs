//! Writes an image, front to back, as its content comes.
//!
//! Memory: a frame, its compressed form, the index so far, and up to [`WRITE_BYTES`] (and a frame)
//! that were not written yet.

use std::fmt;
use std::io;

use bytes::Bytes;
use layout::ec::ImageSum;

use super::draft::Draft;
use crate::encoder::Encoder;
use crate::error::{FinishError, WriteError};
use crate::identity::{Identity, Sealed};
use crate::limits::{WRITE_BYTES, WRITEBACK_BYTES};

/// An image being written. Dropping it gives it up.
pub struct ImageWriter {
    encoder: Encoder,
    output: Output,
    /// Set while a write runs: one that failed, or was dropped, leaves it set.
    is_broken: bool,
}

/// What goes to the end of the file.
pub(super) struct Output {
    draft: Draft,
    sum: blake3::Hasher,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    written_bytes: u64,
    /// How far writeback was started.
    writeback_bytes: u64,
}

impl fmt::Debug for ImageWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageWriter").field("is_broken", &self.is_broken).finish_non_exhaustive()
    }
}

impl ImageWriter {
    pub(super) fn new(draft: Draft, identity: Identity) -> io::Result<Self> {
        let encoder = Encoder::new(identity)?;
        let mut output = Output::new(draft);
        output.gather(encoder.header());
        Ok(Self { encoder, output, is_broken: false })
    }

    /// Appends content that begins at `offset`, in bytes from the start of the extent. What lies
    /// between the end of the last write and `offset` is a hole.
    ///
    /// # Errors
    /// Any [`WriteError`].
    pub async fn write(&mut self, offset: u32, data: Vec<Bytes>) -> Result<(), WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        self.encoder.admit(offset, data.iter().map(Bytes::len).sum())?;
        self.is_broken = true;
        if let Some(frame) = self.encoder.skip_to(offset) {
            self.output.append(frame).await?;
        }
        for mut piece in data {
            while !piece.is_empty() {
                if let Some(frame) = self.encoder.take(&mut piece) {
                    self.output.append(frame).await?;
                }
            }
        }
        self.is_broken = false;
        Ok(())
    }

    /// Ends the content at `content_bytes` and makes the image durable. It is there when this has
    /// answered `Ok`.
    ///
    /// # Errors
    /// Any [`FinishError`].
    pub async fn finish(self, content_bytes: u32) -> Result<Sealed, FinishError> {
        if self.is_broken {
            return Err(WriteError::Broken.into());
        }
        self.encoder.admit(content_bytes, 0)?;
        let (ending, mut output) = (self.encoder.finish(content_bytes), self.output);
        if let Some(frame) = ending.frame {
            output.append(frame).await?;
        }
        output.append(ending.tail).await?;
        let sum = output.publish(ending.info.image_bytes).await?;
        Ok(Sealed { info: ending.info, sum })
    }

    /// Gives the image up and removes what there is of it.
    pub async fn abandon(self) {
        self.output.draft.abandon().await;
    }
}

impl Output {
    pub(super) fn new(draft: Draft) -> Self {
        let sum = blake3::Hasher::new();
        Self { draft, sum, gathered: Vec::new(), gathered_bytes: 0, written_bytes: 0, writeback_bytes: 0 }
    }

    fn gather(&mut self, bytes: Bytes) {
        self.sum.update(&bytes);
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
    }

    /// Puts bytes at the end, and lets others run: a frame takes a while to compress or to hash.
    pub(super) async fn append(&mut self, bytes: Bytes) -> io::Result<()> {
        self.gather(bytes);
        if WRITE_BYTES <= self.gathered_bytes {
            self.flush().await?;
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let data = std::mem::take(&mut self.gathered);
        self.draft.file().write_at(data, self.written_bytes).await?;
        self.written_bytes += std::mem::take(&mut self.gathered_bytes) as u64;
        let behind = self.written_bytes - self.writeback_bytes;
        if WRITEBACK_BYTES <= behind {
            // A hint: whether it was taken shows in nothing but the time of the sync.
            let _ = self.draft.file().start_writeback(self.writeback_bytes, behind).await;
            self.writeback_bytes = self.written_bytes;
        }
        Ok(())
    }

    /// Makes what was appended an image, and says its sum.
    pub(super) async fn publish(mut self, image_bytes: u64) -> io::Result<ImageSum> {
        self.flush().await?;
        assert!(self.written_bytes == image_bytes, "the footer says what was written");
        self.draft.publish(image_bytes).await?;
        Ok(ImageSum(*self.sum.finalize().as_bytes()))
    }

    /// Gives it up.
    pub(super) async fn abandon(self) {
        self.draft.abandon().await;
    }
}
