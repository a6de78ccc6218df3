//! Bounds and thresholds of the codec.

/// Payloads of at least this many bytes become a segment of their own in a
/// [`Writer`](crate::Writer) instead of being copied: below it a copy is cheaper than one more
/// entry in a vectored write.
pub const SPLICE_BYTES_MIN: usize = 512;

/// A decoded list reserves room for at most this many elements up front, so that a short message
/// which claims a long list cannot make us allocate many times its own size.
pub const LIST_RESERVE_MAX: usize = 256;
