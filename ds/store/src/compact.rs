//! Emptying a segment: what is live in it is copied to the end of the journal, then the segment is
//! dropped.
//!
//! INVARIANT: a segment is dropped only when the copies of everything in it that the index needs,
//! and the records that made the rest of it dead, are on stable storage.
//! Spec: docs/formats/journal.md §3.

use std::sync::atomic::Ordering;

use layout::ExtentId;
use wal::{AppendError, Durability, Location, Record};

use crate::extent::Keep;
use crate::limits::{COPIES_MAX, RELOCATE_BYTES_MAX};
use crate::pieces::{Piece, RECORD_WEIGHT_BYTES, Source};
use crate::record::{Act, Kind};
use crate::store::Inner;

/// Why a segment was not emptied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmptyError {
    /// Bytes in it cannot be read.
    #[error("segment {segment}: {error}")]
    Unreadable {
        /// The segment.
        segment: u64,
        /// What the log said.
        error: wal::ReadError,
    },
    /// The log takes no copies.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It could not be taken off the list of segments.
    #[error("the list of segments: {0}")]
    List(#[from] std::io::Error),
    /// The log did not drop it.
    #[error(transparent)]
    Drop(#[from] wal::DropError),
}

/// Copies waiting to be written together.
#[derive(Default)]
struct Batch {
    acts: Vec<Act>,
    records: Vec<Record>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, act: Act, record: Record) {
        self.bytes += record.payload.iter().map(bytes::Bytes::len).sum::<usize>();
        self.acts.push(act);
        self.records.push(record);
        assert_eq!(self.acts.len(), self.records.len(), "each act has its record");
    }

    fn is_full(&self) -> bool {
        RELOCATE_BYTES_MAX <= self.bytes || COPIES_MAX <= self.acts.len()
    }
}

impl Inner {
    /// Empties a sealed segment and drops it.
    pub(crate) async fn empty(&self, segment: u64) -> Result<(), EmptyError> {
        // A record that is in the segment but not yet in the index would be lost.
        self.in_flight.drain().await;
        let mut copied = false;
        // What was copied may have changed places meanwhile, but nothing new comes into a sealed
        // segment.
        loop {
            let copies = self.copy_pass(segment).await?;
            if copies == 0 {
                break;
            }
            copied = true;
        }
        // Not the copies alone: if a WRITE that is not on stable storage yet buried committed bytes
        // in this segment, a crash would take both.
        let horizon = self.stamps.horizon();
        if copied || !self.stamps.is_synced(horizon) {
            self.wal.sync().await?;
            self.stamps.synced(horizon);
        }
        self.unlist_segment(segment).await?;
        self.wal.drop_segment(segment).await?;
        let again = self.index.remove_segment(segment);
        self.write_again(again).await
    }

    /// Writes what an extent must not lose although it was taken for forgotten.
    async fn write_again(&self, acts: Vec<Act>) -> Result<(), EmptyError> {
        if acts.is_empty() {
            return Ok(());
        }
        let records = acts.iter().map(|act| act.record(vec![])).collect();
        let places = self.append_copies(records).await?;
        for (act, at) in acts.iter().zip(places) {
            let mut shard = self.index.shard(act.extent);
            let known = shard.get_mut(&act.extent).expect("only compaction forgets");
            self.index.apply(known, act, at);
        }
        Ok(())
    }

    /// Copies what is live in the segment now; tells how many copies it made.
    async fn copy_pass(&self, segment: u64) -> Result<usize, EmptyError> {
        let extents = self.index.segments().extents(segment);
        let (mut batch, mut copies) = (Batch::default(), 0);
        for (extent, records) in extents {
            let Some((keep, epoch)) = self.keep(extent, segment, records) else { continue };
            for act in keep.acts {
                batch.push(act, act.record(vec![]));
            }
            if let Some((act, at)) = keep.image {
                let read = self.wal.read(at, 0..at.payload_len).await;
                let payload = read.map_err(|error| self.unreadable(segment, error))?;
                batch.push(act, act.record(vec![payload]));
            }
            for (offset, piece) in keep.data {
                let Source::Data { at, skip } = piece.source else { continue };
                let read = self.wal.read(at, skip..skip + piece.length).await;
                let data = match read {
                    Ok(data) => data,
                    // Said again, or written over, meanwhile.
                    Err(_) if !self.keeps(extent, segment, records, at) => continue,
                    Err(error) => return Err(self.unreadable(segment, error)),
                };
                let (sequence, length) = (piece.sequence, piece.length);
                let act = Act { kind: Kind::Write, extent, epoch, sequence, offset, length };
                batch.push(act, act.record(vec![data]));
                if batch.is_full() {
                    copies += self.write_copies(segment, std::mem::take(&mut batch)).await?;
                }
            }
            if batch.is_full() {
                copies += self.write_copies(segment, std::mem::take(&mut batch)).await?;
            }
        }
        Ok(copies + self.write_copies(segment, batch).await?)
    }

    fn keep(&self, extent: ExtentId, segment: u64, records: u32) -> Option<(Keep, layout::Epoch)> {
        let shard = self.index.shard(extent);
        let known = shard.get(&extent)?;
        Some((known.keep(extent, segment, records)?, known.epoch))
    }

    /// Whether data of the record at this place must still be copied.
    fn keeps(&self, extent: ExtentId, segment: u64, records: u32, place: Location) -> bool {
        let is_it = |piece: &Piece| matches!(piece.source, Source::Data { at, .. } if at == place);
        self.keep(extent, segment, records)
            .is_some_and(|(keep, _)| keep.data.iter().any(|(_, piece)| is_it(piece)))
    }

    async fn write_copies(&self, segment: u64, batch: Batch) -> Result<usize, EmptyError> {
        if batch.acts.is_empty() {
            return Ok(0);
        }
        let weight = batch.bytes as u64 + batch.acts.len() as u64 * RECORD_WEIGHT_BYTES;
        assert!(batch.bytes <= 2 * RELOCATE_BYTES_MAX, "copies in memory keep within their bound");
        tracing::debug!(segment, copies = batch.acts.len(), weight, "moving live records");
        let places = self.append_copies(batch.records).await?;
        assert!(places.len() == batch.acts.len(), "each record has its place");
        self.copied_bytes.fetch_add(weight, Ordering::Relaxed);
        for (act, at) in batch.acts.iter().zip(&places) {
            self.index.relocate(act, segment, *at);
            self.note_segment(at.segment);
        }
        Ok(places.len())
    }

    async fn append_copies(&self, records: Vec<Record>) -> Result<Vec<Location>, AppendError> {
        // Before they are appended: they must at no time be taken for a client's.
        self.copied_records.fetch_add(records.len() as u64, Ordering::Relaxed);
        self.wal.append_batch(records, Durability::Written).await
    }

    fn unreadable(&self, segment: u64, error: wal::ReadError) -> EmptyError {
        self.bad_blocks.fetch_add(1, Ordering::Relaxed);
        self.index.segments().stick(segment);
        EmptyError::Unreadable { segment, error }
    }
}
