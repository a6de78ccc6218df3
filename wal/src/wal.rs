//! The handle on an open log.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use env::Disk;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::check;
use crate::config::WalConfig;
use crate::driver::Writer;
use crate::error::{AppendError, DropError, OpenError, ReadError};
use crate::files::Files;
use crate::format::footer::footer_bytes;
use crate::limits::{BATCH_RECORDS_MAX, BLOCK_BYTES, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES};
use crate::queue::{Item, Summed, Want};
use crate::read;
use crate::record::{Durability, Location, Record, RecordHeader};
use crate::recovery::recover;
use crate::report::{Corruption, Counters, LogEnd, RecoveryReport, SegmentStat};
use crate::shared::Shared;

/// An open log. Clones are the same log. When the last one is dropped, what is queued is still
/// written; use [`close`](Self::close) to know that it was.
#[derive(Clone)]
pub struct Wal {
    handle: Arc<Handle>,
}

/// Ends the queue with the last handle; the writer then finishes what is queued and stops.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.end(AppendError::Closed);
    }
}

/// An append that is queued; resolves when its [`Durability`] is reached. Dropping it does not take
/// the records back.
#[must_use = "an append may still fail"]
pub struct Appended {
    reply: oneshot::Receiver<Result<Vec<Location>, AppendError>>,
}

impl Future for Appended {
    type Output = Result<Vec<Location>, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The writer answers every item it takes; only a runtime that is shut down drops them.
        Pin::new(&mut self.reply).poll(context).map(|reply| reply.unwrap_or(Err(AppendError::Closed)))
    }
}

impl Wal {
    /// Opens the log in `dir` (made if absent) and shows each valid record to `visitor`, oldest
    /// first. Must be called within a tokio runtime: the log's writer runs as a task of it.
    ///
    /// Damage to records that were durable is listed in the report and is no error here.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: WalConfig,
        visitor: &mut (dyn FnMut(&RecordHeader, Location) + Send),
    ) -> Result<(Self, RecoveryReport), OpenError> {
        if !config.is_valid() {
            return Err(OpenError::Config);
        }
        let files = Files::new(disk, dir, &config);
        let recovered = recover(&files, &config, visitor).await?;
        let report = recovered.report;
        let RecoveryReport { cut, corrupt, partial, .. } = &report;
        if cut.is_some() || !corrupt.is_empty() || !partial.is_empty() {
            tracing::warn!(dir = %dir.display(), ?cut, ?corrupt, ?partial, "log recovered");
        }
        let (segment, end_blocks) = recovered.previous;
        let end = LogEnd { segment, offset: u64::from(end_blocks) * BLOCK_BYTES };
        let shared = Arc::new(Shared::new(config, files, recovered.segments, end));
        tokio::spawn(Writer::new(Arc::clone(&shared), recovered.previous).run());
        Ok((Self { handle: Arc::new(Handle { shared }) }, report))
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Queues records: they reach the log in the order of these calls' returns, each call's records
    /// together and in order. Waits only for room in the queue.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was queued then.
    pub async fn enqueue(
        &self,
        records: Vec<Record>,
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        self.enqueue_as(false, records, durability).await
    }

    /// As [`enqueue`](Self::enqueue), of records without which those behind them mean the same:
    /// with [`keeps_order`](WalConfig::keeps_order) too, others of their streams may follow if
    /// there is no room for these.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was queued then.
    pub async fn enqueue_aside(
        &self,
        records: Vec<Record>,
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        self.enqueue_as(true, records, durability).await
    }

    async fn enqueue_as(
        &self,
        is_aside: bool,
        records: Vec<Record>,
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        let want = match durability {
            Durability::Written => Want::Written,
            Durability::Synced => Want::Synced,
        };
        let payload_bytes = self.check_sizes(&records)?;
        let room = self.shared().queue.reserve(records.len(), payload_bytes).await?;
        let summed = records.into_iter().map(|record| {
            let payload_len = u32::try_from(payload_len(&record)).expect("checked above");
            Summed::new(record, payload_len)
        });
        self.push(summed.collect(), want, is_aside, payload_bytes, Some(room))
    }

    /// The payload bytes of records that are each small enough.
    fn check_sizes(&self, records: &[Record]) -> Result<u64, AppendError> {
        if BATCH_RECORDS_MAX < records.len() {
            let (size, size_max) = (records.len() as u64, BATCH_RECORDS_MAX as u64);
            return Err(AppendError::TooLarge { size, size_max });
        }
        let size_max = self.payload_bytes_max();
        let mut sum = 0;
        for size in records.iter().map(payload_len) {
            if size_max < size {
                return Err(AppendError::TooLarge { size, size_max });
            }
            sum += size;
        }
        Ok(sum)
    }

    /// The largest payload that one record may have.
    ///
    /// # Units
    /// Bytes.
    pub fn payload_bytes_max(&self) -> u64 {
        let batches = self.shared().config.segment_bytes - BLOCK_BYTES - footer_bytes(1);
        let table = 4 * batches.min(PAYLOAD_BYTES_MAX as u64).div_ceil(BLOCK_BYTES);
        let head = (RECORD_HEADER_BYTES as u64 + table).next_multiple_of(BLOCK_BYTES);
        (PAYLOAD_BYTES_MAX as u64).min(batches - head)
    }

    fn push(
        &self,
        records: VecDeque<Summed>,
        want: Want,
        is_aside: bool,
        payload_bytes: u64,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Appended, AppendError> {
        let (sender, reply) = oneshot::channel();
        let locations = Vec::with_capacity(records.len());
        let item = Item { records, want, locations, reply: sender, payload_bytes, is_aside, room };
        self.shared().queue.push(item)?;
        Ok(Appended { reply })
    }

    async fn append_one(&self, record: Record, durability: Durability) -> Result<Location, AppendError> {
        let locations = self.enqueue(vec![record], durability).await?.await?;
        assert!(locations.len() == 1);
        Ok(locations[0])
    }

    /// Appends a record; returns when the operating system has it and it can be read.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, record: Record) -> Result<Location, AppendError> {
        self.append_one(record, Durability::Written).await
    }

    /// Appends a record; returns when it is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append_durable(&self, record: Record) -> Result<Location, AppendError> {
        self.append_one(record, Durability::Synced).await
    }

    /// Appends records in order. Not atomic: after a crash any prefix may be there.
    ///
    /// # Errors
    /// See [`AppendError`]; a prefix may have been written then.
    pub async fn append_batch(
        &self,
        records: Vec<Record>,
        durability: Durability,
    ) -> Result<Vec<Location>, AppendError> {
        self.enqueue(records, durability).await?.await
    }

    /// Returns when everything enqueued before is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn sync(&self) -> Result<(), AppendError> {
        self.push(VecDeque::new(), Want::Synced, false, 0, None)?.await.map(|_| ())
    }

    /// Seals the segment that takes records; the next append starts another. Returns when the
    /// sealed one is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn roll(&self) -> Result<(), AppendError> {
        self.push(VecDeque::new(), Want::Rolled, false, 0, None)?.await.map(|_| ())
    }

    /// Gives back room that was made ready for what comes next: the file of the next segment, and
    /// the end of the one that takes records. What is appended next takes room again, before it is
    /// written. Does nothing if an append waits, or if segments are kept for reuse.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn trim(&self) -> Result<(), AppendError> {
        self.push(VecDeque::new(), Want::Trimmed, false, 0, None)?.await.map(|_| ())
    }

    /// Reads a part of a record's payload. Every byte returned has been checked.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, location: Location, range: Range<u32>) -> Result<Bytes, ReadError> {
        read::read(self.shared(), location, range).await.map(|(_, bytes)| bytes)
    }

    /// Reads a whole record.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_record(&self, location: Location) -> Result<(RecordHeader, Bytes), ReadError> {
        read::read(self.shared(), location, 0..location.payload_len).await
    }

    /// Takes note that a record is not needed any more. Only counts: the record stays readable
    /// until its segment is dropped. Call it once per record.
    pub fn mark_dead(&self, location: Location) {
        self.shared().mark_dead(location);
    }

    /// Compares what surrounds the payloads of a sealed segment with what it should be: its header
    /// block, its footer, and the header of each record with that in the footer. Tells what is bad,
    /// and how many bytes were read. Nothing is wrong with a segment that is gone, or that still
    /// takes records.
    ///
    /// # Errors
    /// The disk's.
    pub async fn check_segment(&self, seq: u64) -> io::Result<(Vec<Corruption>, u64)> {
        let Some(segment) = self.shared().segment(seq).filter(|segment| segment.is_sealed()) else {
            return Ok((Vec::new(), 0));
        };
        let checked = check::segment(&segment, &self.shared().config).await;
        if self.shared().segment(seq).is_none() { Ok((Vec::new(), 0)) } else { checked }
    }

    /// How far the log is surely on stable storage. It only grows while the log is open, and is as
    /// far at the next opening, whatever crash comes before; further, if more of it happens to be
    /// there.
    #[must_use]
    pub fn durable_end(&self) -> LogEnd {
        self.shared().durable()
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentStat> {
        self.shared().stats()
    }

    /// Drops a sealed segment and all records in it. Returns when it cannot come back after a
    /// crash.
    ///
    /// # Errors
    /// See [`DropError`].
    pub async fn drop_segment(&self, seq: u64) -> Result<(), DropError> {
        let shared = self.shared();
        match shared.segment(seq) {
            None => return Err(DropError::NoSegment { segment: seq }),
            Some(segment) if !segment.is_sealed() => return Err(DropError::NotSealed { segment: seq }),
            Some(_) => {}
        }
        let Some(segment) = shared.remove_segment(seq) else {
            return Err(DropError::NoSegment { segment: seq });
        };
        Ok(shared.files.retire(seq, segment.file_bytes).await?)
    }

    /// The error of a write or sync after which the log takes nothing more.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<io::Error>> {
        self.shared().queue.failure()
    }

    /// Bytes the log's files take of the disk, those kept for reuse or made ready too.
    pub fn disk_bytes(&self) -> u64 {
        self.shared().disk_bytes()
    }

    /// What the log did since it was opened.
    pub fn counters(&self) -> Counters {
        self.shared().tally.snapshot()
    }

    /// Makes everything durable, seals the last segment (so that the next opening reads no records)
    /// and stops.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn close(&self) -> Result<(), AppendError> {
        let rolled = self.push(VecDeque::new(), Want::Rolled, false, 0, None)?;
        self.shared().queue.end(AppendError::Closed);
        rolled.await.map(|_| ())
    }
}

fn payload_len(record: &Record) -> u64 {
    record.payload.iter().map(|buffer| buffer.len() as u64).sum()
}
