//! Raft's log on the log engine: what is not yet cut is also kept in memory, so that nothing is read back but at start.
//!
//! INVARIANT: `entries` holds every index behind `purged`, without holes.
//! INVARIANT: segments go oldest first, and only once a vote and a purge record lie behind them.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use env::{Clock, Disk};
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use wal::{AppendError, Durability, Location, RecordHeader, Wal, WalConfig};

use super::log_record::{self, LogEvent, UnknownRecord};
use super::unhurried::{self, Unhurried};
use super::{LogId, RaftEntry, Types, Vote};
use crate::limits::{LOG_SEGMENT_BYTES, LOG_SEGMENTS_RECYCLED, REPLICATE_BYTES_MAX};

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogOpenError {
    #[error(transparent)]
    Open(#[from] wal::OpenError),
    #[error(transparent)]
    Read(#[from] wal::ReadError),
    #[error(transparent)]
    Unknown(#[from] UnknownRecord),
    #[error("segment {segment} is damaged from {offset} to {end}: acknowledged entries may be lost")]
    Damaged { segment: u64, offset: u64, end: u64 },
    #[error("entry {found} follows entry {last}")]
    Hole { last: u64, found: u64 },
    #[error("entry {index} does not decode")]
    Garbled { index: u64 },
}

/// The log of one replica. Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Wal,
    state: Arc<Mutex<State>>,
    unhurried: Unhurried,
}

#[derive(Default)]
struct State {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: VecDeque<Held>,
    /// Payload bytes of `entries`.
    bytes: u64,
}

struct Held {
    entry: RaftEntry,
    bytes: u64,
    /// The segment it lies in, once it is known.
    segment: Option<u64>,
}

impl State {
    fn next_index(&self) -> Option<u64> {
        let last = self.entries.back().map(|held| held.entry.log_id.index());
        last.or_else(|| self.purged.map(|purged| purged.index())).map(|last| last + 1)
    }

    fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|held| held.entry.log_id.index())
    }

    fn push(&mut self, entry: RaftEntry, segment: Option<u64>) {
        let index = entry.log_id.index();
        assert!(self.next_index().is_none_or(|next| next == index), "the log has no holes");
        let bytes = match &entry.payload {
            openraft::EntryPayload::Normal(encoded) => encoded.0.len() as u64,
            openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
        };
        self.bytes += bytes;
        self.entries.push_back(Held { entry, bytes, segment });
    }

    fn truncate(&mut self, last_kept: Option<u64>) {
        while self.entries.back().is_some_and(|held| last_kept < Some(held.entry.log_id.index())) {
            let held = self.entries.pop_back().expect("there is a last one");
            self.bytes -= held.bytes;
        }
    }

    fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|held| held.entry.log_id.index() <= upto.index()) {
            let held = self.entries.pop_front().expect("there is a first one");
            self.bytes -= held.bytes;
        }
        self.purged = self.purged.max(Some(upto));
    }

    fn slice(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Held> {
        let base = self.first_index().unwrap_or(0);
        let from = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let len = self.entries.len();
        let place = |index: u64| usize::try_from(index.saturating_sub(base)).map_or(len, |at| at.min(len));
        let (from, to) = (place(from), place(to));
        self.entries.range(from.min(to)..to)
    }

    fn note_segment(&mut self, index: u64, term: u64, segment: u64) {
        let Some(first) = self.first_index() else { return };
        let Some(at) = index.checked_sub(first).and_then(|at| usize::try_from(at).ok()) else { return };
        if let Some(held) = self.entries.get_mut(at)
            && held.entry.log_id.committed_leader_id().term == term
        {
            held.segment = Some(segment);
        }
    }
}

/// What is left to read when all headers have been seen.
#[derive(Default)]
struct Replay {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: VecDeque<(LogId, Location)>,
    failed: Option<LogOpenError>,
}

impl Replay {
    fn visit(&mut self, header: &RecordHeader, location: Location) {
        if self.failed.is_none()
            && let Err(error) = self.follow(header, location)
        {
            self.failed = Some(error);
        }
    }

    fn follow(&mut self, header: &RecordHeader, location: Location) -> Result<(), LogOpenError> {
        match log_record::event(header)? {
            LogEvent::Vote(vote) => self.vote = Some(vote),
            LogEvent::Truncate(last_kept) => self.entries.retain(|(id, _)| Some(id.index()) <= last_kept),
            LogEvent::Purge(upto) => {
                self.entries.retain(|(id, _)| upto.index() < id.index());
                self.purged = self.purged.max(Some(upto));
            }
            LogEvent::Entry(id) => {
                let last = self
                    .entries
                    .back()
                    .map(|(id, _)| id.index())
                    .or_else(|| self.purged.map(|id| id.index()));
                // With nothing before it the log may begin anywhere: older segments are gone, and the purge record
                // that says so comes later.
                if let Some(last) = last
                    && last + 1 != id.index()
                {
                    return Err(LogOpenError::Hole { last, found: id.index() });
                }
                self.entries.push_back((id, location));
            }
        }
        Ok(())
    }
}

impl LogStore {
    /// Opens the log in `dir`, reads back what is in force.
    pub(crate) async fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        store_id: [u8; 16],
    ) -> Result<Self, LogOpenError> {
        let config = WalConfig {
            segment_bytes: LOG_SEGMENT_BYTES,
            recycle_max: LOG_SEGMENTS_RECYCLED,
            ..WalConfig::new(store_id)
        };
        let mut replay = Replay::default();
        let (wal, report) =
            Wal::open(disk, dir, config, &mut |header, location| replay.visit(header, location)).await?;
        if let Some(damage) = report.corrupt.first() {
            let (segment, offset, end) = (damage.segment, damage.offset, damage.end);
            return Err(LogOpenError::Damaged { segment, offset, end });
        }
        if let Some(error) = replay.failed {
            return Err(error);
        }
        let mut state = State { vote: replay.vote, purged: replay.purged, ..State::default() };
        for (id, location) in replay.entries {
            let (header, payload) = wal.read_record(location).await?;
            let entry = log_record::entry(&header, payload)
                .ok_or_else(|| LogOpenError::Garbled { index: id.index() })?;
            state.push(entry, Some(location.segment));
        }
        Ok(Self { wal, state: Arc::new(Mutex::new(state)), unhurried: Unhurried::new(clock) })
    }

    /// Payload bytes and number of entries not yet cut.
    pub(crate) fn uncut(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.bytes, state.entries.len() as u64)
    }

    /// Syncs with the device so far.
    pub(crate) fn flushes(&self) -> u64 {
        self.wal.counters().flushes
    }

    /// Seals the log and stops it.
    pub(crate) async fn close(&self) -> io::Result<()> {
        self.wal.close().await.map_err(failed)
    }

    /// Drops the segments that hold only what is cut.
    async fn drop_segments(&self, anchor: u64) {
        let live = {
            let state = self.state.lock();
            // Where the first entry lies may not be known yet: then nothing goes until the next purge.
            state.entries.front().map_or(anchor, |held| held.segment.unwrap_or(0))
        };
        for segment in self.wal.segments() {
            if anchor.min(live) <= segment.seq || !segment.sealed {
                break;
            }
            if let Err(error) = self.wal.drop_segment(segment.seq).await {
                // It is tried again at the next purge.
                tracing::warn!(segment = segment.seq, %error, "a log segment could not be dropped");
                break;
            }
        }
    }
}

pub(super) fn failed(error: AppendError) -> io::Error {
    match error {
        AppendError::NoSpace => io::Error::new(io::ErrorKind::StorageFull, error),
        AppendError::TooLarge { .. } | AppendError::Failed(_) | AppendError::Closed => {
            io::Error::other(error)
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<RaftEntry>> {
        Ok(self.state.lock().slice(&range).map(|held| held.entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let mut room = REPLICATE_BYTES_MAX;
        let state = self.state.lock();
        let mut entries = Vec::new();
        for held in state.slice(&(start..end)) {
            if !entries.is_empty() && room < held.bytes {
                break;
            }
            room = room.saturating_sub(held.bytes);
            entries.push(held.entry.clone());
        }
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.state.lock();
        let last = state.entries.back().map(|held| held.entry.log_id).or(state.purged);
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let queued = self.wal.enqueue(vec![log_record::vote_record(vote)], Durability::Synced).await;
        queued.map_err(failed)?.await.map_err(failed)?;
        self.state.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        let records = entries.iter().map(log_record::entry_record).collect();
        let is_unhurried = Unhurried::are(&entries);
        let durability = if is_unhurried { Durability::Written } else { Durability::Synced };
        let queued = self.wal.enqueue(records, durability).await.map_err(failed)?;
        let ids: Vec<LogId> = entries.iter().map(RaftEntry::log_id).collect();
        {
            let mut state = self.state.lock();
            for entry in entries {
                state.push(entry, None);
            }
        }
        // The engine goes on meanwhile; appends under way at the same time share one flush.
        let state = Arc::clone(&self.state);
        let mut callbacks = Vec::new();
        if is_unhurried {
            self.unhurried.put(callback, &self.wal);
        } else {
            // They lie before these entries in the log, so this flush covers them.
            callbacks = self.unhurried.take();
            callbacks.push(callback);
        }
        tokio::spawn(async move {
            let flushed = queued.await;
            if let Ok(locations) = &flushed {
                let mut state = state.lock();
                for (id, location) in ids.iter().zip(locations) {
                    state.note_segment(id.index(), id.committed_leader_id().term, location.segment);
                }
            }
            unhurried::tell(callbacks, &flushed.map(drop).map_err(failed));
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let last_kept = last_log_id.map(|id| id.index());
        let record = log_record::truncate_record(last_kept);
        let queued = self.wal.enqueue(vec![record], Durability::Synced).await.map_err(failed)?;
        self.state.lock().truncate(last_kept);
        queued.await.map(drop).map_err(failed)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        // The vote goes along, so that older segments hold nothing that is still needed.
        let vote = self.state.lock().vote;
        let records =
            vote.iter().map(log_record::vote_record).chain([log_record::purge_record(&upto)]).collect();
        let queued = self.wal.enqueue(records, Durability::Synced).await.map_err(failed)?;
        self.state.lock().purge(upto);
        let log = self.clone();
        // Nobody waits for room; the engine must not either.
        tokio::spawn(async move {
            match queued.await {
                Ok(locations) => {
                    let anchor = locations.first().map_or(0, |location| location.segment);
                    log.drop_segments(anchor).await;
                }
                Err(error) => tracing::error!(%error, "the log could not be cut"),
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
