//! Bounds of the control protocol.
//!
//! Spec: docs/protocol/control.md.

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 64;

/// Most data addresses of one data server.
pub const DATA_ADDRESSES_MAX: usize = 16;

/// Most extents in one SIZE.
pub const SIZE_EXTENTS_MAX: usize = 1024;

/// A control call or reply never takes more than this many bytes: SIZE's reply is the largest.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;

const SIZE_REPLY_BYTES_MAX: usize = 8 + SIZE_EXTENTS_MAX * 32;
const _: () = assert!(SIZE_REPLY_BYTES_MAX < CONTROL_BYTES_MAX, "a full SIZE reply fits");
