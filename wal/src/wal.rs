//! The handle on an open log.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use env::Disk;

use crate::config::WalConfig;
use crate::error::{AppendError, Damage, DropError, OpenError, ReadError};
use crate::record::{Durability, Location, Record, RecordHeader};

/// An open log. Clones are the same log; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Wal {}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Records shown to the visitor.
    pub records: u64,
    /// Segments kept.
    pub segments: u64,
    /// Segments that had no footer and were read record by record.
    pub segments_scanned: u64,
    /// Where an unfinished tail was cut off, if there was one: nothing behind it was ever acknowledged as synced.
    pub cut: Option<(u64, u64)>,
    /// Places that once were durable and no longer check out. Their records were not shown.
    pub corrupt: Vec<Corruption>,
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

/// One segment's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentStat {
    /// Sequence number: higher is younger.
    pub seq: u64,
    /// Bytes its records take, the dead ones too.
    pub bytes: u64,
    /// Bytes of records not marked dead.
    pub live_bytes: u64,
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

/// An append that is queued; resolves when its [`Durability`] is reached. Dropping it does not take the records back.
#[must_use = "an append may still fail"]
pub struct Appended {}

impl Future for Appended {
    type Output = Result<Vec<Location>, AppendError>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        unimplemented!()
    }
}

impl Wal {
    /// Opens the log in `dir` (made if absent) and shows each valid record to `visitor`, oldest first. Must be called
    /// within a tokio runtime: the log's writer runs as a task of it.
    ///
    /// Damage to records that were durable is listed in the report and is no error here.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        _disk: Arc<dyn Disk>,
        _dir: &Path,
        _config: WalConfig,
        _visitor: &mut (dyn FnMut(&RecordHeader, Location) + Send),
    ) -> Result<(Self, RecoveryReport), OpenError> {
        unimplemented!()
    }

    /// Queues records: they reach the log in the order of these calls' returns, each call's records together and in
    /// order. Waits only for room in the queue.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was queued then.
    pub async fn enqueue(
        &self,
        _records: Vec<Record>,
        _durability: Durability,
    ) -> Result<Appended, AppendError> {
        unimplemented!()
    }

    /// Appends a record; returns when the operating system has it and it can be read.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, _record: Record) -> Result<Location, AppendError> {
        unimplemented!()
    }

    /// Appends a record; returns when it is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append_durable(&self, _record: Record) -> Result<Location, AppendError> {
        unimplemented!()
    }

    /// Appends records in order. Not atomic: after a crash any prefix may be there.
    ///
    /// # Errors
    /// See [`AppendError`]; a prefix may have been written then.
    pub async fn append_batch(
        &self,
        _records: Vec<Record>,
        _durability: Durability,
    ) -> Result<Vec<Location>, AppendError> {
        unimplemented!()
    }

    /// Returns when everything enqueued before is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn sync(&self) -> Result<(), AppendError> {
        unimplemented!()
    }

    /// Seals the segment that takes records; the next append starts another. Returns when the sealed one is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn roll(&self) -> Result<(), AppendError> {
        unimplemented!()
    }

    /// Reads a part of a record's payload. Every byte returned has been checked.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, _location: Location, _range: Range<u32>) -> Result<Bytes, ReadError> {
        unimplemented!()
    }

    /// Reads a whole record.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_record(&self, _location: Location) -> Result<(RecordHeader, Bytes), ReadError> {
        unimplemented!()
    }

    /// Takes note that a record is not needed any more. Only counts: the record stays readable until its segment is
    /// dropped. Call it once per record.
    pub fn mark_dead(&self, _location: Location) {
        unimplemented!()
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentStat> {
        unimplemented!()
    }

    /// Drops a sealed segment and all records in it. Returns when it cannot come back after a crash.
    ///
    /// # Errors
    /// See [`DropError`].
    pub async fn drop_segment(&self, _seq: u64) -> Result<(), DropError> {
        unimplemented!()
    }

    /// Bytes the log's files take, those kept for reuse too.
    pub fn disk_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// What the log did since it was opened.
    pub fn counters(&self) -> Counters {
        unimplemented!()
    }

    /// Makes everything durable, seals the last segment (so that the next opening reads no records) and stops.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn close(&self) -> Result<(), AppendError> {
        unimplemented!()
    }
}
