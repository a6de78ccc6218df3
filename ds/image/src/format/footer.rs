//! The last bytes of an image: lengths, and the root that stands for all of it.
//!
//! INVARIANT: lengths of a decoded footer are within the limits, and add up to the file's.
//! Spec: docs/formats/image.md §4, §5.

use super::{FORMAT_VERSION, FormatError, Part, check, sum, u16_at, u32_at, u64_at};
use crate::identity::ImageRoot;
use crate::limits::{
    CONTENT_BYTES_MAX, ENTRY_BYTES, FOOTER_BYTES, FRAMES_MAX, HEADER_BYTES, IMAGE_BYTES_MAX, IMAGE_BYTES_MIN,
};

const MAGIC: &[u8; 8] = b"SHOALEND";
/// Bytes that the root covers.
const ROOTED_BYTES: usize = 28;

/// What the footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) entries: u16,
    pub(crate) content_bytes: u32,
    pub(crate) stored_bytes: u32,
    pub(crate) root: ImageRoot,
}

impl Footer {
    /// The footer behind a header and an index. Index and lengths are what we computed.
    pub(crate) fn seal(
        header: &[u8; HEADER_BYTES],
        index: &[u8],
        content_bytes: u32,
        stored_bytes: u32,
    ) -> (Self, [u8; FOOTER_BYTES]) {
        assert!(index.len().is_multiple_of(ENTRY_BYTES));
        let entries = u16::try_from(index.len() / ENTRY_BYTES).expect("at most FRAMES_MAX");
        let mut footer = Self { entries, content_bytes, stored_bytes, root: ImageRoot([0; 32]) };
        let mut bytes = [0; FOOTER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
        bytes[10..12].copy_from_slice(&entries.to_be_bytes());
        bytes[12..16].copy_from_slice(&content_bytes.to_be_bytes());
        bytes[16..24].copy_from_slice(&footer.image_bytes().to_be_bytes());
        bytes[24..28].copy_from_slice(&stored_bytes.to_be_bytes());
        footer.root = root(header, index, &bytes);
        bytes[ROOTED_BYTES..60].copy_from_slice(&footer.root.0);
        sum(&mut bytes);
        (footer, bytes)
    }

    /// Reads the footer of a file that is `image_bytes` long.
    ///
    /// # Errors
    /// Any [`FormatError`] of the footer, and [`FormatError::Cut`].
    pub(crate) fn decode(bytes: &[u8; FOOTER_BYTES], image_bytes: u64) -> Result<Self, FormatError> {
        check_length(image_bytes)?;
        check(bytes, MAGIC, Part::Footer)?;
        let footer = Self {
            entries: u16_at(bytes, 10),
            content_bytes: u32_at(bytes, 12),
            stored_bytes: u32_at(bytes, 24),
            root: ImageRoot(bytes[ROOTED_BYTES..60].try_into().expect("32 bytes")),
        };
        let invalid = |field| Err(FormatError::Field { part: Part::Footer, field });
        if FRAMES_MAX < usize::from(footer.entries) {
            return invalid("entries");
        }
        if CONTENT_BYTES_MAX < footer.content_bytes {
            return invalid("content bytes");
        }
        if CONTENT_BYTES_MAX < footer.stored_bytes {
            return invalid("stored bytes");
        }
        let said = u64_at(bytes, 16);
        if said != footer.image_bytes() {
            return invalid("bytes of the file");
        }
        if said != image_bytes {
            return Err(FormatError::Cut { said, bytes: image_bytes });
        }
        Ok(footer)
    }

    /// Bytes of the index before it.
    pub(crate) fn index_bytes(&self) -> usize {
        usize::from(self.entries) * ENTRY_BYTES
    }

    /// Bytes of the file.
    pub(crate) fn image_bytes(&self) -> u64 {
        IMAGE_BYTES_MIN + u64::from(self.stored_bytes) + self.index_bytes() as u64
    }

    /// Compares the root with the bytes it covers.
    ///
    /// # Errors
    /// [`FormatError::Root`].
    pub(crate) fn check_root(
        &self,
        header: &[u8; HEADER_BYTES],
        index: &[u8],
        footer: &[u8; FOOTER_BYTES],
    ) -> Result<(), FormatError> {
        let found = root(header, index, footer);
        if found == self.root { Ok(()) } else { Err(FormatError::Root { said: self.root, found }) }
    }
}

/// Whether a file of this length can be an image at all.
///
/// # Errors
/// [`FormatError::Length`].
pub(crate) fn check_length(image_bytes: u64) -> Result<(), FormatError> {
    if (IMAGE_BYTES_MIN..=IMAGE_BYTES_MAX).contains(&image_bytes) {
        Ok(())
    } else {
        Err(FormatError::Length { bytes: image_bytes })
    }
}

fn root(header: &[u8; HEADER_BYTES], index: &[u8], footer: &[u8; FOOTER_BYTES]) -> ImageRoot {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(index).update(&footer[..ROOTED_BYTES]);
    ImageRoot(*hasher.finalize().as_bytes())
}
