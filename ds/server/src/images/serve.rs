//! Answers to other data servers: bytes of an image here, and taking one in.
//!
//! INVARIANT: an image that is taken in is read back and compared with its sum before END_IMAGE is
//! answered.
//! Spec: docs/protocol/seal.md §3, §5.

use std::sync::Arc;

use ds_image::{ImageId, ImageSum, OpenError, ReceiveError};
use layout::reserve::Purpose;
use tokio::sync::Semaphore;
use wire_nfs::control::images::{EndImage, ImageData, PutImage, ReadImage};
use wire_nfs::control::limits::IMAGE_DATA_BYTES_MAX;
use wire_nfs::control::{Nothing, Refusal};

use super::receiving::Incoming;
use super::shelf::Shelf;
use super::trouble::NoBytes;
use crate::limits::IMAGE_BYTES_IN_FLIGHT_MAX;
use crate::space::Space;

/// Answers calls about images.
pub(crate) struct ImageService {
    shelf: Arc<Shelf>,
    incoming: Arc<Incoming>,
    space: Arc<Space>,
    /// Bytes of images that may be read for others at a time.
    read_room: Semaphore,
}

impl ImageService {
    pub(crate) fn new(shelf: Arc<Shelf>, incoming: Arc<Incoming>, space: Arc<Space>) -> Self {
        let read_room = Semaphore::new(IMAGE_BYTES_IN_FLIGHT_MAX as usize);
        Self { shelf, incoming, space, read_room }
    }

    /// The images here.
    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// READ_IMAGE.
    ///
    /// # Errors
    /// NO_IMAGE if the image is not here, or not right; INVALID for a range that cannot be.
    pub(crate) async fn read_image(&self, ask: ReadImage) -> Result<ImageData, Refusal> {
        if IMAGE_DATA_BYTES_MAX < ask.length as usize {
            return Err(Refusal::Invalid);
        }
        let image = ImageId(ask.image);
        let _room = self.read_room.acquire_many(ask.length).await.map_err(|_| Refusal::Busy)?;
        let opened = self.shelf.open_image(image).await.map_err(|error| self.refuse(image, &error))?;
        let rest = opened.file_bytes().checked_sub(ask.offset).ok_or(Refusal::Invalid)?;
        let length = u32::try_from(rest).unwrap_or(u32::MAX).min(ask.length);
        assert!(u64::from(length) <= rest, "an image is read up to its end");
        match self.shelf.read_file(image, ask.offset, length).await {
            Ok(data) => Ok(ImageData { data }),
            Err(NoBytes::Absent | NoBytes::Unreachable) => Err(Refusal::NoImage),
        }
    }

    fn refuse(&self, image: ImageId, error: &OpenError) -> Refusal {
        if !matches!(error, OpenError::Absent) {
            self.shelf.note_bad(image, error);
        }
        Refusal::NoImage
    }

    /// PUT_IMAGE. Of an image that is here nothing is taken: END_IMAGE tells whether it is the one.
    ///
    /// # Errors
    /// NO_SPACE; BUSY if too many images come in; INVALID for what cannot be; IO if the disk
    /// failed.
    pub(crate) async fn put_image(&self, ask: PutImage) -> Result<Nothing, Refusal> {
        let image = ImageId(ask.image);
        if self.shelf.dir.contains(image) {
            return Ok(Nothing);
        }
        self.space.check_room(u64::from(ask.file_bytes), Purpose::Neutral)?;
        let receiving = self.incoming.begin_image(image, ask.file_bytes).await?;
        let mut receiver = receiving.receiver.lock().await;
        let open = receiver.as_mut().ok_or(Refusal::Busy)?;
        match open.write(u64::from(ask.offset), vec![ask.data]).await {
            Ok(()) => Ok(Nothing),
            Err(ReceiveError::Blocks { .. }) => Err(Refusal::Invalid),
            Err(error) => {
                tracing::error!(%image, %error, "an image that comes in cannot be written");
                *receiver = None;
                self.incoming.take_image(image);
                Err(Refusal::Io)
            }
        }
    }

    /// END_IMAGE.
    ///
    /// # Errors
    /// NO_IMAGE if the image is not whole, or another one; IO if the disk failed.
    pub(crate) async fn end_image(&self, ask: EndImage) -> Result<Nothing, Refusal> {
        let (image, sum) = (ImageId(ask.image), ImageSum(ask.sum));
        self.shelf.touch(image);
        let ended = match self.incoming.take_image(image) {
            Some(receiving) => {
                let receiver = receiving.receiver.lock().await.take().ok_or(Refusal::NoImage)?;
                let received = receiver.finish_any(Some(sum)).await;
                received.map(|_| ()).map_err(|error| refuse_received(image, &error))
            }
            None => self.shelf.is_whole(image, sum).await.then_some(()).ok_or(Refusal::NoImage),
        };
        self.shelf.close_image(image);
        self.space.note_images();
        ended.map(|()| Nothing)
    }
}

fn refuse_received(image: ImageId, error: &ReceiveError) -> Refusal {
    tracing::warn!(%image, %error, "an image that came in is not what it should be");
    match error {
        ReceiveError::Io(_) | ReceiveError::Broken => Refusal::Io,
        _ => Refusal::NoImage,
    }
}
