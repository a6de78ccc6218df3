//! Named bounds of files, placement and groups.
//!
//! Spec: none; the numbers are ours (docs/formats/ds_handle.md and docs/formats/group.md repeat
//! some).

/// Bytes of a full extent: 64 MiB.
pub const EXTENT_BYTES: u64 = 64 * 1024 * 1024;
/// Extents one file may have: their index is 32 bits.
pub const EXTENTS_MAX: u64 = 1 << 32;
/// Bytes behind which a file can hold no data: 2^58, 256 PiB. A write that ends above it is refused
/// with FBIG.
pub const FILE_BYTES_MAX: u64 = EXTENT_BYTES * EXTENTS_MAX;
/// A data server on which so many images are being made gets another one only if all others make as
/// many: it works on no more at once.
pub const WORKS_ENOUGH: u64 = 2;
/// One part in so many of what a data server may hold is kept back from new bytes of clients,
pub const RESERVE_PARTS: u64 = 8;
/// but no more than this: room for images and parity of four extents, four times over.
pub const RESERVE_BYTES_MAX: u64 = 16 * EXTENT_BYTES;
/// Steps into which free space is sorted when a primary is chosen. Servers on the same step share
/// in strict rotation.
pub const PLACEMENT_STEPS: u64 = 16;
/// Bytes of an image's file at most: a full extent that does not shrink, and 1 MiB for what is said
/// of it. Parity images have as many before what is said of them.
pub const IMAGE_BYTES_MAX: u64 = EXTENT_BYTES + (1 << 20);
/// Content bytes of a frame of an image.
pub const IMAGE_FRAME_BYTES: u32 = 64 << 10;
/// Images of one group at most: profile 8+4.
pub const GROUP_IMAGES_MAX: usize = 12;
/// Bytes of a column of the erasure code: what is computed alone. Parity images are multiples of
/// it.
pub const COLUMN_BYTES: usize = 64;
/// Bytes of a block: what a parity image has one checksum for.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// Bytes of each image that encoding or rebuilding holds at once, at most.
pub const WINDOW_BYTES_MAX: usize = 1 << 20;
/// Images that wait for a group and are looked at when one is chosen: the longest waiting ones.
pub const GROUP_WAITING_MAX: usize = 512;
/// Images of one group, made in time, are at least this long in percent of the first one; the first
/// one, of them.
pub const GROUP_LENGTH_PERCENT: u64 = 95;
/// Two short groups are made into one if the longer one's parity is at most so many times as long
/// as the other's.
pub const JOIN_PARITY_PARTS: u64 = 4;
/// Data begin to move when the fullest data server and the emptiest one differ by more than this,
/// in thousandths of their capacity.
pub const BALANCE_BEGIN_PERMILLE: u64 = 50;
/// Once begun, they move until the difference is no more than this, or nothing can be moved.
pub const BALANCE_END_PERMILLE: u64 = 10;

const _: () = assert!(BALANCE_END_PERMILLE < BALANCE_BEGIN_PERMILLE, "what has ended does not begin at once");
const _: () = assert!(BLOCK_BYTES.is_multiple_of(COLUMN_BYTES), "blocks are whole columns");
const _: () = assert!(WINDOW_BYTES_MAX.is_multiple_of(BLOCK_BYTES), "windows are whole blocks");
const _: () = assert!(BLOCK_BYTES.is_power_of_two() && 1024 <= BLOCK_BYTES, "a block is a subtree of BLAKE3");
const _: () = assert!(IMAGE_BYTES_MAX < u32::MAX as u64, "lengths of images fit memory's lengths");
const _: () = assert!(EXTENT_BYTES.is_power_of_two(), "extents are found by shifting");
const _: () = assert!(FILE_BYTES_MAX < i64::MAX as u64, "offsets fit a signed 64-bit number");
