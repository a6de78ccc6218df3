//! What other data servers ask: bytes of an image, and to take one in.
//!
//! INVARIANT: an image that is taken in is read back and compared with its sum before END_IMAGE is
//! answered.
//! Spec: docs/protocol/seal.md §3, §5.

use std::sync::Arc;

use bytes::Bytes;
use ds_image::{CreateError, ImageId, ImageSum, OpenError, ReadError, ReceiveError, StoredImage};
use layout::reserve::Purpose;
use tokio::sync::Mutex;
use wire_nfs::control::images::{EndImage, ImageData, PutImage, ReadImage};
use wire_nfs::control::limits::IMAGE_DATA_BYTES_MAX;
use wire_nfs::control::{Nothing, Refusal};

use super::Images;
use super::receiving::Receiving;
use super::trouble::NoBytes;
use crate::core::Core;
use crate::limits::{RECEIVING_MAX, RECEIVING_MS_MAX};

/// READ_IMAGE.
pub(crate) async fn read(core: &Core, ask: ReadImage) -> Result<ImageData, Refusal> {
    if IMAGE_DATA_BYTES_MAX < ask.length as usize {
        return Err(Refusal::Invalid);
    }
    let (images, image) = (&core.images, ImageId(ask.image));
    let _room = images.read_room.acquire_many(ask.length).await.map_err(|_| Refusal::Busy)?;
    let opened = images.opened(image).await.map_err(|error| no_image(images, image, &error))?;
    let rest = opened.file_bytes().checked_sub(ask.offset).ok_or(Refusal::Invalid)?;
    let length = u32::try_from(rest).unwrap_or(u32::MAX).min(ask.length);
    match images.raw(image, ask.offset, length).await {
        Ok(data) => Ok(ImageData { data }),
        Err(NoBytes::Absent | NoBytes::Unreachable) => Err(Refusal::NoImage),
    }
}

fn no_image(images: &Images, image: ImageId, error: &OpenError) -> Refusal {
    if !matches!(error, OpenError::Absent) {
        images.bad(image, error);
    }
    Refusal::NoImage
}

/// PUT_IMAGE. Of an image that is here nothing is taken: END_IMAGE tells whether it is the one.
pub(crate) async fn put(core: &Core, ask: PutImage) -> Result<Nothing, Refusal> {
    let image = ImageId(ask.image);
    if core.images.dir.contains(image) {
        return Ok(Nothing);
    }
    core.has_room(u64::from(ask.file_bytes), Purpose::Neutral)?;
    let receiving = core.images.receiving(image, ask.file_bytes).await?;
    let mut receiver = receiving.receiver.lock().await;
    let open = receiver.as_mut().ok_or(Refusal::Busy)?;
    match open.write(u64::from(ask.offset), vec![ask.data]).await {
        Ok(()) => Ok(Nothing),
        Err(ReceiveError::Blocks { .. }) => Err(Refusal::Invalid),
        Err(error) => {
            tracing::error!(%image, %error, "an image that comes in cannot be written");
            *receiver = None;
            core.images.receiving.lock().remove(&image);
            Err(Refusal::Io)
        }
    }
}

/// END_IMAGE.
pub(crate) async fn end(core: &Core, ask: EndImage) -> Result<Nothing, Refusal> {
    let (images, image, sum) = (&core.images, ImageId(ask.image), ImageSum(ask.sum));
    images.touch(image);
    let receiving = images.receiving.lock().remove(&image);
    let ended = match receiving {
        Some(receiving) => {
            let receiver = receiving.receiver.lock().await.take().ok_or(Refusal::NoImage)?;
            let received = receiver.finish_any(Some(sum)).await;
            received.map(|_| ()).map_err(|error| refused(image, &error))
        }
        None => images.is_whole(image, sum).await.then_some(()).ok_or(Refusal::NoImage),
    };
    images.close(image);
    core.note_images();
    ended.map(|()| Nothing)
}

fn refused(image: ImageId, error: &ReceiveError) -> Refusal {
    tracing::warn!(%image, %error, "an image that came in is not what it should be");
    match error {
        ReceiveError::Io(_) | ReceiveError::Broken => Refusal::Io,
        _ => Refusal::NoImage,
    }
}

impl Images {
    /// The image that is coming in, begun if it is not.
    async fn receiving(&self, image: ImageId, file_bytes: u32) -> Result<Receiving, Refusal> {
        self.forget_unfinished();
        let now_ms = self.env.clock.monotonic_ms();
        {
            let mut all = self.receiving.lock();
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
        let receiver = self.dir.receive(image, u64::from(file_bytes)).await.map_err(|error| match error {
            CreateError::Format(_) => Refusal::Invalid,
            CreateError::Io(_) => Refusal::Io,
            CreateError::Exists | CreateError::Busy | CreateError::TooMany => Refusal::Busy,
        })?;
        let receiver = Arc::new(Mutex::new(Some(receiver)));
        let begun = Receiving { file_bytes, last_ms: now_ms, receiver };
        self.receiving.lock().insert(image, begun.clone());
        Ok(begun)
    }

    /// Gives up what was begun and nobody goes on with.
    pub(crate) fn forget_unfinished(&self) {
        let now_ms = self.env.clock.monotonic_ms();
        self.receiving.lock().retain(|_, one| now_ms < one.last_ms + RECEIVING_MS_MAX);
    }

    /// Whether an image here is whole and has this sum: every byte of it is read.
    pub(super) async fn is_whole(&self, image: ImageId, sum: ImageSum) -> bool {
        self.close(image);
        let Ok(opened) = self.dir.open_any(image).await else { return false };
        file_sum(&opened).await.is_ok_and(|found| found == sum)
    }
}

/// BLAKE3 of a whole file, every byte of it verified.
pub(super) async fn file_sum(image: &StoredImage) -> Result<ImageSum, ReadError> {
    match image {
        StoredImage::Extent(image) => image.sum().await,
        StoredImage::Parity(image) => image.file_sum().await,
    }
}

/// Whether an image here is whole, and is the one that a group has in a slot.
pub(super) async fn is_slot(image: &StoredImage, sum: ImageSum) -> bool {
    match image {
        StoredImage::Extent(image) => image.sum().await.is_ok_and(|found| found == sum),
        StoredImage::Parity(image) => {
            image.info().sum == sum && image.verify(|_| std::future::ready(())).await.is_empty()
        }
    }
}

/// The bytes of a message that may be short.
pub(super) fn chunk_of(pending: &mut bytes::BytesMut, length: usize) -> Bytes {
    pending.split_to(length.min(pending.len())).freeze()
}
