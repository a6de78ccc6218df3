//! What the handle, the writer and the readers of one log share: the segment table and the
//! counters.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use env::File;

use crate::config::WalConfig;
use crate::files::Files;
use crate::format::record::Span;
use crate::limits::PUNCH_BYTES_MIN;
use crate::queue::Queue;
use crate::record::Location;
use crate::report::{Counters, LogEnd, SegmentStat};

/// The shared part of a log.
pub(crate) struct Shared {
    pub(crate) config: WalConfig,
    pub(crate) files: Files,
    pub(crate) queue: Queue,
    pub(crate) tally: Tally,
    segments: Mutex<BTreeMap<u64, Arc<Segment>>>,
    durable: Mutex<LogEnd>,
}

/// One segment of the table.
pub(crate) struct Segment {
    pub(crate) seq: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) file_bytes: u64,
    used_bytes: AtomicU64,
    live_bytes: AtomicU64,
    filled_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    sealed: AtomicBool,
    named: AtomicBool,
}

impl Segment {
    pub(crate) fn new(seq: u64, file: Arc<dyn File>, file_bytes: u64, is_named: bool) -> Self {
        Self {
            seq,
            file,
            file_bytes,
            used_bytes: AtomicU64::new(0),
            live_bytes: AtomicU64::new(0),
            filled_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(file_bytes),
            sealed: AtomicBool::new(false),
            named: AtomicBool::new(is_named),
        }
    }

    /// Takes note that the file's name is durable.
    pub(crate) fn mark_named(&self) {
        self.named.store(true, Ordering::Release);
    }

    pub(crate) fn is_named(&self) -> bool {
        self.named.load(Ordering::Acquire)
    }

    /// Counts a record that lies here from now on.
    pub(crate) fn add_record(&self, span: &Span) {
        self.used_bytes.fetch_add(span.bytes(), Ordering::Relaxed);
        self.live_bytes.fetch_add(span.bytes(), Ordering::Relaxed);
    }

    /// Takes note of how much of the file holds something.
    pub(crate) fn fill(&self, filled_bytes: u64) {
        self.filled_bytes.store(filled_bytes, Ordering::Relaxed);
    }

    /// Room that holds nothing.
    pub(crate) fn gap_bytes(&self) -> u64 {
        let (stored, filled) = (&self.stored_bytes, &self.filled_bytes);
        stored.load(Ordering::Relaxed).saturating_sub(filled.load(Ordering::Relaxed))
    }

    /// Room behind the file's end.
    pub(crate) fn behind_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed).saturating_sub(self.file_bytes)
    }

    /// Takes note that the file has all its room.
    pub(crate) fn note_whole(&self) {
        self.stored_bytes.store(self.file_bytes, Ordering::Relaxed);
    }

    /// Gives back the file's room from `start` to `end`, if that is worth a call.
    pub(crate) async fn give_back(&self, start: u64, end: u64) -> io::Result<()> {
        if PUNCH_BYTES_MIN <= end.saturating_sub(start) {
            // Only room is at stake, and not every file system can.
            let _ = self.file.punch(start, end - start).await;
        }
        self.note_room().await
    }

    /// Asks the system how much room the file takes.
    pub(crate) async fn note_room(&self) -> io::Result<()> {
        self.stored_bytes.store(self.file.stored_bytes().await?, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn mark_sealed(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    fn stat(&self) -> SegmentStat {
        SegmentStat {
            seq: self.seq,
            bytes: self.used_bytes.load(Ordering::Relaxed),
            live_bytes: self.live_bytes.load(Ordering::Relaxed),
            filled_bytes: self.filled_bytes.load(Ordering::Relaxed),
            sealed: self.is_sealed(),
        }
    }
}

impl Shared {
    pub(crate) fn new(
        config: WalConfig,
        files: Files,
        segments: BTreeMap<u64, Arc<Segment>>,
        end: LogEnd,
    ) -> Self {
        let queue = Queue::new(config.queue_bytes_max);
        let (segments, durable) = (Mutex::new(segments), Mutex::new(end));
        Self { config, files, queue, tally: Tally::default(), segments, durable }
    }

    /// All before this place is on stable storage.
    pub(crate) fn note_durable(&self, end: LogEnd) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        *durable = (*durable).max(end);
    }

    pub(crate) fn durable(&self) -> LogEnd {
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        // Inserting and removing either happens or does not: a panic elsewhere leaves the table
        // whole.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segment(&self, seq: u64) -> Option<Arc<Segment>> {
        self.table().get(&seq).cloned()
    }

    pub(crate) fn insert_segment(&self, segment: Arc<Segment>) {
        let old = self.table().insert(segment.seq, segment);
        assert!(old.is_none(), "sequence numbers are used once");
    }

    pub(crate) fn remove_segment(&self, seq: u64) -> Option<Arc<Segment>> {
        self.table().remove(&seq)
    }

    pub(crate) fn mark_dead(&self, location: Location) {
        if let Some(segment) = self.segment(location.segment) {
            let bytes = Span::of(location.offset, location.payload_len).bytes();
            // A record counted dead twice must not make others seem dead.
            let update = |live: u64| -> Option<u64> { Some(live.saturating_sub(bytes)) };
            let _ = segment.live_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        }
    }

    pub(crate) fn stats(&self) -> Vec<SegmentStat> {
        self.table().values().map(|segment| segment.stat()).collect()
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        let segments: u64 =
            self.table().values().map(|segment| segment.stored_bytes.load(Ordering::Relaxed)).sum();
        segments + self.files.spare_bytes()
    }
}

/// Counters behind [`Counters`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) flushes: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) payload_bytes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) corrupt_reads: AtomicU64,
}

impl Tally {
    pub(crate) fn snapshot(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            flushes: read(&self.flushes),
            records: read(&self.records),
            payload_bytes: read(&self.payload_bytes),
            written_bytes: read(&self.written_bytes),
            batches: read(&self.batches),
            corrupt_reads: read(&self.corrupt_reads),
        }
    }
}

/// Adds to a counter that nothing is ordered by.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
