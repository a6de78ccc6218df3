//! One image: what is wrong with it, and its repair: a few frames from its group, or all of it; or
//! its deletion where no group has it.
//!
//! INVARIANT: a file is replaced by one whose sum is the group's, or deleted because no group has
//! it and no journal uses it; else it stays as it is.
//! Spec: docs/protocol/seal.md §10; docs/formats/image.md §5.

use std::io;
use std::sync::Arc;

use ds_image::limits::FRAME_BYTES;
use ds_image::{
    BadFrame, FrameFault, Image, ImageId, OpenError, ParityImage, Progress, StoredImage, VerifyError,
};

use ds_store::Store;
use wire_nfs::control::Refusal;

use super::pace::Pace;
use super::plan::Outcome;
use crate::images::mend::rewrite_frames;
use crate::images::shelf::Shelf;
use crate::images::work::ImageWork;
use crate::images::{Found, Images, NoGroup};
use crate::seal::known::Shown;
use crate::space::Space;

/// What is wrong with an image.
enum Trouble {
    /// Frames of an extent's image.
    Frames(Image, Vec<BadFrame>),
    /// Blocks of parity.
    Blocks(ParityImage, Vec<BadFrame>),
    /// The part of the file that says where its frames are, or what it is at all.
    Structure(String),
    /// It has no file.
    Gone,
    /// The disk does not give it.
    Unreadable(io::Error),
}

impl Trouble {
    /// How many things are bad.
    fn count(&self) -> u64 {
        match self {
            Self::Frames(_, bad) | Self::Blocks(_, bad) => bad.len() as u64,
            Self::Structure(_) | Self::Gone | Self::Unreadable(_) => 1,
        }
    }

    fn log(&self, image: ImageId) {
        match self {
            Self::Frames(damaged, bad) => {
                let (extent, frame_bytes) = (damaged.info().identity.extent, FRAME_BYTES as u64);
                for BadFrame { frame, fault } in bad {
                    let offset = u64::from(*frame) * frame_bytes;
                    tracing::error!(
                        %image, %extent, offset, length = frame_bytes, %fault,
                        "a frame of an image is bad"
                    );
                }
            }
            Self::Blocks(damaged, bad) => {
                for BadFrame { frame: block, fault } in bad {
                    tracing::error!(
                        %image, group = %damaged.info().group, block, %fault,
                        "a block of parity is bad"
                    );
                }
            }
            Self::Structure(what) => tracing::error!(
                %image, what,
                "an image is bad beyond reading"
            ),
            Self::Gone => tracing::error!(%image, "the file of an image has gone"),
            Self::Unreadable(error) => tracing::error!(
                %image, %error,
                "the disk does not read an image"
            ),
        }
    }
}

/// Why an image is as bad as before.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error("no metadata server tells its group now")]
    Unknown,
    #[error("no group has it here, and it may be in use or on its way into one")]
    InUse,
    #[error("{0}")]
    Refused(Refusal),
    #[error("it is still bad")]
    StillBad,
    #[error("it cannot be deleted: {0}")]
    Delete(ds_image::DeleteError),
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Absent => Self::Gone,
            OpenError::Io(error) if error.kind() == io::ErrorKind::NotFound => Self::Gone,
            OpenError::Io(error) => Self::Unreadable(error),
            OpenError::Format(error) => Self::Structure(error.to_string()),
            OpenError::Parity(error) => Self::Structure(error.to_string()),
        }
    }
}

/// What images are checked and repaired with.
pub(crate) struct ImageScrub {
    pub(crate) store: Store,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) images: Arc<Images>,
    pub(crate) work: Arc<ImageWork>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) space: Arc<Space>,
}

impl ImageScrub {
    /// Checks an image, and repairs it.
    pub(super) async fn check_image(&self, pace: &Pace, image: ImageId) -> Outcome {
        let Some(trouble) = self.find_trouble(pace, image).await else { return Outcome::default() };
        trouble.log(image);
        let count = trouble.count();
        assert!(0 < count, "trouble is at least one thing");
        match self.repair_image(pace, image, trouble).await {
            Ok(()) => {
                tracing::info!(%image, count, "an image is repaired");
                Outcome { repaired: count, bad: 0 }
            }
            Err(why) => {
                tracing::error!(%image, count, %why, "an image stays bad");
                Outcome { repaired: 0, bad: count }
            }
        }
    }

    /// Reads all of an image. Nothing is wrong with one that was deleted.
    async fn find_trouble(&self, pace: &Pace, image: ImageId) -> Option<Trouble> {
        let dir = &self.shelf.dir;
        let here = || dir.contains(image) && !dir.is_claimed(image);
        if !here() {
            return None;
        }
        let mut done = 0;
        let mut pause = |progress: Progress| {
            let before = std::mem::replace(&mut done, progress.bytes_done);
            pace.pause_after(progress.bytes_done.saturating_sub(before))
        };
        let trouble = match dir.open_any(image).await {
            Ok(StoredImage::Extent(found)) => match found.verify(&mut pause).await {
                Ok(bad) if bad.is_empty() => None,
                Ok(bad) => Some(Trouble::Frames(found, bad)),
                Err(VerifyError::Format(error)) => Some(Trouble::Structure(error.to_string())),
                Err(VerifyError::Io(error)) => Some(OpenError::Io(error).into()),
            },
            Ok(StoredImage::Parity(found)) => {
                let bad = found.verify(&mut pause).await;
                if bad.is_empty() { None } else { Some(Trouble::Blocks(found, bad)) }
            }
            Err(error) => Some(error.into()),
        };
        // An image that was deleted, or is being made again, while it was read is no matter.
        trouble.filter(|_| here())
    }

    async fn repair_image(&self, pace: &Pace, image: ImageId, trouble: Trouble) -> Result<(), NotMade> {
        let moment = self.shelf.moment();
        let found = match self.images.find_group(image).await {
            Ok(found) => found,
            Err(NoGroup::Unknown) => return Err(NotMade::Unknown),
            Err(NoGroup::None) => return self.delete_image(image, &trouble, moment).await,
        };
        if !self.images.is_ours(&found) {
            return self.delete_image(image, &trouble, moment).await;
        }
        if let Trouble::Frames(damaged, bad) = &trouble
            && self.mend_frames(&found, damaged, bad).await
            && self.find_trouble(pace, image).await.is_none()
        {
            return Ok(());
        }
        // Calls that are making images come to an end.
        let _turn = self.work.wait_for_turn().await.ok_or(NotMade::Unknown)?;
        self.shelf.close_image(image);
        let made = self.work.make_again(&found.group, found.slot).await;
        made.map_err(NotMade::Refused)?;
        if self.find_trouble(pace, image).await.is_none() { Ok(()) } else { Err(NotMade::StillBad) }
    }

    /// Rewrites bad frames, if that may help.
    async fn mend_frames(&self, found: &Found, damaged: &Image, bad: &[BadFrame]) -> bool {
        // Bytes that are what was written, and no frame, are the same in the group.
        if bad.iter().any(|one| one.fault == FrameFault::Content) {
            return false;
        }
        match rewrite_frames(&self.images, found, damaged, bad).await {
            Ok(_) => {
                self.shelf.metrics.mended_images.inc();
                true
            }
            Err(error) => {
                let image = damaged.info().identity.image;
                tracing::warn!(%image, %error, "bad frames cannot be rewritten");
                false
            }
        }
    }

    /// Deletes an image that no group has here, as of a question after `moment`, and that the
    /// journal does not need.
    async fn delete_image(&self, image: ImageId, trouble: &Trouble, moment: u64) -> Result<(), NotMade> {
        // A disk that does not read now may read later, and the file may be good.
        let surely_bad = !matches!(trouble, Trouble::Unreadable(_));
        if !surely_bad || self.shelf.was_touched_since(image, moment) || self.is_named(image).await {
            return Err(NotMade::InUse);
        }
        self.shelf.delete_image(image).await.map_err(NotMade::Delete)?;
        self.shown.forget_image(&self.store, image);
        self.shelf.metrics.deleted.inc();
        self.space.note_images();
        tracing::warn!(%image, "a bad image that no extent needs is deleted");
        Ok(())
    }

    /// Whether the journal uses the image, or may.
    async fn is_named(&self, image: ImageId) -> bool {
        for (extent, _) in self.store.imaged() {
            match self.store.image(extent).await {
                Ok(None) => {}
                Ok(Some((_, used))) if used.image != image => {}
                Ok(Some(_)) | Err(_) => return true,
            }
            tokio::task::yield_now().await;
        }
        false
    }
}
