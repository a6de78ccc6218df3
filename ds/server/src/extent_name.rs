//! Extents as control calls name them.

use layout::ExtentId;
use wire_nfs::control::extent::ExtentName;

pub(crate) fn id_of(name: ExtentName) -> ExtentId {
    ExtentId { ino: name.ino, index: name.index }
}

pub(crate) fn name_of(extent: ExtentId) -> ExtentName {
    ExtentName { ino: extent.ino, index: extent.index }
}
