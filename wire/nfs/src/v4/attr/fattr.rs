//! Attributes as a bitmap and an opaque body, not yet decoded.
//!
//! Spec: RFC 8881 §3.3.7.

use bytes::Bytes;

use crate::v4::Bitmap;

/// Attributes as they stand on the wire: which, and their values in ascending order of the number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fattr4 {
    /// The attributes that the body holds.
    pub mask: Bitmap,
    /// Whether the sender named an attribute that no bitmap of ours can hold. Never true of what we
    /// make.
    pub mask_cut: bool,
    /// The values.
    pub body: Bytes,
}
