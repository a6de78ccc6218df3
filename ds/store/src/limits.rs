//! Bounds of the store.

/// Most bytes of one WRITE record.
pub const WRITE_BYTES_MAX: usize = 1 << 20;

/// Bytes of an extent, as the 32-bit offsets of the index count them.
pub const EXTENT_BYTES: u32 = 64 << 20;

/// Content bytes of a frame of an image.
pub use layout::limits::IMAGE_FRAME_BYTES;

/// Most bytes that one read of an image asks for.
pub const IMAGE_READ_BYTES_MAX: u32 = 1 << 20;

/// Locks over the extents: enough that two requests on different extents rarely meet.
pub const SHARDS: usize = 64;

/// Extents whose epochs are kept although nothing of them is in the journal any more: some 4 MiB.
pub const FORGOTTEN_MAX: usize = 65_536;

/// Journal pieces that one read gathers; a read that would need more comes back short.
pub const READ_PIECES_MAX: usize = 64;

/// Journal reads that one read request has under way at a time.
pub const READS_IN_FLIGHT_MAX: usize = 16;

/// Times that a write waits for compaction to make room before it is told that the store is busy.
pub const ROOM_WAITS_MAX: u32 = 200;

/// How long one such wait lasts at most.
pub const ROOM_WAIT_MS: u64 = 10;

/// Default size of a journal segment.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Dropped segments kept for reuse.
pub const RECYCLE_MAX: usize = 0;

/// Segments that must fit a store's capacity.
pub const SEGMENTS_MIN: u64 = 16;

/// Bytes of copies that compaction has in memory at a time.
pub const RELOCATE_BYTES_MAX: usize = 4 << 20;

/// Copies that compaction writes at a time.
pub const COPIES_MAX: usize = 4096;

/// How often the compactor looks when it is not woken.
pub const COMPACT_PERIOD_MS: u64 = 1_000;

/// The journal rests when only compaction has appended for so long.
pub const JOURNAL_REST_MS: u64 = 5_000;

/// At rest a segment is emptied if at most one part in so many is alive: so what is copied is at
/// most half of what comes back.
pub const REST_LIVE_PARTS: u64 = 3;

/// Less than this is not worth emptying a segment for.
pub const REST_GAIN_BYTES_MIN: u64 = 256 << 10;

/// A small segment: one that may be mostly dead and yet not worth it.
pub const SMALL_SEGMENT_BYTES: u64 = REST_GAIN_BYTES_MIN * REST_LIVE_PARTS / (REST_LIVE_PARTS - 1);

/// Small segments that may stay at rest, however much of them is alive: each start leaves one.
pub const SMALL_SEGMENTS_MAX: usize = 8;

/// Bytes that compaction copies in a second at rest, on average.
pub const REST_COPY_BYTES_PER_SECOND: u64 = 32 << 20;

/// Extents that a scrub is named at a time.
pub const CHECK_EXTENTS_MAX: usize = 4096;

/// Segments that the list of a journal names; one of more is missed by its position alone.
pub const SEGMENTS_LISTED_MAX: usize = 1 << 20;

/// Bytes of an extent that a scrub reads at a time, and the pieces they may lie in.
pub const CHECK_BYTES_MAX: u32 = 1 << 20;
/// See [`CHECK_BYTES_MAX`].
pub const CHECK_PIECES_MAX: usize = 256;

/// Most extents that are named as ripe at a time.
pub const RIPE_MAX: usize = 1024;

/// A full extent rests so long before it may be sealed.
pub const RIPE_FULL_MS: u64 = 1_000;

/// An extent with an image is sealed again when more than one in so many parts of the image's
/// content changed,
pub const RESEAL_PARTS: u32 = 4;

/// or when it has rested so many times as long as one without.
pub const RIPE_RESEAL_RESTS: u64 = 10;

/// What another primary gave rests so many times as long before it is named.
pub const RIPE_REPLICA_RESTS: u64 = 10;

const _: () = assert!(EXTENT_BYTES as u64 == layout::EXTENT_BYTES, "the layout's extent");
// A segment full of the smallest records, packed as compaction packs them, is alive for more than a
// half by their weight (72 bytes of 128): only where less counts as worth it can a copy not be
// copied again for its own sake.
const _: () = assert!(2 < REST_LIVE_PARTS, "what was just copied is not worth copying");
const _: () = assert!(REST_GAIN_BYTES_MIN < SMALL_SEGMENT_BYTES, "a small segment may be worth it");
const _: () = assert!(IMAGE_READ_BYTES_MAX.is_multiple_of(IMAGE_FRAME_BYTES), "of whole frames");
const _: () = assert!(CHECK_BYTES_MAX as usize <= WRITE_BYTES_MAX, "what is restored is a record");
const _: () = assert!(SEGMENTS_MIN / 8 + 4 < SEGMENTS_MIN, "beside the reserve there is room");
const _: () = assert!((WRITE_BYTES_MAX as u64) < SEGMENT_BYTES_DEFAULT, "a record fits a segment");
const _: () = assert!(READS_IN_FLIGHT_MAX <= READ_PIECES_MAX, "a read has a piece for each read");
const _: () = assert!(WRITE_BYTES_MAX <= RELOCATE_BYTES_MAX, "compaction can hold a whole record");
