//! Bounds of the control protocol.
//!
//! Spec: docs/protocol/control.md.

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 64;

/// Most data addresses of one data server.
pub const DATA_ADDRESSES_MAX: usize = 16;

/// Most extents in one SIZE.
pub const SIZE_EXTENTS_MAX: usize = 1024;

/// Backups of one extent.
pub const BACKUPS_MAX: usize = 2;

/// Data servers in the directory.
pub const DIRECTORY_MAX: usize = 1024;

/// Longest name of a zone, rack or host, in bytes.
pub const DOMAIN_BYTES_MAX: usize = 64;

/// Most data of one replicated record.
pub const RECORD_DATA_BYTES_MAX: usize = 1 << 20;

/// A replicated record with its call never takes more than this many bytes.
pub const REPLICATE_BYTES_MAX: usize = RECORD_DATA_BYTES_MAX + 4096;

/// A control call or reply never takes more than this many bytes: a directory is the largest. Replicated records
/// have a bound of their own.
pub const CONTROL_BYTES_MAX: usize = 128 << 10;

const SIZE_REPLY_BYTES_MAX: usize = 8 + SIZE_EXTENTS_MAX * 32;
const DIRECTORY_BYTES_MAX: usize = 256 + DIRECTORY_MAX * (8 + ADDRESS_BYTES_MAX);
const _: () = assert!(DIRECTORY_BYTES_MAX < CONTROL_BYTES_MAX, "a full directory fits");
const _: () = assert!(SIZE_REPLY_BYTES_MAX < CONTROL_BYTES_MAX, "a full SIZE reply fits");
