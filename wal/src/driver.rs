//! The writer: the one task that writes to the log. Group commit happens here.
//!
//! It has at most one write and one sync under way, beside each other. Whatever is queued when a
//! write can start goes into it; while a sync runs, what would only wait for the next sync is held
//! back, so that one flush serves all.
//!
//! INVARIANT: a waiter is told "synced" only after a sync that started when its bytes, and all
//! earlier ones, were written.
//! INVARIANT: with `keeps_order`, no record is written of a stream of which an earlier one was
//! refused.
//! INVARIANT: a footer is written only after its segment and all older ones were synced.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use env::BoxFuture;
use tokio::task::JoinHandle;

use crate::batch::{Batch, Place};
use crate::error::AppendError;
use crate::files::Ready;
use crate::format::footer::footer_bytes;
use crate::format::header::SegmentHeader;
use crate::limits::{BLOCK_BYTES, EARLY_WRITE_BYTES, RECORD_HEADER_BYTES, WRITE_BYTES_MAX, WRITEBACK_BYTES};
use crate::queue::{Item, Want};
use crate::report::LogEnd;
use crate::sealing::{Sealing, sync_all};
use crate::shared::{Segment, Shared, count};

/// The writer's state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// Taken from the queue, oldest first.
    pending: VecDeque<Item>,
    /// Streams of which a record found no room; only with `keeps_order`.
    ended_streams: BTreeSet<u64>,
    /// Written, waiting for a sync.
    unsynced: Vec<Item>,
    active: Option<Active>,
    /// Full segments that are not durable yet, oldest first.
    sealing: Vec<Sealing>,
    /// The last segment before the active one, and its end in blocks.
    previous: (u64, u32),
    spare: Option<JoinHandle<io::Result<Ready>>>,
    write: Option<Write>,
    sync: Option<Sync>,
    /// Room on its way; nothing is written meanwhile.
    room: Option<BoxFuture<'static, io::Result<Room>>>,
}

/// The segment that takes records.
struct Active {
    segment: Arc<Segment>,
    /// Where the next batch goes.
    next: u64,
    /// All before it is with the operating system.
    written: u64,
    /// All before it is on stable storage.
    durable: u64,
    /// Writeback of all before it was started.
    writeback: u64,
    entries: Vec<u8>,
    /// The header block, until it is written with the first batch.
    header: Option<Bytes>,
    /// The room behind `next` was given back, and is to be taken again before anything is written
    /// there: a write that found none would end the log.
    trimmed: bool,
}

/// What became of the room that was asked for.
enum Room {
    /// There is a file for the next segment.
    Segment(Ready),
    /// The active segment has all its room again.
    Tail,
    /// Given back, as this item wished.
    Trimmed(Item),
}

struct Write {
    done: BoxFuture<'static, io::Result<()>>,
    items: Vec<Item>,
    segment: u64,
    end: u64,
}

struct Sync {
    done: BoxFuture<'static, io::Result<()>>,
    items: Vec<Item>,
    /// How many of `sealing` it covers.
    sealed: usize,
    /// The active segment when it started, and how far it was written.
    active: Option<(u64, u64)>,
}

enum Event {
    Arrived,
    Written(io::Result<()>),
    Synced(io::Result<()>),
    Roomed(io::Result<Room>),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, previous: (u64, u32)) -> Self {
        Self {
            shared,
            pending: VecDeque::new(),
            ended_streams: BTreeSet::new(),
            unsynced: Vec::new(),
            active: None,
            sealing: Vec::new(),
            previous,
            spare: None,
            write: None,
            sync: None,
            room: None,
        }
    }

    /// Runs until the queue has ended and is empty, or something failed.
    pub(crate) async fn run(mut self) {
        self.make_spare();
        loop {
            self.start_write();
            self.start_sync();
            if self.is_over() {
                break;
            }
            let outcome = match self.next_event().await {
                Event::Arrived => Ok(()),
                Event::Written(result) => result.map(|()| self.on_written()),
                Event::Synced(result) => result.map(|()| self.on_synced()),
                Event::Roomed(result) => self.on_room(result),
            };
            if let Err(error) = outcome {
                self.fail(AppendError::Failed(Arc::new(error)));
                break;
            }
        }
        // A file made ready but not used is found and put away by the next opening.
        if let Some(spare) = self.spare {
            spare.abort();
        }
    }

    fn is_over(&self) -> bool {
        let idle = self.write.is_none() && self.sync.is_none() && self.room.is_none();
        idle && self.pending.is_empty() && self.shared.queue.is_over()
    }

    async fn next_event(&mut self) -> Event {
        let (write, sync, room) = (&mut self.write, &mut self.sync, &mut self.room);
        tokio::select! {
            biased;
            result = async { (&mut write.as_mut().expect("guarded").done).await }, if write.is_some() => {
                Event::Written(result)
            }
            result = async { (&mut sync.as_mut().expect("guarded").done).await }, if sync.is_some() => {
                Event::Synced(result)
            }
            result = async { room.as_mut().expect("guarded").await }, if room.is_some() => {
                Event::Roomed(result)
            }
            () = self.shared.queue.arrived() => Event::Arrived,
        }
    }

    /// Fails everybody, for good.
    fn fail(&mut self, why: AppendError) {
        self.shared.queue.end(why.clone());
        self.shared.queue.take(&mut self.pending);
        let flights = self.write.take().map(|write| write.items).into_iter();
        let flights = flights.chain(self.sync.take().map(|sync| sync.items));
        for item in flights.flatten().chain(self.unsynced.drain(..)).chain(self.pending.drain(..)) {
            item.resolve(Err(why.clone()));
        }
    }

    /// Whether to write now although a sync is running and the next one has to wait for it anyway.
    fn is_early_write_due(&self) -> bool {
        let mut bytes = 0;
        self.pending.iter().any(|item| {
            bytes += item.payload_bytes;
            item.want == Want::Written || EARLY_WRITE_BYTES <= bytes
        })
    }

    /// Takes what was queued, but for records of streams that have ended.
    fn take_queued(&mut self) {
        let old = self.pending.len();
        self.shared.queue.take(&mut self.pending);
        if !self.ended_streams.is_empty() {
            for item in self.pending.split_off(old) {
                if item.records.iter().any(|record| self.ended_streams.contains(&record.header.stream)) {
                    self.refuse(item);
                } else {
                    self.pending.push_back(item);
                }
            }
        }
    }

    fn start_write(&mut self) {
        self.take_queued();
        while self.write.is_none() && self.room.is_none() {
            if self.pending.is_empty() || (self.sync.is_some() && !self.is_early_write_due()) {
                return;
            }
            self.take_control_items();
            let Some(front) = self.pending.front().and_then(|item| item.records.front()) else { return };
            let payload_len = front.header.payload_len;
            let Some(active) = &self.active else { return self.start_roll() };
            if active.trimmed {
                return self.start_regrow();
            }
            let batch = Batch::new(active.place(self.sealing.is_empty()));
            if batch.fits(payload_len) {
                self.write_batch(batch);
            } else {
                self.seal_active();
            }
        }
    }

    /// Takes what has no records from the front; everything before is written.
    fn take_control_items(&mut self) {
        while self.room.is_none() && self.pending.front().is_some_and(|item| item.records.is_empty()) {
            let Some(item) = self.pending.pop_front() else { return };
            match item.want {
                Want::Trimmed => self.start_trim(item),
                Want::Rolled => {
                    self.seal_active();
                    self.unsynced.push(item);
                }
                Want::Written | Want::Synced => self.unsynced.push(item),
            }
        }
    }

    /// Puts what fits into `batch` and starts writing it, with a sync in the same go where that
    /// serves everyone.
    fn write_batch(&mut self, mut batch: Batch) {
        let Some(active) = &mut self.active else { return };
        let mut items = Vec::new();
        let mut records = 0;
        while let Some(mut item) = self.pending.pop_front() {
            while let Some(record) = item.records.pop_front_if(|record| {
                batch.bytes() < WRITE_BYTES_MAX && batch.fits(record.header.payload_len)
            }) {
                count(&self.shared.tally.payload_bytes, u64::from(record.header.payload_len));
                let (location, span) = batch.push(record);
                active.segment.add_record(&span);
                item.locations.push(location);
                records += 1;
            }
            // A roll ends the batch: it seals what is written before it.
            if !item.records.is_empty() || matches!(item.want, Want::Rolled | Want::Trimmed) {
                self.pending.push_front(item);
                break;
            }
            items.push(item);
        }
        assert!(0 < records, "the caller saw that the first record fits");
        count(&self.shared.tally.records, records);
        self.launch(batch, items);
    }

    fn launch(&mut self, batch: Batch, items: Vec<Item>) {
        let Some(active) = &mut self.active else { return };
        let laid = batch.finish();
        let (mut data, mut offset) = (laid.data, active.next);
        if let Some(header) = active.header.take() {
            data.insert(0, header);
            offset = 0;
        }
        let tally = &self.shared.tally;
        count(&tally.batches, 1);
        count(&tally.written_bytes, laid.end - offset);
        active.entries.extend_from_slice(&laid.entries);
        active.next = laid.end;
        active.segment.fill(laid.end);
        let (file, segment) = (&active.segment.file, active.segment.seq);
        let all_want_sync = items.iter().all(|item| item.want == Want::Synced) && !items.is_empty();
        let nothing_else = self.pending.is_empty() && self.sealing.is_empty() && active.segment.is_named();
        if all_want_sync && nothing_else && self.sync.is_none() {
            count(&tally.flushes, 1);
            let done = file.write_at_and_sync(data, offset);
            let items = self.unsynced.drain(..).chain(items).collect();
            self.sync = Some(Sync { done, items, sealed: 0, active: Some((segment, laid.end)) });
        } else {
            let done = file.write_at(data, offset);
            self.write = Some(Write { done, items, segment, end: laid.end });
        }
    }

    fn on_written(&mut self) {
        let Some(write) = self.write.take() else { return };
        for mut item in write.items {
            item.room = None;
            match item.want {
                Want::Written => item.resolve(Ok(())),
                Want::Synced | Want::Rolled | Want::Trimmed => self.unsynced.push(item),
            }
        }
        self.note_written(write.segment, write.end);
    }

    fn note_written(&mut self, segment: u64, end: u64) {
        let Some(active) = self.active.as_mut().filter(|active| active.segment.seq == segment) else {
            return;
        };
        active.written = active.written.max(end);
        if WRITEBACK_BYTES <= active.written - active.writeback.max(active.durable) {
            let from = active.writeback.max(active.durable);
            active.writeback = active.written;
            // Best effort: it is not waited for.
            drop(tokio::spawn(active.segment.file.start_writeback(from, active.written - from)));
        }
        if active.segment.file_bytes / 4 < active.written {
            self.make_spare();
        }
    }

    fn start_sync(&mut self) {
        let due = !self.unsynced.is_empty() || !self.sealing.is_empty();
        // A write in flight to a segment being sealed cannot be: sealing waits for the write.
        if self.sync.is_some() || !due {
            return;
        }
        let behind = self.active.as_ref().filter(|active| active.durable < active.written);
        let active = behind.map(|active| (active.segment.seq, active.written));
        let segment = behind.map(|active| Arc::clone(&active.segment));
        let done = Box::pin(sync_all(Arc::clone(&self.shared), self.sealing.clone(), segment));
        let items = std::mem::take(&mut self.unsynced);
        self.sync = Some(Sync { done, items, sealed: self.sealing.len(), active });
    }

    fn on_synced(&mut self) {
        let Some(sync) = self.sync.take() else { return };
        for sealing in self.sealing.drain(..sync.sealed) {
            sealing.segment.mark_sealed();
            self.shared.note_durable(LogEnd { segment: sealing.segment.seq, offset: sealing.end });
        }
        if let Some((segment, end)) = sync.active {
            self.shared.note_durable(LogEnd { segment, offset: end });
            self.note_written(segment, end);
            if let Some(active) = self.active.as_mut().filter(|active| active.segment.seq == segment) {
                active.durable = active.durable.max(end);
            }
        }
        for item in sync.items {
            item.resolve(Ok(()));
        }
    }

    /// Ends the active segment. Nothing is being written to it but, perhaps, a batch with its own
    /// sync.
    fn seal_active(&mut self) {
        assert!(self.write.is_none());
        if self.active.as_ref().is_none_or(|active| active.entries.is_empty()) {
            return;
        }
        let Some(active) = self.active.take() else { return };
        let end_blocks = u32::try_from(active.next / BLOCK_BYTES).expect("inside a segment");
        self.previous = (active.segment.seq, end_blocks);
        self.sealing.push(Sealing {
            segment: active.segment,
            entries: active.entries.into(),
            end: active.next,
        });
    }

    /// Makes the next segment's file ahead of need.
    fn make_spare(&mut self) {
        if self.spare.is_none() {
            let files = self.shared.files.clone();
            self.spare = Some(tokio::spawn(async move { files.make_ready().await }));
        }
    }

    fn start_roll(&mut self) {
        let files = self.shared.files.clone();
        let spare = self.spare.take();
        self.room = Some(Box::pin(async move {
            // A file made ahead may have failed for want of room that is there by now: try once
            // more.
            if let Some(spare) = spare
                && let Ok(Ok(ready)) = spare.await
            {
                return Ok(Room::Segment(ready));
            }
            files.make_ready().await.map(Room::Segment)
        }));
    }

    /// Takes the room of the active segment's end again.
    fn start_regrow(&mut self) {
        let Some(active) = &self.active else { return };
        let (segment, next) = (Arc::clone(&active.segment), active.next);
        self.room = Some(Box::pin(async move {
            segment.file.allocate(next, segment.file_bytes - next).await?;
            segment.note_whole();
            Ok(Room::Tail)
        }));
    }

    /// Gives back what was made ready, if it is not needed now.
    fn start_trim(&mut self, item: Item) {
        let is_needed = self.pending.iter().any(|item| !item.records.is_empty());
        if is_needed || 0 < self.shared.config.recycle_max {
            return item.resolve(Ok(()));
        }
        let files = self.shared.files.clone();
        let spare = self.spare.take();
        let tail = self.active.as_mut().map(|active| {
            active.trimmed = true;
            // Its footer's room stays: sealing needs none.
            let footer = footer_bytes((active.entries.len() / RECORD_HEADER_BYTES) as u64);
            (Arc::clone(&active.segment), active.next, active.segment.file_bytes - footer)
        });
        self.room = Some(Box::pin(async move {
            if let Some(spare) = spare
                && let Ok(Ok(ready)) = spare.await
            {
                // Left over, it still counts, and the next opening removes it.
                let _ = files.discard(ready).await;
            }
            if let Some((segment, start, end)) = tail {
                segment.give_back(start, end).await?;
            }
            Ok(Room::Trimmed(item))
        }));
    }

    fn on_room(&mut self, result: io::Result<Room>) -> io::Result<()> {
        self.room = None;
        match result {
            Ok(Room::Segment(ready)) => {
                self.shared.files.used_ready();
                self.activate(ready);
            }
            Ok(Room::Tail) => {
                if let Some(active) = &mut self.active {
                    active.trimmed = false;
                }
            }
            Ok(Room::Trimmed(item)) => item.resolve(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.fail_for_want_of_room(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Fails those whose records wait; nothing of what was written is in doubt.
    fn fail_for_want_of_room(&mut self) {
        for item in std::mem::take(&mut self.pending) {
            if item.records.is_empty() {
                self.pending.push_back(item);
                continue;
            }
            // What of a batch was written already belongs to no record.
            for location in &item.locations {
                self.shared.mark_dead(*location);
            }
            self.refuse(item);
        }
    }

    /// Says that there is no room. Of all its streams nothing more is taken if order is to be kept:
    /// the next one might find some. What is aside leaves no hole.
    fn refuse(&mut self, item: Item) {
        if self.shared.config.keeps_order && !item.is_aside {
            self.ended_streams.extend(item.records.iter().map(|record| record.header.stream));
        }
        item.resolve(Err(AppendError::NoSpace));
    }

    fn activate(&mut self, ready: Ready) {
        let config = &self.shared.config;
        let header = SegmentHeader {
            store_id: config.store_id,
            seq: ready.seq,
            segment_bytes: config.segment_bytes,
            previous_seq: self.previous.0,
            previous_end_blocks: self.previous.1,
        };
        let segment = Arc::new(Segment::new(ready.seq, ready.file, config.segment_bytes, ready.is_named));
        self.shared.insert_segment(Arc::clone(&segment));
        self.active = Some(Active {
            segment,
            next: BLOCK_BYTES,
            written: 0,
            durable: 0,
            writeback: 0,
            entries: Vec::new(),
            header: Some(header.encode().into()),
            trimmed: false,
        });
    }
}

impl Active {
    fn place(&self, earlier_durable: bool) -> Place {
        Place {
            segment: self.segment.seq,
            segment_bytes: self.segment.file_bytes,
            start: self.next,
            records_before: (self.entries.len() / RECORD_HEADER_BYTES) as u64,
            earlier_durable,
            durable_blocks: u32::try_from(self.durable / BLOCK_BYTES).expect("inside a segment"),
        }
    }
}
