//! What follows the payload of a parity image: the block checksums of the whole group, its shape,
//! and a trailer.
//!
//! So a parity image describes itself and its group: it can be scrubbed alone, and a reader that
//! rebuilds a part of any image of the group finds the checksum of what must come out. The footer
//! is read in two steps, trailer first, so that nothing is allocated for a length that was not
//! checked.
//!
//! Spec: docs/formats/group.md §5.

use crate::ec::codec::CodecId;
use crate::ec::group::{GroupError, Shape};
use crate::ec::lengths::SHAPE_BYTES_MAX;
use crate::ec::sums::{SUM_BYTES, Sums, list_bytes};
use crate::limits::{BLOCK_BYTES, GROUP_IMAGES_MAX, IMAGE_BYTES_MAX};

pub use crate::ec::lengths::TRAILER_BYTES;

/// Bytes of a footer at most, the trailer with it.
pub const FOOTER_BYTES_MAX: usize =
    GROUP_IMAGES_MAX * (IMAGE_BYTES_MAX as usize).div_ceil(BLOCK_BYTES) * SUM_BYTES
        + SHAPE_BYTES_MAX
        + TRAILER_BYTES;

const MAGIC: &[u8; 8] = b"SHOALPAR";
const VERSION: u16 = 1;
const CHECK_BYTES: usize = 32;
const CHECK_AT: usize = TRAILER_BYTES - CHECK_BYTES;

/// Why something is no parity image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// It does not end in the trailer of a parity image.
    #[error("not a parity image")]
    Magic,
    /// Made by a version of Shoal that this one does not know.
    #[error("version {got} of parity images is not known")]
    Version {
        /// The version.
        got: u16,
    },
    /// Its lengths do not fit each other, the file, or their bounds.
    #[error("a parity image's lengths make no sense")]
    Lengths,
    /// The checksum is wrong: altered.
    #[error("checksum of a parity image's footer is wrong")]
    Checksum,
    /// Its shape is none.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Its lists of checksums are not those of its shape, or it is not the image it says.
    #[error("a parity image's footer contradicts itself")]
    Lists,
}

/// The last [`TRAILER_BYTES`] of a parity image: where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Which parity image of its group, from 0.
    pub parity: usize,
    /// Bytes of parity, from the start of the file.
    pub payload_bytes: u64,
    lists_bytes: usize,
    shape_bytes: usize,
}

impl Trailer {
    /// Reads the trailer of a file.
    ///
    /// # Errors
    /// [`FooterError::Magic`], [`FooterError::Version`], [`FooterError::Lengths`]. The checksum is
    /// checked with the footer.
    pub fn decode(trailer: &[u8; TRAILER_BYTES], file_bytes: u64) -> Result<Self, FooterError> {
        if trailer[..8] != *MAGIC {
            return Err(FooterError::Magic);
        }
        let version = u16::from_be_bytes([trailer[8], trailer[9]]);
        if version != VERSION {
            return Err(FooterError::Version { got: version });
        }
        let word = |at: usize| u32::from_be_bytes(trailer[at..at + 4].try_into().expect("four bytes"));
        let read = Self {
            parity: usize::from(trailer[10]),
            payload_bytes: u64::from(word(12)),
            lists_bytes: usize::try_from(word(16)).map_err(|_| FooterError::Lengths)?,
            shape_bytes: usize::try_from(word(20)).map_err(|_| FooterError::Lengths)?,
        };
        let bounded = read.payload_bytes <= IMAGE_BYTES_MAX
            && read.lists_bytes <= FOOTER_BYTES_MAX
            && read.shape_bytes <= SHAPE_BYTES_MAX
            && read.footer_bytes() <= FOOTER_BYTES_MAX;
        let zeros = trailer[11] == 0 && trailer[24..CHECK_AT] == [0; 8];
        if !bounded || !zeros || read.payload_bytes + read.footer_bytes() as u64 != file_bytes {
            return Err(FooterError::Lengths);
        }
        Ok(read)
    }

    /// Bytes from the end of the payload to the end of the file.
    #[must_use]
    pub fn footer_bytes(&self) -> usize {
        self.lists_bytes + self.shape_bytes + TRAILER_BYTES
    }
}

/// A footer that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The group.
    pub shape: Shape,
    /// Which parity image of it this is, from 0.
    pub parity: usize,
    /// Checksums of each slot's image; of empty members those of no bytes.
    pub sums: Vec<Sums>,
}

impl Footer {
    /// Reads the end of a parity image: [`Trailer::footer_bytes`] of it, the trailer with them.
    ///
    /// # Errors
    /// [`FooterError`]: nothing but what encoding made is accepted.
    pub fn decode(trailer: Trailer, footer: &[u8]) -> Result<Self, FooterError> {
        if footer.len() != trailer.footer_bytes() {
            return Err(FooterError::Lengths);
        }
        let (checked, check) = footer.split_last_chunk::<CHECK_BYTES>().ok_or(FooterError::Lengths)?;
        if blake3::hash(checked).as_bytes() != check {
            return Err(FooterError::Checksum);
        }
        let (mut lists, rest) = footer.split_at(trailer.lists_bytes);
        let shape = Shape::decode(&rest[..trailer.shape_bytes])?;
        let known = trailer.parity < shape.profile().parity() && shape.codec() != CodecId::Copies;
        if !known || shape.payload_bytes() != trailer.payload_bytes {
            return Err(FooterError::Lists);
        }
        let mut sums = Vec::with_capacity(shape.slots());
        for slot in 0..shape.slots() {
            let bytes = shape.bytes(slot);
            let len = usize::try_from(list_bytes(bytes)).map_err(|_| FooterError::Lengths)?;
            let (list, behind) = lists.split_at_checked(len).ok_or(FooterError::Lists)?;
            let whole = shape.image(slot).map_or_else(empty_sum, |(_, sum)| sum);
            sums.push(Sums::read(bytes, whole, list).map_err(|_| FooterError::Lists)?);
            lists = behind;
        }
        if !lists.is_empty() {
            return Err(FooterError::Lists);
        }
        Ok(Self { shape, parity: trailer.parity, sums })
    }
}

fn empty_sum() -> crate::ec::sums::ImageSum {
    crate::ec::sums::ImageSum::of(&[])
}

/// The footers of all parity images of a group; none if they are copies.
pub(super) fn encode_all(shape: &Shape, sums: &[Sums]) -> Vec<Vec<u8>> {
    assert!(sums.len() == shape.slots(), "checksums of each slot");
    if shape.codec() == CodecId::Copies {
        return Vec::new();
    }
    let mut front: Vec<u8> = sums.iter().flat_map(Sums::list).copied().collect();
    let expected: u64 = (0..shape.slots()).map(|slot| list_bytes(shape.bytes(slot))).sum();
    assert_eq!(front.len() as u64, expected, "a checksum for each block of each image");
    let length = |bytes: usize| u32::try_from(bytes).expect("lengths of groups are bounded").to_be_bytes();
    let lists = length(front.len());
    let encoded = shape.encode();
    front.extend(&encoded);
    let payload = u32::try_from(shape.payload_bytes()).expect("lengths of images are bounded").to_be_bytes();
    let footer_of = |parity: usize| {
        let mut footer = front.clone();
        footer.extend(MAGIC);
        footer.extend(VERSION.to_be_bytes());
        footer.extend([u8::try_from(parity).expect("a profile's numbers are small"), 0]);
        footer.extend([payload, lists, length(encoded.len()), [0; 4], [0; 4]].as_flattened());
        let check = blake3::hash(&footer);
        footer.extend(check.as_bytes());
        assert!(footer.len() <= FOOTER_BYTES_MAX, "bounds of a group's lengths bound its footer");
        footer
    };
    (0..shape.profile().parity()).map(footer_of).collect()
}

#[cfg(test)]
mod tests;
