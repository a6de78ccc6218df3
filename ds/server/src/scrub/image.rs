//! One image: what is wrong with it, and making it good: a few frames from its group, or all of it;
//! or giving it up where nobody needs it.
//!
//! INVARIANT: a file is replaced by one whose sum is the group's, or deleted because no group has
//! it and no journal uses it; else it stays as it is.
//! Spec: docs/protocol/seal.md §10; docs/formats/image.md §5.

use std::io;

use ds_image::limits::FRAME_BYTES;
use ds_image::{
    BadFrame, FrameFault, Image, ImageId, OpenError, ParityImage, Progress, StoredImage, VerifyError,
};

use super::Scrub;
use super::plan::Outcome;
use crate::images::{Found, NoGroup, mend, rebuild};

/// What is wrong with an image.
enum Trouble {
    /// Frames of an extent's image.
    Frames(Image, Vec<BadFrame>),
    /// Blocks of parity.
    Blocks(ParityImage, Vec<BadFrame>),
    /// What tells where its frames are, or what it is at all.
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

    fn tell(&self, image: ImageId) {
        match self {
            Self::Frames(damaged, bad) => {
                let (extent, frame_bytes) = (damaged.info().identity.extent, FRAME_BYTES as u64);
                for BadFrame { frame, fault } in bad {
                    let offset = u64::from(*frame) * frame_bytes;
                    tracing::error!(%image, %extent, offset, length = frame_bytes, %fault, "a frame of an image is bad");
                }
            }
            Self::Blocks(damaged, bad) => {
                for BadFrame { frame: block, fault } in bad {
                    tracing::error!(%image, group = %damaged.info().group, block, %fault, "a block of parity is bad");
                }
            }
            Self::Structure(what) => tracing::error!(%image, what, "an image is bad beyond reading"),
            Self::Gone => tracing::error!(%image, "the file of an image has gone"),
            Self::Unreadable(error) => tracing::error!(%image, %error, "the disk does not read an image"),
        }
    }
}

/// Why an image is as bad as before.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error("nobody tells its group now")]
    Unknown,
    #[error("no group has it here, and it may be in use or on its way into one")]
    InUse,
    #[error("{0}")]
    Refused(wire_nfs::control::Refusal),
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

impl Scrub {
    /// Looks after an image.
    pub(super) async fn image(&self, image: ImageId) -> Outcome {
        let Some(trouble) = self.walk(image).await else { return Outcome::default() };
        trouble.tell(image);
        let count = trouble.count();
        match self.make_good(image, trouble).await {
            Ok(()) => {
                tracing::info!(%image, count, "an image is good again");
                Outcome { repaired: count, bad: 0 }
            }
            Err(why) => {
                tracing::error!(%image, count, %why, "an image stays bad");
                Outcome { repaired: 0, bad: count }
            }
        }
    }

    /// Reads all of an image. Nothing is wrong with one that was deleted.
    async fn walk(&self, image: ImageId) -> Option<Trouble> {
        let dir = &self.core.images.dir;
        let here = || dir.contains(image) && !dir.is_claimed(image);
        if !here() {
            return None;
        }
        let mut done = 0;
        let mut pace = |progress: Progress| {
            let before = std::mem::replace(&mut done, progress.bytes_done);
            self.passed(progress.bytes_done.saturating_sub(before))
        };
        let trouble = match dir.open_any(image).await {
            Ok(StoredImage::Extent(found)) => match found.verify(&mut pace).await {
                Ok(bad) if bad.is_empty() => None,
                Ok(bad) => Some(Trouble::Frames(found, bad)),
                Err(VerifyError::Format(error)) => Some(Trouble::Structure(error.to_string())),
                Err(VerifyError::Io(error)) => Some(OpenError::Io(error).into()),
            },
            Ok(StoredImage::Parity(found)) => {
                let bad = found.verify(&mut pace).await;
                if bad.is_empty() { None } else { Some(Trouble::Blocks(found, bad)) }
            }
            Err(error) => Some(error.into()),
        };
        // What was deleted, or is made anew, while it was read is no matter.
        trouble.filter(|_| here())
    }

    async fn make_good(&self, image: ImageId, trouble: Trouble) -> Result<(), NotMade> {
        let images = &self.core.images;
        let moment = images.moment();
        let found = match images.group_of(image).await {
            Ok(found) => found,
            Err(NoGroup::Unknown) => return Err(NotMade::Unknown),
            Err(NoGroup::None) => return self.give_up(image, &trouble, moment).await,
        };
        if found.group.homes()[found.slot] != self.core.server() {
            return self.give_up(image, &trouble, moment).await;
        }
        if let Trouble::Frames(damaged, bad) = &trouble
            && self.mend_frames(&found, damaged, bad).await
            && self.walk(image).await.is_none()
        {
            return Ok(());
        }
        // Whoever else is making images comes to an end.
        let _turn = images.turn_to_work().await.ok_or(NotMade::Unknown)?;
        images.close(image);
        let made = rebuild::make_again(&self.core, &found.group, found.slot).await;
        made.map_err(NotMade::Refused)?;
        if self.walk(image).await.is_none() { Ok(()) } else { Err(NotMade::StillBad) }
    }

    /// Writes bad frames anew, if that may help.
    async fn mend_frames(&self, found: &Found, damaged: &Image, bad: &[BadFrame]) -> bool {
        // Bytes that are what was written, and no frame, are the same in the group.
        if bad.iter().any(|one| one.fault == FrameFault::Content) {
            return false;
        }
        match mend::frames(&self.core.images, found, damaged, bad).await {
            Ok(_) => {
                self.core.images.metrics.mended_images.inc();
                true
            }
            Err(error) => {
                let image = damaged.info().identity.image;
                tracing::warn!(%image, %error, "bad frames cannot be written anew");
                false
            }
        }
    }

    /// Deletes an image that no group has here, as of a question after `moment`, and that the
    /// journal does not need.
    async fn give_up(&self, image: ImageId, trouble: &Trouble, moment: u64) -> Result<(), NotMade> {
        let (core, images) = (&self.core, &self.core.images);
        // A disk that does not read now may read later, and the file may be good.
        let surely_bad = !matches!(trouble, Trouble::Unreadable(_));
        if !surely_bad || images.was_touched_since(image, moment) || self.is_named(image).await {
            return Err(NotMade::InUse);
        }
        images.delete(image).await.map_err(NotMade::Delete)?;
        core.shown.forget(&core.store, image);
        images.metrics.deleted.inc();
        core.note_images();
        tracing::warn!(%image, "a bad image that nobody needs is deleted");
        Ok(())
    }

    /// Whether the journal uses the image, or may.
    async fn is_named(&self, image: ImageId) -> bool {
        let store = &self.core.store;
        for (extent, _) in store.imaged() {
            match store.image(extent).await {
                Ok(None) => {}
                Ok(Some((_, used))) if used.image != image => {}
                Ok(Some(_)) | Err(_) => return true,
            }
            tokio::task::yield_now().await;
        }
        false
    }
}
