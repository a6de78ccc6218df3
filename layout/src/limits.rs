//! Named bounds of files and placement.
//!
//! Spec: none; the numbers are ours (docs/formats/ds_handle.md repeats the first).

/// Bytes of a full extent: 64 MiB.
pub const EXTENT_BYTES: u64 = 64 * 1024 * 1024;
/// Extents one file may have: their index is 32 bits.
pub const EXTENTS_MAX: u64 = 1 << 32;
/// Bytes behind which a file can hold no data: 2^58, 256 PiB. A write that ends above it is refused with FBIG.
pub const FILE_BYTES_MAX: u64 = EXTENT_BYTES * EXTENTS_MAX;
/// Steps into which free space is sorted when a home is chosen. Servers on the same step share in strict rotation.
pub const PLACEMENT_STEPS: u64 = 16;

const _: () = assert!(EXTENT_BYTES.is_power_of_two(), "extents are found by shifting");
const _: () = assert!(FILE_BYTES_MAX < i64::MAX as u64, "offsets fit a signed 64-bit number");
