//! The first bytes of an image: whose it is.
//!
//! Spec: docs/formats/image.md §2.

use layout::ec::ImageId;
use layout::{Epoch, ExtentId};

use super::{FORMAT_VERSION, FormatError, Part, check, sum, u32_at, u64_at};
use crate::identity::Identity;
use crate::limits::{FRAME_BYTES_LOG2, HEADER_BYTES};

const MAGIC: &[u8; 8] = b"SHOALIMG";
const KIND_EXTENT: u8 = 1;

/// The header of an image.
pub(crate) fn encode(identity: &Identity) -> [u8; HEADER_BYTES] {
    let Identity { image, extent, epoch, sequence } = identity;
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
    bytes[10] = KIND_EXTENT;
    bytes[11] = FRAME_BYTES_LOG2;
    bytes[12..16].copy_from_slice(&extent.index.to_be_bytes());
    bytes[16..32].copy_from_slice(&image.0);
    bytes[32..40].copy_from_slice(&extent.ino.to_be_bytes());
    bytes[40..48].copy_from_slice(&epoch.0.to_be_bytes());
    bytes[48..56].copy_from_slice(&sequence.to_be_bytes());
    sum(&mut bytes);
    bytes
}

/// Whether an image may have this id: zeros are an absent member of a group (docs/formats/group.md
/// §3).
///
/// # Errors
/// [`FormatError::Field`].
pub(crate) fn check_id(image: ImageId) -> Result<ImageId, FormatError> {
    if image.0 == [0; 16] {
        return Err(FormatError::Field { part: Part::Header, field: "image id" });
    }
    Ok(image)
}

/// Whose image begins with these bytes.
///
/// # Errors
/// Any [`FormatError`] of the header.
pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Identity, FormatError> {
    check(bytes, MAGIC, Part::Header)?;
    let invalid = |field| Err(FormatError::Field { part: Part::Header, field });
    if bytes[10] != KIND_EXTENT {
        return invalid("kind");
    }
    if bytes[11] != FRAME_BYTES_LOG2 {
        return invalid("frame size");
    }
    if u32_at(bytes, 56) != 0 {
        return invalid("zero");
    }
    let image = check_id(ImageId(bytes[16..32].try_into().expect("sixteen bytes")))?;
    Ok(Identity {
        image,
        extent: ExtentId { ino: u64_at(bytes, 32), index: u32_at(bytes, 12) },
        epoch: Epoch(u64_at(bytes, 40)),
        sequence: u64_at(bytes, 48),
    })
}
