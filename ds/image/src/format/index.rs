//! The entries of the stored frames, and where they say that the frames lie.
//!
//! INVARIANT: the places of a decoded index ascend, do not overlap, and leave no gap between header
//! and index.
//! Spec: docs/formats/image.md §3, §5.

use super::{FormatError, Part, u16_at, u32_at};
use crate::frame::{Form, is_worth_storing};
use crate::limits::{ENTRY_BYTES, FRAME_BYTES, HEADER_BYTES};

const FORM_RAW: u8 = 1;
const FORM_ZSTD: u8 = 2;

/// Where a stored frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its number: where it is in the content.
    pub(crate) frame: u16,
    /// How it is stored.
    pub(crate) form: Form,
    /// First byte in the file.
    pub(crate) offset: u32,
    /// Bytes in the file.
    pub(crate) stored_bytes: u32,
}

impl Place {
    /// One past the last byte in the file.
    pub(crate) fn end(&self) -> u32 {
        self.offset + self.stored_bytes
    }
}

/// Content bytes of a frame; none behind the end.
pub(crate) fn frame_bytes(frame: u16, content_bytes: u32) -> usize {
    let start = usize::from(frame) * FRAME_BYTES;
    (content_bytes as usize).saturating_sub(start).min(FRAME_BYTES)
}

/// An entry for a stored frame.
pub(crate) fn encode(frame: u16, form: Form, stored_bytes: u32, hash: &[u8; 32]) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..2].copy_from_slice(&frame.to_be_bytes());
    bytes[2] = match form {
        Form::Raw => FORM_RAW,
        Form::Zstd => FORM_ZSTD,
    };
    bytes[4..8].copy_from_slice(&stored_bytes.to_be_bytes());
    bytes[8..].copy_from_slice(hash);
    bytes
}

/// The hash in the entry with this number.
pub(crate) fn hash(index: &[u8], entry: usize) -> &[u8; 32] {
    let bytes = &index[entry * ENTRY_BYTES + 8..(entry + 1) * ENTRY_BYTES];
    bytes.try_into().expect("an entry ends with 32 bytes")
}

/// Reads an index whose length was checked.
///
/// # Errors
/// [`FormatError::Entry`]; [`FormatError::Field`] if the frames do not reach to the index.
pub(crate) fn decode(index: &[u8], content_bytes: u32, stored_bytes: u32) -> Result<Vec<Place>, FormatError> {
    let mut places = Vec::with_capacity(index.len() / ENTRY_BYTES);
    let first = u32::try_from(HEADER_BYTES).expect("64");
    let end = first + stored_bytes;
    let (mut at, mut frame_min) = (first, 0);
    for (entry, bytes) in index.chunks_exact(ENTRY_BYTES).enumerate() {
        let invalid = |field| FormatError::Entry { entry, field };
        let frame = u16_at(bytes, 0);
        let content = frame_bytes(frame, content_bytes);
        if frame < frame_min || content == 0 {
            return Err(invalid("frame number"));
        }
        frame_min = frame + 1;
        let length = u32_at(bytes, 4);
        let (form, is_right) = match bytes[2] {
            FORM_RAW => (Form::Raw, length as usize == content),
            FORM_ZSTD => (Form::Zstd, 0 < length && is_worth_storing(length as usize, content)),
            _ => return Err(invalid("form")),
        };
        if bytes[3] != 0 {
            return Err(invalid("zero"));
        }
        if !is_right || end - at < length {
            return Err(invalid("stored bytes"));
        }
        places.push(Place { frame, form, offset: at, stored_bytes: length });
        at += length;
    }
    if at != end {
        return Err(FormatError::Field { part: Part::Footer, field: "stored bytes" });
    }
    Ok(places)
}
