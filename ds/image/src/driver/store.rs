//! A directory of images, for its users: opens, writes, receives, repairs, deletes and lists
//! images.
//!
//! Spec: docs/formats/image.md §6.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::{Disk, OpenMode};
use futures_util::StreamExt;
use futures_util::stream;
use layout::ec::ImageId;

use super::bytes::LocalBytes;
use super::directory::{Directory, State, finished, is_unfinished, path_of};
use super::draft::Draft;
use super::image::Image;
use super::parity::{self, ParityImage};
use super::receiver::ImageReceiver;
use super::repair;
use super::writer::ImageWriter;
use crate::assembly::Assembly;
use crate::error::{CreateError, DeleteError, OpenError, ReadError, RepairError, StoreError};
use crate::format::{FormatError, header};
use crate::identity::{Identity, Sealed};
use crate::limits::{IMAGES_MAX, LIST_MAX, OPENINGS_MAX};

/// A directory of images. Clones are the same one.
#[derive(Clone)]
pub struct ImageStore {
    directory: Arc<Directory>,
}

/// An image in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    /// Its id.
    pub image: ImageId,
    /// Bytes of its file.
    pub image_bytes: u64,
}

/// An image of a directory, open for reading.
#[derive(Clone, Debug)]
pub enum StoredImage {
    /// A sealed extent.
    Extent(Image),
    /// A parity image.
    Parity(ParityImage),
}

impl StoredImage {
    /// Bytes of the file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        match self {
            Self::Extent(image) => image.info().image_bytes,
            Self::Parity(image) => image.info().file_bytes,
        }
    }

    /// Bytes of the file as they are, in pieces, each verified.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub async fn read_raw(&self, offset: u64, length: u32) -> Result<Vec<Bytes>, ReadError> {
        match self {
            Self::Extent(image) => image.read_raw(offset, length).await,
            Self::Parity(image) => image.read_raw(offset, length).await,
        }
    }
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ImageUsage {
    /// Finished images.
    pub images: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageStore").field("dir", &self.directory.dir).finish_non_exhaustive()
    }
}

impl ImageStore {
    /// Opens a directory, makes it if it is absent, and removes what was not finished in it.
    ///
    /// Looks at names and lengths only: an image that was damaged meanwhile is found when it is
    /// opened or verified.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        disk.create_dir_all(dir).await?;
        let names = disk.list(dir).await?;
        for name in names.iter().filter(|name| is_unfinished(name)) {
            disk.remove(&dir.join(name)).await?;
        }
        let ids: Vec<ImageId> = names.iter().filter_map(|name| finished(name)).collect();
        if IMAGES_MAX < ids.len() {
            return Err(StoreError::TooMany { images: ids.len() });
        }
        let mut lengths = stream::iter(ids)
            .map(|image| {
                let opened = disk.open(&path_of(dir, image), OpenMode::READ);
                async move { io::Result::Ok((image, opened.await?.len().await?)) }
            })
            .buffer_unordered(OPENINGS_MAX);
        let mut state = State::default();
        while let Some(length) = lengths.next().await {
            let (image, image_bytes) = length?;
            state.insert(image, image_bytes);
        }
        drop(lengths);
        Ok(Self { directory: Directory::new(disk, dir, state) })
    }

    /// Begins an image. It is there when [`ImageWriter::finish`] has answered.
    ///
    /// # Errors
    /// Any [`CreateError`].
    pub async fn create(&self, identity: Identity) -> Result<ImageWriter, CreateError> {
        let draft = Draft::begin(&self.directory, header::check_id(identity.image)?, true).await?;
        Ok(ImageWriter::new(draft, identity)?)
    }

    /// Begins an image whose file's bytes come from elsewhere, `image_bytes` in all. It is there
    /// when [`ImageReceiver::finish`] has answered.
    ///
    /// # Errors
    /// Any [`CreateError`].
    pub async fn receive(&self, image: ImageId, image_bytes: u64) -> Result<ImageReceiver, CreateError> {
        let assembly = Assembly::new(image_bytes)?;
        let draft = Draft::begin(&self.directory, header::check_id(image)?, true).await?;
        Ok(ImageReceiver::new(draft, image, assembly))
    }

    /// As [`receive`](Self::receive), for an image that is here: what comes takes its place, and
    /// not before it was verified. Its file may be damaged, or gone.
    ///
    /// # Errors
    /// Any [`CreateError`]; `Busy` also if there is no such image.
    pub async fn replace(&self, image: ImageId, image_bytes: u64) -> Result<ImageReceiver, CreateError> {
        let assembly = Assembly::new(image_bytes)?;
        let draft = Draft::begin(&self.directory, header::check_id(image)?, false).await?;
        Ok(ImageReceiver::new(draft, image, assembly))
    }

    /// Bytes of the image's file, as the disk says now; `None` if it surely has no such file. What
    /// the directory held when it was opened does not count.
    ///
    /// # Errors
    /// What the disk said: it may be there.
    pub async fn on_disk(&self, image: ImageId) -> io::Result<Option<u64>> {
        match self.directory.disk.open(&self.directory.path(image), OpenMode::READ).await {
            Ok(file) => file.len().await.map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it is being written, received, repaired or deleted.
    #[must_use]
    pub fn is_claimed(&self, image: ImageId) -> bool {
        self.directory.lock().claimed.contains(&image)
    }

    /// Opens an image for reading: its header, index and footer are read and checked.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub async fn open_image(&self, image: ImageId) -> Result<Image, OpenError> {
        if !self.contains(image) {
            return Err(OpenError::Absent);
        }
        self.directory.load(image).await
    }

    /// Opens whatever has this id, a sealed extent or a parity image.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub async fn open_any(&self, image: ImageId) -> Result<StoredImage, OpenError> {
        if !self.contains(image) {
            return Err(OpenError::Absent);
        }
        let file = self.directory.disk.open(&self.directory.path(image), OpenMode::READ).await?;
        let bytes = Arc::new(LocalBytes(Arc::clone(&file)));
        if parity::is_parity(&*bytes).await? {
            return Ok(StoredImage::Parity(ParityImage::open(bytes, image).await?));
        }
        let opened = Image::load(file).await?;
        let found = opened.info().identity.image;
        if found == image {
            Ok(StoredImage::Extent(opened))
        } else {
            Err(FormatError::Foreign { found }.into())
        }
    }

    /// Whether there is a finished image of this id.
    #[must_use]
    pub fn contains(&self, image: ImageId) -> bool {
        self.directory.lock().images.contains_key(&image)
    }

    /// Writes an image again, from its good frames and from `given`: stored bytes of others, by
    /// frame number. The new file has the bytes that the old one once had, and replaces it. An
    /// [`Image`] opened before still reads the old file.
    ///
    /// # Errors
    /// Any [`RepairError`].
    pub async fn repair(&self, image: ImageId, given: &BTreeMap<u16, Bytes>) -> Result<Sealed, RepairError> {
        let draft = Draft::begin(&self.directory, image, false).await?;
        match self.directory.load(image).await {
            Ok(damaged) => repair::rewrite(draft, &damaged, given).await,
            Err(error) => {
                draft.abandon().await;
                Err(error.into())
            }
        }
    }

    /// Removes an image; durable when it returns. Who has it open can read on. One whose file has
    /// gone by itself is removed like any other.
    ///
    /// # Errors
    /// Any [`DeleteError`].
    pub async fn delete(&self, image: ImageId) -> Result<(), DeleteError> {
        let (_claim, image_bytes) = self.directory.claim_for_removal(image)?;
        match self.directory.disk.remove(&self.directory.path(image)).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.directory.insert(image, image_bytes);
                return Err(error.into());
            }
        }
        Ok(self.directory.disk.sync_dir(&self.directory.dir).await?)
    }

    /// Images by ascending id, those behind `after`: at most [`LIST_MAX`], so an answer with fewer
    /// is the last.
    #[must_use]
    pub fn list(&self, after: Option<ImageId>) -> Vec<ImageEntry> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.directory.lock();
        let behind = state.images.range((from, Bound::Unbounded)).take(LIST_MAX);
        behind.map(|(image, image_bytes)| ImageEntry { image: *image, image_bytes: *image_bytes }).collect()
    }

    /// What the directory holds. What is under way does not count.
    #[must_use]
    pub fn usage(&self) -> ImageUsage {
        let state = self.directory.lock();
        ImageUsage { images: state.images.len() as u64, bytes: state.bytes }
    }
}
