//! Images that stand for the older bytes of extents: taking one into use, and which one is.
//!
//! Opening a store reads headers only; which image a record names is read when it is first
//! needed, and kept.
//!
//! INVARIANT: an IMAGE record is on stable storage before anything acts on it; of what it hides
//! nothing is younger than its sequence.
//! Spec: docs/formats/journal.md §3; docs/protocol/seal.md §4.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use layout::ec::ImageId;
use layout::{Epoch, ExtentId};

use crate::control::{Controlled, detached};
use crate::error::{ChangeError, ReadError};
use crate::extent::Base;
use crate::limits::EXTENT_BYTES;
use crate::record::{Act, Kind, SEQUENCE_END};
use crate::store::Store;
use layout::ec::{ImageRef, ImageRefError};

/// Times that the record of an image is looked for again because it was moved.
const MOVES_MAX: usize = 8;

impl Store {
    /// Says, on stable storage, that the image is the extent as it was after the act `sequence`:
    /// everything older is dead. Nothing is done where the image would neither show nor hide
    /// anything: it is in use already, or all of it was written over. On a replica as on its
    /// primary, with the primary's sequence.
    ///
    /// # Errors
    /// [`ChangeError::Stale`] if the extent is at a higher epoch, or not known here: it was
    /// dropped; [`ChangeError::Range`] for an image or a sequence that cannot be; otherwise as
    /// [`fence`](Self::fence).
    pub async fn use_image(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        sequence: u64,
        image: &ImageRef,
    ) -> Result<(), ChangeError> {
        if image.check().is_err() || sequence == 0 || SEQUENCE_END <= sequence {
            return Err(ChangeError::Range);
        }
        if !self.inner.index.shard(extent).contains_key(&extent) {
            return Err(ChangeError::Stale { known: Epoch::default() });
        }
        self.not_above(extent, epoch)?;
        let (inner, image) = (self.inner.clone(), *image);
        detached(async move {
            let controlled = Controlled::begin(&inner, extent, epoch, false).await?;
            let act = {
                let mut shard = inner.index.shard(extent);
                let known = shard.get_mut(&extent).expect("a controlled extent is not forgotten");
                known.sequence = known.sequence.max(sequence);
                assert!(epoch <= known.epoch, "the turn has raised the epoch");
                let (epoch, offset) = (known.epoch, image.content_bytes);
                let act =
                    Act { kind: Kind::Image, extent, epoch, sequence, offset, length: EXTENT_BYTES - offset };
                known.pieces.would_change(sequence, offset).then_some(act)
            };
            let Some(act) = act else {
                // What hides it now may not be on stable storage; an older image must not be needed
                // again.
                return inner.sync().await;
            };
            let record = act.record(vec![Bytes::copy_from_slice(&image.encode())]);
            controlled.append_records(vec![act], vec![record]).await?;
            inner.wake.notify_one();
            Ok(())
        })
        .await
    }

    /// The image of which bytes show, and the act up to which it says the extent.
    ///
    /// # Errors
    /// [`ReadError::Log`], [`ReadError::ImageRecord`].
    pub async fn image(&self, extent: ExtentId) -> Result<Option<(u64, ImageRef)>, ReadError> {
        let mut looked = self.base(extent);
        for _ in 0..MOVES_MAX {
            let Some(base) = looked else { return Ok(None) };
            let error = match self.name_of(extent, &base).await {
                Ok(image) => return Ok(Some((base.sequence, image))),
                Err(error) => error,
            };
            looked = self.base(extent);
            if looked.as_ref().is_some_and(|again| again.at == base.at) {
                return Err(self.damaged(extent, error));
            }
        }
        Err(ReadError::moving())
    }

    /// Whether bytes of this image show in the extent. If that cannot be told, they may.
    ///
    /// # Errors
    /// As [`image`](Self::image).
    pub async fn is_image_used(&self, extent: ExtentId, image: ImageId) -> Result<bool, ReadError> {
        Ok(self.image(extent).await?.is_some_and(|(_, base)| base.image == image))
    }

    /// The extents of which an image shows, and up to which act: for a look at all of them.
    #[must_use]
    pub fn imaged(&self) -> Vec<(ExtentId, u64)> {
        let mut all = Vec::new();
        self.inner.index.for_each(|extent, known| {
            all.extend(known.base.as_ref().map(|base| (extent, base.sequence)));
        });
        all
    }

    pub(crate) fn base(&self, extent: ExtentId) -> Option<Base> {
        self.inner.index.shard(extent).get(&extent)?.base.clone()
    }

    /// Which image a base names.
    ///
    /// # Errors
    /// [`ReadError::Log`] also if the record was moved meanwhile; [`ReadError::ImageRecord`].
    pub(crate) async fn name_of(&self, extent: ExtentId, base: &Base) -> Result<ImageRef, ReadError> {
        if let Some(image) = &base.image {
            return Ok(**image);
        }
        let payload = self.inner.wal.read(base.at, 0..base.at.payload_len).await?;
        let image = ImageRef::decode(&payload)?;
        let &ImageRef { content_bytes, file_bytes, .. } = &image;
        if content_bytes != base.content_bytes {
            return Err(ImageRefError::Lengths { content_bytes, file_bytes }.into());
        }
        let mut shard = self.inner.index.shard(extent);
        let known = shard.get_mut(&extent).and_then(|known| known.base.as_mut());
        if let Some(known) = known.filter(|known| known.at == base.at) {
            known.image = Some(Box::new(image));
        }
        Ok(image)
    }

    /// Counts bytes that cannot be read.
    pub(crate) fn damaged(&self, extent: ExtentId, error: ReadError) -> ReadError {
        self.inner.bad_blocks.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%extent, %error, "bytes cannot be read");
        error
    }
}
