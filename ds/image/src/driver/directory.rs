//! A directory of images as it stands: finished images, the ids that are claimed, names of files.
//!
//! INVARIANT: one task at a time changes what an id stands for: it has claimed the id.
//! Spec: docs/formats/image.md §6.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{Disk, OpenMode};
use layout::ec::ImageId;
use parking_lot::{Mutex, MutexGuard};

use super::image::Image;
use crate::error::{CreateError, DeleteError, OpenError, RepairError};
use crate::format::FormatError;
use crate::limits::{DRAFTS_MAX, IMAGES_MAX};

const FINISHED: &str = ".img";
const UNFINISHED: &str = ".new";

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

/// A directory of images, as those see it who change it.
pub(super) struct Directory {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    state: Mutex<State>,
}

/// What is there and what is under way.
#[derive(Default)]
pub(super) struct State {
    pub(super) images: BTreeMap<ImageId, u64>,
    pub(super) bytes: u64,
    pub(super) claimed: BTreeSet<ImageId>,
    draft_next: u64,
    /// Files of drafts that were given up and not removed yet.
    abandoned: Vec<PathBuf>,
}

/// The right to change what an id stands for, given back when it is dropped.
pub(super) struct Claim {
    directory: Arc<Directory>,
    image: ImageId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.directory.lock().claimed.remove(&self.image);
    }
}

impl Directory {
    /// A directory that holds these images.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, state: State) -> Arc<Self> {
        Arc::new(Self { disk, dir: dir.to_path_buf(), state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Where a finished image is.
    pub(super) fn path(&self, image: ImageId) -> PathBuf {
        path_of(&self.dir, image)
    }

    /// Opens the sealed extent of this id.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub(super) async fn load(&self, image: ImageId) -> Result<Image, OpenError> {
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
        Ok((Claim { directory: Arc::clone(self), image }, path))
    }

    /// Claims a finished image and takes it off the list; the result has the bytes of its file.
    ///
    /// # Errors
    /// `Busy` if it is claimed, `Absent` if there is none.
    pub(super) fn claim_for_removal(self: &Arc<Self>, image: ImageId) -> Result<(Claim, u64), DeleteError> {
        let mut state = self.lock();
        if state.claimed.contains(&image) {
            return Err(DeleteError::Busy);
        }
        let image_bytes = state.remove(image).ok_or(DeleteError::Absent)?;
        state.claimed.insert(image);
        Ok((Claim { directory: Arc::clone(self), image }, image_bytes))
    }

    /// Takes note of a finished image.
    pub(super) fn insert(&self, image: ImageId, image_bytes: u64) {
        self.lock().insert(image, image_bytes);
    }

    /// Takes note of a draft's file that is not needed any more.
    pub(super) fn abandon(&self, path: PathBuf) {
        self.lock().abandoned.push(path);
    }

    /// Removes the files of drafts that were given up. What cannot be removed now goes with the
    /// next opening.
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
    pub(super) fn insert(&mut self, image: ImageId, image_bytes: u64) {
        let before = self.images.insert(image, image_bytes).unwrap_or(0);
        self.bytes = self.bytes - before + image_bytes;
    }

    pub(super) fn remove(&mut self, image: ImageId) -> Option<u64> {
        let image_bytes = self.images.remove(&image)?;
        self.bytes -= image_bytes;
        Some(image_bytes)
    }
}

pub(super) fn path_of(dir: &Path, image: ImageId) -> PathBuf {
    dir.join(format!("{image}{FINISHED}"))
}

pub(super) fn finished(name: &str) -> Option<ImageId> {
    parse_id(name.strip_suffix(FINISHED)?)
}

pub(super) fn is_unfinished(name: &str) -> bool {
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
