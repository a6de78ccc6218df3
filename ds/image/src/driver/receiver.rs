//! Takes in the bytes of an image's file, block by block in any order, and believes none of them
//! until all were verified.
//!
//! Sealed extents and parity images alike: the end of the file tells which it is.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use layout::ec::{ImageId, ImageSum};

use super::bytes::{ImageBytes, LocalBytes};
use super::draft::Draft;
use super::image::Image;
use super::parity::{self, ParityImage};
use crate::assembly::Assembly;
use crate::error::{ReadError, ReceiveError};
use crate::format::{FormatError, Part};
use crate::identity::{ImageInfo, ParityInfo, Sealed};

/// An image whose bytes come from elsewhere. Dropping it gives it up.
pub struct ImageReceiver {
    draft: Draft,
    image: ImageId,
    assembly: Assembly,
    /// Set while a write runs: one that failed, or was dropped, leaves it set.
    is_broken: bool,
}

/// What raw bytes have become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A sealed extent.
    Extent(Sealed),
    /// A parity image.
    Parity(ParityInfo),
}

impl fmt::Debug for ImageReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageReceiver").field("image", &self.image).finish_non_exhaustive()
    }
}

impl ImageReceiver {
    pub(super) fn new(draft: Draft, image: ImageId, assembly: Assembly) -> Self {
        Self { draft, image, assembly, is_broken: false }
    }

    /// Takes bytes of the file: whole blocks of
    /// [`RAW_BLOCK_BYTES`](crate::limits::RAW_BLOCK_BYTES), the last of which may be short. A block
    /// may come again.
    ///
    /// # Errors
    /// [`ReceiveError::Blocks`], [`ReceiveError::Broken`], [`ReceiveError::Io`].
    pub async fn write(&mut self, offset: u64, data: Vec<Bytes>) -> Result<(), ReceiveError> {
        if self.is_broken {
            return Err(ReceiveError::Broken);
        }
        let blocks = self.assembly.blocks(offset, data.iter().map(Bytes::len).sum())?;
        self.is_broken = true;
        self.draft.file().write_at(data, offset).await?;
        self.assembly.note(blocks);
        self.is_broken = false;
        Ok(())
    }

    /// The first byte of the file that has not come; `None` if all have.
    #[must_use]
    pub fn missing(&self) -> Option<u64> {
        self.assembly.missing()
    }

    /// Reads back and verifies everything that came, and makes it an image if it is the expected
    /// one. Without `expected` it must be *an* image with the right id: who knows the sum should
    /// give it. A parity image is refused.
    ///
    /// # Errors
    /// Any [`ReceiveError`] but [`Blocks`](ReceiveError::Blocks). There is then no such image.
    pub async fn finish(self, expected: Option<ImageSum>) -> Result<Sealed, ReceiveError> {
        match self.check(expected).await? {
            Received::Extent(sealed) => {
                self.draft.publish(self.assembly.image_bytes()).await?;
                Ok(sealed)
            }
            Received::Parity(_) => Err(FormatError::Magic { part: Part::Footer }.into()),
        }
    }

    /// As [`finish`](Self::finish), for whatever the file is. `expected` is BLAKE3 of the whole
    /// file, of parity as well.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub async fn finish_any(self, expected: Option<ImageSum>) -> Result<Received, ReceiveError> {
        let received = self.check(expected).await?;
        self.draft.publish(self.assembly.image_bytes()).await?;
        Ok(received)
    }

    async fn check(&self, expected: Option<ImageSum>) -> Result<Received, ReceiveError> {
        if self.is_broken {
            return Err(ReceiveError::Broken);
        }
        if let Some(offset) = self.missing() {
            return Err(ReceiveError::Missing { offset });
        }
        let bytes: Arc<dyn ImageBytes> = Arc::new(LocalBytes(self.draft.file().clone()));
        let (received, found) = if parity::is_parity(&*bytes).await? {
            let image = ParityImage::open(bytes, self.image).await?;
            let sum = image.file_sum().await.map_err(damaged)?;
            (Received::Parity(*image.info()), sum)
        } else {
            let sealed = self.check_extent().await?;
            (Received::Extent(sealed), sealed.sum)
        };
        match expected {
            Some(expected) if expected != found => Err(ReceiveError::Sum { expected, found }),
            Some(_) | None => Ok(received),
        }
    }

    async fn check_extent(&self) -> Result<Sealed, ReceiveError> {
        let image = Image::load(self.draft.file().clone()).await?;
        let info: ImageInfo = *image.info();
        if info.identity.image != self.image {
            return Err(FormatError::Foreign { found: info.identity.image }.into());
        }
        let bad = image.verify(|_| std::future::ready(())).await?;
        if let Some(bad) = bad.first() {
            return Err(ReceiveError::Damaged { frame: bad.frame, fault: bad.fault });
        }
        let sum = image.sum().await.map_err(damaged)?;
        Ok(Sealed { info, sum })
    }

    /// Gives the image up and removes what there is of it.
    pub async fn abandon(self) {
        self.draft.abandon().await;
    }
}

fn damaged(error: ReadError) -> ReceiveError {
    match error {
        ReadError::Damaged { frame, fault } => ReceiveError::Damaged { frame, fault },
        ReadError::Range { .. } => unreachable!("an image is read to its end and no further"),
    }
}
