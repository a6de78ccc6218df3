//! Padding of opaque data to a multiple of four bytes.
//!
//! Spec: RFC 4506 §3.

/// How many zero bytes follow `bytes` bytes of opaque data (RFC 4506 §3: everything is a multiple
/// of four bytes).
pub const fn padding(bytes: usize) -> usize {
    bytes.wrapping_neg() & 3
}
