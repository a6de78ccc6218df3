//! Lengths of a group's record, and of the trailer of a parity image.
//!
//! Spec: docs/formats/group.md §3, §5.

use crate::ec::profile::Profile;
use crate::limits::GROUP_IMAGES_MAX;

pub(super) const HEAD_BYTES: usize = 16;
pub(super) const IMAGE_ENTRY_BYTES: usize = 64;
pub(super) const HOME_BYTES: usize = 4;
pub(super) const CHECK_BYTES: usize = 16;

/// Bytes of a shape at most.
pub const SHAPE_BYTES_MAX: usize = HEAD_BYTES + GROUP_IMAGES_MAX * IMAGE_ENTRY_BYTES;
/// Bytes of a group's record at most.
pub const GROUP_RECORD_BYTES_MAX: usize = SHAPE_BYTES_MAX + GROUP_IMAGES_MAX * HOME_BYTES + CHECK_BYTES;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 64;

const WIDEST: Profile = Profile::EightPlusFour;
const _: () = assert!(shape_bytes(WIDEST) == SHAPE_BYTES_MAX, "the widest group bounds all");
const _: () = assert!(group_record_bytes(WIDEST) == GROUP_RECORD_BYTES_MAX, "the widest bounds all");

/// Bytes of the shape of a profile.
#[must_use]
pub const fn shape_bytes(profile: Profile) -> usize {
    HEAD_BYTES + profile.images() * IMAGE_ENTRY_BYTES
}

/// Bytes of the record of a group of a profile.
#[must_use]
pub const fn group_record_bytes(profile: Profile) -> usize {
    shape_bytes(profile) + profile.images() * HOME_BYTES + CHECK_BYTES
}
