//! What an IMAGE record says beside its header: which image stands for the extent, and how to know
//! it.
//!
//! The same 64 bytes travel to replicas, and to a server that adopts an extent of which only the
//! image is left.
//!
//! INVARIANT: `decode` reads back what `encode` writes, and takes no lengths that an image cannot
//! have.
//! Spec: docs/formats/journal.md §2; docs/formats/image.md §4.

use super::ImageId;
use crate::limits::{IMAGE_BYTES_MAX, IMAGE_FRAME_BYTES};

/// Bytes of an encoded [`ImageRef`].
pub const IMAGE_REF_BYTES: usize = 64;

/// Bytes of an extent, as 32-bit lengths count them.
const EXTENT_BYTES: u32 = 64 << 20;
/// Header and footer of an image's file.
const FILE_ENDS_BYTES: u32 = 128;
/// What a frame's entry in the index takes.
const FILE_ENTRY_BYTES: u32 = 40;

const _: () = assert!(EXTENT_BYTES as u64 == crate::limits::EXTENT_BYTES, "one length of extents");
/// Index entries of a full extent.
const ENTRIES_BYTES_MAX: u32 = EXTENT_BYTES.div_ceil(IMAGE_FRAME_BYTES) * FILE_ENTRY_BYTES;
const _: () = assert!(
    (FILE_ENDS_BYTES + EXTENT_BYTES + ENTRIES_BYTES_MAX) as u64 <= IMAGE_BYTES_MAX,
    "the file of a full extent is within the bound of images"
);

/// An image that stands for all of an extent up to some act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// Which image.
    pub image: ImageId,
    /// Bytes of the extent that it says, from the start; what is behind them is a hole. At least
    /// one.
    pub content_bytes: u32,
    /// Bytes of its file.
    pub file_bytes: u32,
    /// Stands for all bytes of its file (docs/formats/image.md §4).
    pub root: [u8; 32],
}

/// Why 64 bytes name no image: the fault of who wrote or sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefError {
    /// They are not 64.
    #[error("{bytes} bytes name no image")]
    Length {
        /// How many there are.
        bytes: usize,
    },
    /// The image id or the root is all zeros.
    #[error("an image without a name or a root")]
    Nameless,
    /// No image has such lengths.
    #[error("an image of {content_bytes} bytes in a file of {file_bytes}")]
    Lengths {
        /// What it says of its content.
        content_bytes: u32,
        /// What it says of its file.
        file_bytes: u32,
    },
    /// The last eight bytes are not zeros.
    #[error("bytes behind the name of an image")]
    Trailing,
}

impl ImageRef {
    /// The 64 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; IMAGE_REF_BYTES] {
        let mut bytes = [0; IMAGE_REF_BYTES];
        bytes[..16].copy_from_slice(&self.image.0);
        bytes[16..20].copy_from_slice(&self.content_bytes.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.file_bytes.to_be_bytes());
        bytes[24..56].copy_from_slice(&self.root);
        bytes
    }

    /// Reads them.
    ///
    /// # Errors
    /// Any [`ImageRefError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageRefError> {
        let bytes: &[u8; IMAGE_REF_BYTES] =
            bytes.try_into().map_err(|_| ImageRefError::Length { bytes: bytes.len() })?;
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let found = Self {
            image: ImageId(bytes[..16].try_into().expect("sixteen bytes")),
            content_bytes: word(16),
            file_bytes: word(20),
            root: bytes[24..56].try_into().expect("32 bytes"),
        };
        if bytes[56..] != [0; 8] {
            return Err(ImageRefError::Trailing);
        }
        found.check().map(|()| found)
    }

    /// Whether there can be such an image.
    ///
    /// # Errors
    /// [`ImageRefError::Nameless`], [`ImageRefError::Lengths`].
    pub fn check(&self) -> Result<(), ImageRefError> {
        if self.image.0 == [0; 16] || self.root == [0; 32] {
            return Err(ImageRefError::Nameless);
        }
        let &Self { content_bytes, file_bytes, .. } = self;
        let content = 1..=EXTENT_BYTES;
        let frames = content_bytes.div_ceil(IMAGE_FRAME_BYTES);
        // An image of zeros stores no frame; one that does not compress stores all as they are.
        let fits = content.contains(&content_bytes)
            && (FILE_ENDS_BYTES..=FILE_ENDS_BYTES + content_bytes + frames * FILE_ENTRY_BYTES)
                .contains(&file_bytes);
        if fits { Ok(()) } else { Err(ImageRefError::Lengths { content_bytes, file_bytes }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ImageRef {
        let content_bytes = 0x0001_0005;
        ImageRef { image: ImageId([0x11; 16]), content_bytes, file_bytes: 0x0001_00d5, root: [0x22; 32] }
    }

    #[test]
    fn an_image_has_its_golden_bytes() {
        let bytes = sample().encode();
        assert_eq!(bytes[..16], [0x11; 16]);
        assert_eq!(bytes[16..24], [0, 1, 0, 5, 0, 1, 0, 0xd5]);
        assert_eq!(bytes[24..56], [0x22; 32]);
        assert_eq!(bytes[56..], [0; 8]);
        assert_eq!(ImageRef::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn the_largest_and_the_smallest_are_images() {
        let largest = ImageRef { content_bytes: EXTENT_BYTES, file_bytes: 67_149_952, ..sample() };
        let smallest = ImageRef { content_bytes: 1, file_bytes: 128, ..sample() };
        for image in [largest, smallest] {
            assert_eq!(ImageRef::decode(&image.encode()), Ok(image));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let good = sample();
        for bad in [
            ImageRef { image: ImageId([0; 16]), ..good },
            ImageRef { root: [0; 32], ..good },
            ImageRef { content_bytes: 0, ..good },
            ImageRef { content_bytes: EXTENT_BYTES + 1, ..good },
            ImageRef { content_bytes: u32::MAX, file_bytes: u32::MAX, ..good },
            ImageRef { file_bytes: 127, ..good },
            ImageRef { file_bytes: 0x0001_0005 + 128 + 81, ..good },
        ] {
            assert!(ImageRef::decode(&bad.encode()).is_err(), "{bad:?}");
        }
        let mut bytes = good.encode();
        bytes[63] = 1;
        assert_eq!(ImageRef::decode(&bytes), Err(ImageRefError::Trailing));
        assert!(ImageRef::decode(&bytes[..63]).is_err());
        assert!(ImageRef::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
