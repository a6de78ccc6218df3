//! Attributes that WRITEs on data servers move.
//!
//! Spec: docs/protocol/sizes.md.

use wire_nfs::v4::Bitmap;
use wire_nfs::v4::attr::numbers;

/// Attributes that WRITEs on data servers move.
pub(crate) const MOVED_BY_WRITES: Bitmap = Bitmap::of(&[
    numbers::CHANGE,
    numbers::SIZE,
    numbers::MODE,
    numbers::SPACE_USED,
    numbers::TIME_METADATA,
    numbers::TIME_MODIFY,
]);
