//! A file on its way to become an image: a name of its own, and the steps that make it durable under the right one.
//!
//! INVARIANT: a draft that is dropped leaves no image; its file is removed later, at the latest when the directory is opened.
//! Spec: docs/formats/image.md §6.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use env::{File, OpenMode};
use layout::ec::ImageId;

use super::store::{Claim, Inner};
use crate::error::{CreateError, OpenError, RepairError};

/// Why a draft was not begun.
pub(super) enum Refused {
    Exists,
    Absent,
    Busy,
    TooMany,
    Io(io::Error),
}

impl From<Refused> for CreateError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Exists => Self::Exists,
            Refused::Absent | Refused::Busy => Self::Busy,
            Refused::TooMany => Self::TooMany,
            Refused::Io(error) => Self::Io(error),
        }
    }
}

impl From<Refused> for RepairError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Absent => Self::Open(OpenError::Absent),
            Refused::Exists | Refused::Busy => Self::Busy,
            Refused::TooMany => Self::TooMany,
            Refused::Io(error) => Self::Io(error),
        }
    }
}

/// A file that is not an image yet.
pub(super) struct Draft {
    file: Arc<dyn File>,
    name: DraftName,
    image: ImageId,
    /// No image had this id before.
    is_new: bool,
    _claim: Claim,
}

/// The name of a draft's file, to be removed unless it was renamed.
struct DraftName {
    inner: Arc<Inner>,
    path: Option<PathBuf>,
}

impl Drop for DraftName {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            self.inner.abandon(path);
        }
    }
}

impl Draft {
    /// Makes an empty file for an image, which must not be there (`is_new`), or must.
    pub(super) async fn begin(inner: &Arc<Inner>, image: ImageId, is_new: bool) -> Result<Self, Refused> {
        inner.sweep().await;
        let (claim, path) = inner.claim(image, is_new)?;
        let opened = inner.disk.open(&path, OpenMode::CREATE_NEW);
        let name = DraftName { inner: Arc::clone(inner), path: Some(path) };
        let file = opened.await.map_err(Refused::Io)?;
        Ok(Self { file, name, image, is_new, _claim: claim })
    }

    /// The file to be filled.
    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Makes it an image: the bytes durable, then the name.
    ///
    /// # Errors
    /// What the disk said. If it was the last step, the image may be there after the next opening.
    pub(super) async fn publish(mut self, image_bytes: u64) -> io::Result<()> {
        self.file.sync_data().await?;
        let inner = Arc::clone(&self.name.inner);
        let path = inner.path(self.image);
        let Some(draft) = self.name.path.clone() else { unreachable!("a draft is published once") };
        inner.disk.rename(&draft, &path).await?;
        self.name.path = None;
        if let Err(error) = inner.disk.sync_dir(&inner.dir).await {
            // Nobody is told of a new image that may not be there after a crash. What replaces one has the same bytes.
            if self.is_new {
                inner.abandon(path);
                inner.sweep().await;
            }
            return Err(error);
        }
        inner.insert(self.image, image_bytes);
        Ok(())
    }

    /// Removes it now.
    pub(super) async fn abandon(self) {
        let inner = Arc::clone(&self.name.inner);
        drop(self);
        inner.sweep().await;
    }
}
