//! What a log reports: what opening found, how far it goes, its segments' room, and counters.

use crate::error::Damage;

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Records shown to the visitor.
    pub records: u64,
    /// Segments kept.
    pub segments: u64,
    /// Segments that had no footer and were read record by record.
    pub segments_scanned: u64,
    /// Where an unfinished tail was cut off, if there was one: nothing behind it was ever
    /// acknowledged as synced.
    pub cut: Option<(u64, u64)>,
    /// Places that once were durable and no longer check out. Their records were not shown.
    pub corrupt: Vec<Corruption>,
    /// Places that once were durable and no longer check out, where no record is missing: bad
    /// payload, which reads refuse, and what a segment has twice. Their segments should be emptied.
    /// See [`WalConfig::shows_damaged`](crate::WalConfig::shows_damaged).
    pub partial: Vec<Corruption>,
}

/// A place that was durable and is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corruption {
    /// The segment.
    pub segment: u64,
    /// First damaged byte.
    pub offset: u64,
    /// First byte behind the damage that is good again.
    pub end: u64,
    /// What did not check out.
    pub what: Damage,
}

/// A place behind a log's last record. Later places are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LogEnd {
    /// The segment; 0: there is none.
    pub segment: u64,
    /// Bytes from its start.
    pub offset: u64,
}

/// One segment's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentStat {
    /// Sequence number: higher is younger.
    pub seq: u64,
    /// Bytes its records take, the dead ones too.
    pub bytes: u64,
    /// Bytes of records not marked dead.
    pub live_bytes: u64,
    /// Bytes of its file that hold something: header block, batches with their padding, footer.
    pub filled_bytes: u64,
    /// It takes no more records and is durable.
    pub sealed: bool,
}

/// What the log did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Syncs of a segment with the device.
    pub flushes: u64,
    /// Records appended.
    pub records: u64,
    /// Payload bytes appended.
    pub payload_bytes: u64,
    /// Bytes written to files, with headers and padding.
    pub written_bytes: u64,
    /// Writes to files that carried records.
    pub batches: u64,
    /// Reads that found damage.
    pub corrupt_reads: u64,
}
