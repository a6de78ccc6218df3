//! What the log's user chooses.

use crate::limits::{
    BLOCK_BYTES, QUEUE_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    SEGMENT_SEQ_MAX,
};

/// Settings of one log. The segment size may differ from one opening to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalConfig {
    /// Whose log this is; a directory written with another id is refused.
    pub store_id: [u8; 16],
    /// Size of new segments: a multiple of 4 KiB within the limits.
    pub segment_bytes: u64,
    /// Dropped segments kept for reuse. Above 0, new segments are also filled with zeros once, so
    /// that a flush never changes file system metadata: for small, frequent, durable records. With
    /// 0 they are only allocated.
    pub recycle_max: usize,
    /// Shows records of which only the payload is bad, and takes a segment whose header block or
    /// footer is bad as it is, if all its records are there: such places are listed as `partial`,
    /// not as `corrupt`. Only where no segment is kept for reuse.
    pub shows_damaged: bool,
    /// Once a record of a stream found no room, no later one of that stream is taken until the log
    /// is opened again: what is on disk of a stream is the beginning of what was appended to it.
    /// For streams in which a record means nothing without those before it. What is appended aside
    /// does not count ([`Wal::enqueue_aside`](crate::Wal::enqueue_aside)).
    pub keeps_order: bool,
    /// Payload bytes that may wait to be written.
    pub queue_bytes_max: usize,
    /// No new segment gets a lower number, whatever is found: of a log whose youngest segments were
    /// dropped nothing else tells how far it went.
    pub number_min: u64,
}

impl WalConfig {
    /// The defaults: large segments, nothing kept for reuse.
    pub fn new(store_id: [u8; 16]) -> Self {
        Self {
            store_id,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            recycle_max: 0,
            shows_damaged: false,
            keeps_order: false,
            queue_bytes_max: QUEUE_BYTES_DEFAULT,
            number_min: 1,
        }
    }

    /// Whether every setting is within its limits.
    pub fn is_valid(&self) -> bool {
        (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes)
            && self.segment_bytes.is_multiple_of(BLOCK_BYTES)
            && self.number_min <= SEGMENT_SEQ_MAX
            && (1..=u32::MAX as usize).contains(&self.queue_bytes_max)
            && !(self.shows_damaged && 0 < self.recycle_max)
    }
}
