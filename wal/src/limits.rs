//! Named sizes and caps of the log.

/// What the log writes in: a batch begins and ends at a multiple of it.
pub const BLOCK_BYTES: u64 = 4096;

/// Records begin at a multiple of it.
pub const RECORD_ALIGN_BYTES: u64 = 8;

/// A record's header, and an entry of a segment's footer.
pub const RECORD_HEADER_BYTES: usize = 64;

/// One record's payload at most (it must also fit a segment).
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Payloads from this size on begin at a block of the file, so that a block of payload is a block
/// of the file.
pub const PAYLOAD_ALIGNED_BYTES_MIN: usize = 32 << 10;

/// Payload buffers up to this size are copied beside their header: a copy is cheaper than one more
/// buffer to write.
pub const PAYLOAD_COPIED_BYTES_MAX: usize = 1024;

/// Smallest segment: header, one small batch, footer.
pub const SEGMENT_BYTES_MIN: u64 = 32 << 10;

/// Largest segment: offsets inside are 32 bits in units of [`RECORD_ALIGN_BYTES`].
pub const SEGMENT_BYTES_MAX: u64 = 16 << 30;

/// Highest number that a segment may have: no log comes near, so a file with a higher one is not a
/// log's.
pub const SEGMENT_SEQ_MAX: u64 = u64::MAX >> 1;

/// Default size of a segment.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Payload bytes waiting to be written, by default; further appends wait.
pub const QUEUE_BYTES_DEFAULT: usize = 64 << 20;

/// Records waiting to be written at most; further appends wait.
pub const QUEUE_RECORDS_MAX: usize = 1 << 16;

/// Records of one [`append_batch`](crate::Wal::append_batch) at most.
pub const BATCH_RECORDS_MAX: usize = 1 << 14;

/// One write to the file gathers records until it holds this many bytes.
pub const WRITE_BYTES_MAX: u64 = 8 << 20;

/// While a sync runs, what waits only for the next sync is held back until this much has gathered.
pub const EARLY_WRITE_BYTES: u64 = 1 << 20;

/// Writeback is started each time this much was written.
pub const WRITEBACK_BYTES: u64 = 8 << 20;

/// Less room than this is not worth a call to give it back.
pub const PUNCH_BYTES_MIN: u64 = 64 << 10;

/// What recovery reads at once.
pub const SCAN_READ_BYTES: u64 = 1 << 20;

/// What a look at the headers of a sealed segment reads at once.
pub const CHECK_READ_BYTES: u64 = 32 << 10;

/// How far behind an unreadable place recovery looks for records that prove it was once written.
pub const SCAN_GAP_BYTES: u64 = WRITE_BYTES_MAX + PAYLOAD_BYTES_MAX as u64;

const _: () = assert!(SEGMENT_BYTES_MAX / RECORD_ALIGN_BYTES <= u32::MAX as u64, "offsets fit 32 bits");
const _: () =
    assert!(PAYLOAD_COPIED_BYTES_MAX < PAYLOAD_ALIGNED_BYTES_MIN, "aligned payloads are not copied");
