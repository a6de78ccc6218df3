//! What can go wrong, one enum per act.

use std::io;
use std::sync::Arc;

/// Why an append or a sync did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A record, or a batch's count, is over the limit: the caller's fault.
    #[error("{size} is more than the log takes at once ({size_max})")]
    TooLarge {
        /// Bytes of payload, or records of the batch.
        size: u64,
        /// The limit.
        size_max: u64,
    },
    /// The disk has no room for another segment. Appends work again once there is.
    #[error("no room for another log segment")]
    NoSpace,
    /// A write or a sync failed, now or earlier. The log takes nothing more until it is opened
    /// again.
    #[error("the log failed: {0}")]
    Failed(Arc<io::Error>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// Why a read gave no bytes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The segment was dropped, or never was: the caller's location is stale.
    #[error("no segment {segment}")]
    NoSegment {
        /// What was asked for.
        segment: u64,
    },
    /// The range is not inside the payload: the caller's fault.
    #[error("the range ends at {end} in a payload of {payload_len} bytes")]
    Range {
        /// End of the range asked for.
        end: u32,
        /// Length of the payload.
        payload_len: u32,
    },
    /// What lies there is not what was written: the disk's fault.
    #[error("bad {what} in segment {segment} at {offset}")]
    Corrupt {
        /// The segment.
        segment: u64,
        /// Where in it, in bytes.
        offset: u64,
        /// What did not check out.
        what: Damage,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Which part of the log does not check out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A segment's first block.
    SegmentHeader,
    /// The end of a segment, which repeats the headers of its records.
    Footer,
    /// A record's header: wrong checksum, or another record than asked for.
    RecordHeader,
    /// The table of payload checksums.
    Table,
    /// Payload bytes.
    Payload,
    /// Records that must be there are not.
    Missing,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::SegmentHeader => "segment header",
            Self::Footer => "footer",
            Self::RecordHeader => "record header",
            Self::Table => "checksum table",
            Self::Payload => "payload",
            Self::Missing => "end: records are missing",
        })
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is out of its limits.
    #[error("the log's settings are out of their limits")]
    Config,
    /// The directory holds another store's log.
    #[error("segment {segment} belongs to another store")]
    ForeignStore {
        /// The segment that says so.
        segment: u64,
    },
    /// Written by a later version of this program.
    #[error("segment {segment} has format version {version}")]
    Version {
        /// The segment that says so.
        segment: u64,
        /// Its version.
        version: u16,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a segment was not dropped.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// There is no such segment.
    #[error("no segment {segment}")]
    NoSegment {
        /// What was asked for.
        segment: u64,
    },
    /// The segment still takes records, or is not durable yet.
    #[error("segment {segment} is not sealed")]
    NotSealed {
        /// What was asked for.
        segment: u64,
    },
    /// The disk refused. The segment is out of the log, and may be back after a restart.
    #[error(transparent)]
    Io(#[from] io::Error),
}
