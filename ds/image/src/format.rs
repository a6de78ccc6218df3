//! The bytes of an image beside its frames: header, index, footer. Pure: numbers to bytes and back.
//!
//! INVARIANT: decoders take whatever a disk gives and answer an error; nothing is allocated for a
//! length that was not checked.
//! Spec: docs/formats/image.md §2 to §5.

pub(crate) mod footer;
pub(crate) mod header;
pub(crate) mod index;

#[cfg(test)]
mod tests;

use std::fmt;

use crc_fast::{CrcAlgorithm, checksum};
use layout::ec::ImageId;

use crate::identity::ImageRoot;
use crate::limits::{IMAGE_BYTES_MAX, IMAGE_BYTES_MIN};

/// Version of header and footer.
pub(crate) const FORMAT_VERSION: u16 = 1;

/// Where a header's and a footer's own checksum stands.
const CRC_AT: usize = 60;

/// A part of an image's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first bytes.
    Header,
    /// The entries of the stored frames.
    Index,
    /// The last bytes.
    Footer,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Index => "index",
            Self::Footer => "footer",
        })
    }
}

/// Why bytes are not an image. Each is the disk's fault, or that of who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file is shorter than any image or longer than all.
    #[error("a file of {bytes} bytes; an image has {IMAGE_BYTES_MIN} to {IMAGE_BYTES_MAX}")]
    Length {
        /// Its length.
        bytes: u64,
    },
    /// A part begins with something else.
    #[error("no image {part}")]
    Magic {
        /// Which.
        part: Part,
    },
    /// A part's own checksum is wrong.
    #[error("the {part} is damaged")]
    Checksum {
        /// Which.
        part: Part,
    },
    /// A version that is not known.
    #[error("{part} of version {version} is not known")]
    Version {
        /// Which part.
        part: Part,
        /// Its version.
        version: u16,
    },
    /// A field has a value that version 1 has no meaning for.
    #[error("{field} of the {part} is not valid")]
    Field {
        /// Which part.
        part: Part,
        /// Which field.
        field: &'static str,
    },
    /// The footer speaks of another length than the file has: the file was cut or grew.
    #[error("the footer speaks of {said} bytes, the file has {bytes}")]
    Cut {
        /// Length by the footer.
        said: u64,
        /// Length of the file.
        bytes: u64,
    },
    /// Header, index and footer do not belong together, or one is damaged.
    #[error("the root is {found}, the footer says {said}")]
    Root {
        /// By the footer.
        said: ImageRoot,
        /// Of what was read.
        found: ImageRoot,
    },
    /// An entry of the index makes no sense.
    #[error("entry {entry} of the index is not valid: {field}")]
    Entry {
        /// Which, counted from 0.
        entry: usize,
        /// Which field.
        field: &'static str,
    },
    /// The image is another one than was asked for.
    #[error("this is image {found}")]
    Foreign {
        /// Its id.
        found: ImageId,
    },
}

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a CRC-32C has 32 bits")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Puts the checksum behind the first 60 bytes.
fn sum(bytes: &mut [u8; CRC_AT + 4]) {
    let crc = crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
}

/// Magic, checksum and version, which header and footer have alike.
fn check(bytes: &[u8; CRC_AT + 4], magic: &[u8; 8], part: Part) -> Result<(), FormatError> {
    if bytes[..8] != *magic {
        return Err(FormatError::Magic { part });
    }
    if crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
        return Err(FormatError::Checksum { part });
    }
    match u16_at(bytes, 8) {
        FORMAT_VERSION => Ok(()),
        version => Err(FormatError::Version { part, version }),
    }
}
