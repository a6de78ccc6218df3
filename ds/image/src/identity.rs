//! What an image is called, whose bytes it holds, and what is known of it as a whole.

use std::fmt;

use layout::ec::{GroupId, ImageId, ImageSum};
use layout::{Epoch, ExtentId};

/// The hash that stands for all bytes of an image's file (docs/formats/image.md §4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageRoot(pub [u8; 32]);

impl fmt::Display for ImageRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ImageRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whose bytes an image holds, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The image.
    pub image: ImageId,
    /// The extent.
    pub extent: ExtentId,
    /// The extent's epoch when it was sealed.
    pub epoch: Epoch,
    /// The last act on the extent that is in the image; records of the journal with a higher
    /// sequence lie above it.
    pub sequence: u64,
}

/// What is known of an image as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Whose bytes.
    pub identity: Identity,
    /// Bytes of the extent that it says; behind them the extent holds nothing.
    pub content_bytes: u32,
    /// Frames that are stored; the others are holes.
    pub frames: u16,
    /// Bytes of the stored frames.
    pub stored_bytes: u32,
    /// Bytes of the file.
    pub image_bytes: u64,
    /// Stands for all of them.
    pub root: ImageRoot,
}

/// An image that has just been made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What it says of itself.
    pub info: ImageInfo,
    /// BLAKE3 of its file, by which its group will know it (docs/formats/group.md §3). The file
    /// does not say it.
    pub sum: ImageSum,
}

/// What is known of a parity image as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParityInfo {
    /// Its id.
    pub image: ImageId,
    /// The group it was made for.
    pub group: GroupId,
    /// Its slot there.
    pub slot: usize,
    /// Bytes of parity, from the start of the file.
    pub payload_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// BLAKE3 of the payload, as the group's shape says it.
    pub sum: ImageSum,
}
