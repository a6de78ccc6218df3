//! What an image is called, whose bytes it holds, and what is known of it as a whole.

use std::fmt;

use layout::{Epoch, ExtentId};

/// Names one image, ever: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub [u8; 16]);

impl ImageId {
    /// Reads what [`Display`](fmt::Display) writes: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return None;
        }
        Some(Self(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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
    /// The last act on the extent that is in the image; records of the journal with a higher sequence lie above it.
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

#[cfg(test)]
mod tests {
    use super::ImageId;

    #[test]
    fn ids_have_one_text() {
        let id = ImageId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(ImageId::parse(&id.to_string()), Some(id));
        for bad in ["", "0", "000102030405060708090a0b0c0d0eFF", "+00102030405060708090a0b0c0d0eff"] {
            assert_eq!(ImageId::parse(bad), None, "{bad}");
        }
    }
}
