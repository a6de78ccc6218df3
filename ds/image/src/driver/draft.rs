//! A file on its way to become an image: a name of its own, and the steps that make it durable
//! under the right one.
//!
//! INVARIANT: a draft that is dropped leaves no image; its file is removed later, at the latest
//! when the directory is opened.
//! Spec: docs/formats/image.md §6.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use env::{File, OpenMode};
use layout::ec::ImageId;

use super::directory::{Claim, Directory, Refused};

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
    directory: Arc<Directory>,
    path: Option<PathBuf>,
}

impl Drop for DraftName {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            self.directory.abandon(path);
        }
    }
}

impl Draft {
    /// Makes an empty file for an image, which must not be there (`is_new`), or must.
    pub(super) async fn begin(
        directory: &Arc<Directory>,
        image: ImageId,
        is_new: bool,
    ) -> Result<Self, Refused> {
        directory.sweep().await;
        let (claim, path) = directory.claim(image, is_new)?;
        let opened = directory.disk.open(&path, OpenMode::CREATE_NEW);
        let name = DraftName { directory: Arc::clone(directory), path: Some(path) };
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
        let directory = Arc::clone(&self.name.directory);
        let path = directory.path(self.image);
        let Some(draft) = self.name.path.clone() else { unreachable!("a draft is published once") };
        directory.disk.rename(&draft, &path).await?;
        self.name.path = None;
        if let Err(error) = directory.disk.sync_dir(&directory.dir).await {
            // A new image that may not be there after a crash is not announced. What replaces one
            // has the same bytes.
            if self.is_new {
                directory.abandon(path);
                directory.sweep().await;
            }
            return Err(error);
        }
        directory.insert(self.image, image_bytes);
        Ok(())
    }

    /// Removes it now.
    pub(super) async fn abandon(self) {
        let directory = Arc::clone(&self.name.directory);
        drop(self);
        directory.sweep().await;
    }
}
