//! A directory of images: what is in it, what is under way, how much it takes.
//!
//! INVARIANT: nothing is done to one image by two at a time: whoever writes, receives, repairs or deletes it has claimed its id.
//! Spec: docs/formats/image.md §6.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use env::{Disk, OpenMode};
use futures_util::StreamExt;
use futures_util::stream;
use layout::ec::ImageId;
use parking_lot::{Mutex, MutexGuard};

use super::bytes::LocalBytes;
use super::draft::{Draft, Refused};
use super::image::Image;
use super::parity::{self, ParityImage};
use super::receiver::ImageReceiver;
use super::repair;
use super::writer::ImageWriter;
use crate::assembly::Assembly;
use crate::error::{CreateError, DeleteError, OpenError, ReadError, RepairError, StoreError};
use crate::format::{FormatError, header};
use crate::identity::{Identity, Sealed};
use crate::limits::{DRAFTS_MAX, IMAGES_MAX, LIST_MAX, OPENINGS_MAX};

const FINISHED: &str = ".img";
const UNFINISHED: &str = ".new";

/// A directory of images. Clones are the same one.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
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

pub(super) struct Inner {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    images: BTreeMap<ImageId, u64>,
    bytes: u64,
    claimed: BTreeSet<ImageId>,
    draft_next: u64,
    /// Files of drafts that were given up and not removed yet.
    abandoned: Vec<PathBuf>,
}

/// The right to change what an id stands for, given back when it is dropped.
pub(super) struct Claim {
    inner: Arc<Inner>,
    image: ImageId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inner.lock().claimed.remove(&self.image);
    }
}

impl fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageStore").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

impl ImageStore {
    /// Opens a directory, makes it if it is absent, and removes what was not finished in it.
    ///
    /// Looks at names and lengths only: an image that was damaged meanwhile is found when it is opened or verified.
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
        let inner = Inner { disk, dir: dir.to_path_buf(), state: Mutex::new(state) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins an image. It is there when [`ImageWriter::finish`] has answered.
    ///
    /// # Errors
    /// Any [`CreateError`].
    pub async fn create(&self, identity: Identity) -> Result<ImageWriter, CreateError> {
        let draft = Draft::begin(&self.inner, header::check_id(identity.image)?, true).await?;
        Ok(ImageWriter::new(draft, identity)?)
    }

    /// Begins an image whose file's bytes come from elsewhere, `image_bytes` in all. It is there when
    /// [`ImageReceiver::finish`] has answered.
    ///
    /// # Errors
    /// Any [`CreateError`].
    pub async fn receive(&self, image: ImageId, image_bytes: u64) -> Result<ImageReceiver, CreateError> {
        let assembly = Assembly::new(image_bytes)?;
        let draft = Draft::begin(&self.inner, header::check_id(image)?, true).await?;
        Ok(ImageReceiver::new(draft, image, assembly))
    }

    /// As [`receive`](Self::receive), for an image that is here: what comes takes its place, and not before it was verified.
    /// Its file may be damaged, or gone.
    ///
    /// # Errors
    /// Any [`CreateError`]; `Busy` also if there is no such image.
    pub async fn replace(&self, image: ImageId, image_bytes: u64) -> Result<ImageReceiver, CreateError> {
        let assembly = Assembly::new(image_bytes)?;
        let draft = Draft::begin(&self.inner, header::check_id(image)?, false).await?;
        Ok(ImageReceiver::new(draft, image, assembly))
    }

    /// Bytes of the image's file, as the disk says now; `None` if it surely has no such file. What the directory held
    /// when it was opened does not count.
    ///
    /// # Errors
    /// What the disk said: it may be there.
    pub async fn on_disk(&self, image: ImageId) -> io::Result<Option<u64>> {
        match self.inner.disk.open(&self.inner.path(image), OpenMode::READ).await {
            Ok(file) => file.len().await.map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody is writing, receiving, repairing or deleting it.
    #[must_use]
    pub fn is_claimed(&self, image: ImageId) -> bool {
        self.inner.lock().claimed.contains(&image)
    }

    /// Opens an image for reading: its header, index and footer are read and checked.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub async fn open_image(&self, image: ImageId) -> Result<Image, OpenError> {
        if !self.contains(image) {
            return Err(OpenError::Absent);
        }
        self.inner.load(image).await
    }

    /// Opens whatever has this id, a sealed extent or a parity image.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub async fn open_any(&self, image: ImageId) -> Result<StoredImage, OpenError> {
        if !self.contains(image) {
            return Err(OpenError::Absent);
        }
        let file = self.inner.disk.open(&self.inner.path(image), OpenMode::READ).await?;
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
        self.inner.lock().images.contains_key(&image)
    }

    /// Writes an image anew, from its good frames and from `given`: stored bytes of others, by frame number. The new file has
    /// the bytes that the old one once had, and replaces it. An [`Image`] opened before still reads the old file.
    ///
    /// # Errors
    /// Any [`RepairError`].
    pub async fn repair(&self, image: ImageId, given: &BTreeMap<u16, Bytes>) -> Result<Sealed, RepairError> {
        let draft = Draft::begin(&self.inner, image, false).await?;
        match self.inner.load(image).await {
            Ok(damaged) => repair::run(draft, &damaged, given).await,
            Err(error) => {
                draft.abandon().await;
                Err(error.into())
            }
        }
    }

    /// Removes an image; durable when it returns. Who has it open can read on. One whose file has gone by itself is removed
    /// like any other.
    ///
    /// # Errors
    /// Any [`DeleteError`].
    pub async fn delete(&self, image: ImageId) -> Result<(), DeleteError> {
        let (_claim, image_bytes) = {
            let mut state = self.inner.lock();
            if state.claimed.contains(&image) {
                return Err(DeleteError::Busy);
            }
            let image_bytes = state.remove(image).ok_or(DeleteError::Absent)?;
            state.claimed.insert(image);
            (Claim { inner: Arc::clone(&self.inner), image }, image_bytes)
        };
        match self.inner.disk.remove(&self.inner.path(image)).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.inner.insert(image, image_bytes);
                return Err(error.into());
            }
        }
        Ok(self.inner.disk.sync_dir(&self.inner.dir).await?)
    }

    /// Images by ascending id, those behind `after`: at most [`LIST_MAX`], so an answer with fewer is the last.
    #[must_use]
    pub fn list(&self, after: Option<ImageId>) -> Vec<ImageEntry> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.inner.lock();
        let behind = state.images.range((from, Bound::Unbounded)).take(LIST_MAX);
        behind.map(|(image, image_bytes)| ImageEntry { image: *image, image_bytes: *image_bytes }).collect()
    }

    /// What the directory holds. What is under way does not count.
    #[must_use]
    pub fn usage(&self) -> ImageUsage {
        let state = self.inner.lock();
        ImageUsage { images: state.images.len() as u64, bytes: state.bytes }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Where a finished image is.
    pub(super) fn path(&self, image: ImageId) -> PathBuf {
        path_of(&self.dir, image)
    }

    async fn load(&self, image: ImageId) -> Result<Image, OpenError> {
        let file = self.disk.open(&self.path(image), OpenMode::READ).await?;
        let opened = Image::load(file).await?;
        let found = opened.info().identity.image;
        if found == image { Ok(opened) } else { Err(FormatError::Foreign { found }.into()) }
    }

    /// Claims an id that must be there, or must not, and a name for a draft.
    pub(super) fn claim(self: &Arc<Self>, image: ImageId, is_new: bool) -> Result<(Claim, PathBuf), Refused> {
        let mut state = self.lock();
        if state.claimed.contains(&image) {
            return Err(Refused::Busy);
        }
        match (state.images.contains_key(&image), is_new) {
            (true, true) => return Err(Refused::Exists),
            (false, false) => return Err(Refused::Absent),
            _ => {}
        }
        if state.claimed.len() == DRAFTS_MAX || IMAGES_MAX <= state.images.len() + state.claimed.len() {
            return Err(Refused::TooMany);
        }
        state.claimed.insert(image);
        let number = state.draft_next;
        state.draft_next += 1;
        let path = self.dir.join(format!("{image}-{number}{UNFINISHED}"));
        Ok((Claim { inner: Arc::clone(self), image }, path))
    }

    /// Takes note of a finished image.
    pub(super) fn insert(&self, image: ImageId, image_bytes: u64) {
        self.lock().insert(image, image_bytes);
    }

    /// Takes note of a draft's file that nobody needs any more.
    pub(super) fn abandon(&self, path: PathBuf) {
        self.lock().abandoned.push(path);
    }

    /// Removes the files of drafts that were given up. What cannot be removed now goes with the next opening.
    pub(super) async fn sweep(&self) {
        let abandoned = std::mem::take(&mut self.lock().abandoned);
        for path in abandoned {
            match self.disk.remove(&path).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an unfinished image stays until the next start");
                }
            }
        }
    }
}

impl State {
    fn insert(&mut self, image: ImageId, image_bytes: u64) {
        let before = self.images.insert(image, image_bytes).unwrap_or(0);
        self.bytes = self.bytes - before + image_bytes;
    }

    fn remove(&mut self, image: ImageId) -> Option<u64> {
        let image_bytes = self.images.remove(&image)?;
        self.bytes -= image_bytes;
        Some(image_bytes)
    }
}

fn path_of(dir: &Path, image: ImageId) -> PathBuf {
    dir.join(format!("{image}{FINISHED}"))
}

fn finished(name: &str) -> Option<ImageId> {
    parse_id(name.strip_suffix(FINISHED)?)
}

fn is_unfinished(name: &str) -> bool {
    let parts = name.strip_suffix(UNFINISHED).and_then(|stem| stem.split_once('-'));
    parts.is_some_and(|(id, number)| {
        parse_id(id).is_some() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Reads 32 lower-case hexadecimal digits.
fn parse_id(text: &str) -> Option<ImageId> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 32 || !text.bytes().all(is_digit) {
        return None;
    }
    Some(ImageId(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use layout::ec::ImageId;

    use super::{finished, is_unfinished, parse_id};

    #[test]
    fn ids_have_one_text() {
        let id = ImageId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(parse_id(&id.to_string()), Some(id));
        for bad in ["", "0", "000102030405060708090a0b0c0d0eFF", "+00102030405060708090a0b0c0d0eff"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_our_names_are_taken() {
        let id = "000102030405060708090a0b0c0d0eff";
        assert!(finished(&format!("{id}.img")).is_some());
        assert!(is_unfinished(&format!("{id}-0.new")) && is_unfinished(&format!("{id}-17.new")));
        for other in ["img", ".img", "x.img", "README", &format!("{id}-0.img"), &format!("{id}.img.new")] {
            assert!(finished(other).is_none() && !is_unfinished(other), "{other}");
        }
        assert!(!is_unfinished(&format!("{id}-.new")) && !is_unfinished(&format!("{id}.new")));
    }
}
