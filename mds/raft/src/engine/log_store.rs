//! Raft's logs of all groups of a node on one log engine. Entries that are not cut are also kept in
//! memory, so that the log is read only at start.
//!
//! Records of all groups share the engine's writes and flushes. [`SharedLog`] is the node's,
//! [`LogStore`] the handle of one group.
//!
//! INVARIANT: segments are dropped oldest first, and only when no group needs them.
//! INVARIANT: changes of a group's log are queued in the order in which they change the group's
//! state.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::{Clock, Disk};
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use wal::{Appended, Durability, Location, Record, Wal, WalConfig};

use super::append_error::failed;
use super::log_record;
use super::log_replay::{GroupReplay, Replay, ReplayError};
use super::log_state::State;
use super::type_config::{LogId, RaftEntry, Types, Vote};
use super::unhurried::{self, Unhurried};
use super::waiting_disk::WaitingDisk;
use crate::limits::{
    LOG_LAG_SEGMENTS, LOG_SEGMENTS_RECYCLED, RENEW_BYTES_MAX, RENEW_RECORDS_MAX, REPLICATE_BYTES_MAX,
};

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogOpenError {
    #[error(transparent)]
    Open(#[from] wal::OpenError),
    #[error(transparent)]
    Read(#[from] wal::ReadError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("segment {segment} is damaged from {offset} to {end}: acknowledged entries may be lost")]
    Damaged { segment: u64, offset: u64, end: u64 },
    #[error("shard {shard}: entry {index} does not decode")]
    Garbled { shard: u64, index: u64 },
}

/// The log of a node, for all its groups. Clones are the same log.
#[derive(Clone)]
pub(crate) struct SharedLog {
    inner: Arc<Inner>,
}

struct Inner {
    wal: Wal,
    groups: Vec<Arc<Group>>,
    segment_bytes: u64,
    /// No record that is queued from now on is written to an older segment.
    head: AtomicU64,
    /// `None` where others have copies of the log: there every entry is waited for
    /// (docs/adr/0012-close-is-waited-for-by-replicas.md).
    unhurried: Option<Unhurried>,
}

struct Group {
    number: u64,
    state: Mutex<State>,
    /// Held while records are queued and the state is changed to match.
    order: tokio::sync::Mutex<()>,
}

/// The log of one group. Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: SharedLog,
    group: Arc<Group>,
}

impl SharedLog {
    /// Opens the log in `dir` for groups 0 to `groups - 1`, and reads back what is in force.
    /// `alone`: no other node has copies of it.
    pub(crate) async fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        store_id: [u8; 16],
        segment_bytes: u64,
        groups: usize,
        alone: bool,
    ) -> Result<Self, LogOpenError> {
        let recycle_max = LOG_SEGMENTS_RECYCLED;
        // An entry, or a cut, that found no room and a later one that did would leave a hole: the
        // log could not be opened again. The log waits for room; this setting protects it if a
        // write is refused all the same.
        let keeps_order = true;
        let config = WalConfig { segment_bytes, recycle_max, keeps_order, ..WalConfig::new(store_id) };
        let mut replay = Replay::new(groups);
        let disk = Arc::new(WaitingDisk::new(disk, Arc::clone(&clock)));
        let (wal, report) =
            Wal::open(disk, dir, config, &mut |header, location| replay.visit(header, location)).await?;
        if let Some(damage) = report.corrupt.first() {
            let (segment, offset, end) = (damage.segment, damage.offset, damage.end);
            return Err(LogOpenError::Damaged { segment, offset, end });
        }
        let mut all = Vec::with_capacity(groups);
        for (number, replay) in (0..).zip(replay.finish()?) {
            let state = Mutex::new(read_back(&wal, number, replay).await?);
            all.push(Arc::new(Group { number, state, order: tokio::sync::Mutex::new(()) }));
        }
        assert!(all.len() == groups, "each group has its log");
        let head = AtomicU64::new(wal.segments().last().map_or(0, |segment| segment.seq));
        let unhurried = alone.then(|| Unhurried::new(clock));
        let inner = Inner { wal, groups: all, segment_bytes, head, unhurried };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The log of one group.
    ///
    /// # Panics
    /// If the log was not opened for it.
    pub(crate) fn group(&self, number: usize) -> LogStore {
        assert!(number < self.inner.groups.len(), "the log was opened for this group");
        LogStore { log: self.clone(), group: Arc::clone(&self.inner.groups[number]) }
    }

    /// Whether no group has anything yet.
    pub(crate) fn is_blank(&self) -> bool {
        self.inner.groups.iter().all(|group| group.state.lock().is_blank())
    }

    /// Syncs with the device so far.
    pub(crate) fn flushes(&self) -> u64 {
        self.inner.wal.counters().flushes
    }

    /// Bytes of the log on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.inner.wal.disk_bytes()
    }

    /// Seals and stops the log.
    pub(crate) async fn close(&self) -> io::Result<()> {
        self.inner.wal.close().await.map_err(failed)
    }

    /// Segments behind the head that a group may need before it counts as lagging. More when much
    /// is in force, so that renewed bytes never exceed new ones.
    fn lag_max(&self) -> u64 {
        let bytes: u64 = self.inner.groups.iter().map(|group| group.state.lock().bytes).sum();
        assert!(0 < self.inner.segment_bytes, "a segment has room");
        LOG_LAG_SEGMENTS + 2 * bytes.div_ceil(self.inner.segment_bytes)
    }

    /// Groups that need segments far behind the head, and whether so far that they must be renewed.
    pub(crate) fn lagging(&self) -> Vec<(usize, bool)> {
        let head = self.inner.head.load(Ordering::Acquire);
        if head < LOG_LAG_SEGMENTS {
            return Vec::new();
        }
        let lag_max = self.lag_max();
        let lag = |group: &Arc<Group>| head.saturating_sub(group.state.lock().needs().unwrap_or(head));
        let lags = self.inner.groups.iter().map(lag).enumerate();
        lags.filter(|(_, lag)| lag_max <= *lag).map(|(at, lag)| (at, 2 * lag_max <= lag)).collect()
    }

    async fn enqueue(&self, records: Vec<Record>, durability: Durability) -> io::Result<Appended> {
        self.inner.wal.enqueue(records, durability).await.map_err(failed)
    }

    /// As [`enqueue`](Self::enqueue), for records that repeat the log, or that it can do without.
    async fn enqueue_aside(&self, records: Vec<Record>, durability: Durability) -> io::Result<Appended> {
        self.inner.wal.enqueue_aside(records, durability).await.map_err(failed)
    }

    fn note_head(&self, locations: &[Location]) {
        if let Some(last) = locations.last() {
            self.inner.head.fetch_max(last.segment, Ordering::AcqRel);
        }
    }

    /// Drops the segments that no group needs.
    pub(crate) async fn drop_segments(&self) {
        let needs = self.inner.groups.iter().filter_map(|group| group.state.lock().needs()).min();
        let Some(needs) = needs else { return };
        for segment in self.inner.wal.segments() {
            if needs <= segment.seq || !segment.sealed {
                break;
            }
            match self.inner.wal.drop_segment(segment.seq).await {
                Ok(()) => {}
                // Another group's purge was faster.
                Err(wal::DropError::NoSegment { .. }) => {}
                Err(error) => {
                    // The next purge tries again.
                    tracing::warn!(segment = segment.seq, %error, "failed to drop a log segment");
                    break;
                }
            }
        }
    }
}

/// Reads the payloads of the entries in force.
async fn read_back(wal: &Wal, shard: u64, replay: GroupReplay) -> Result<State, LogOpenError> {
    let GroupReplay { vote, purged, entries, vote_at, purge_at } = replay;
    let count = entries.len();
    let mut state = State { vote, purged, vote_at, purge_at, ..State::default() };
    for (index, (_, location)) in entries {
        let (header, payload) = wal.read_record(location).await?;
        let entry = log_record::entry(&header, payload).ok_or(LogOpenError::Garbled { shard, index })?;
        state.push(entry, location.segment);
    }
    assert!(state.entries.len() == count, "each entry in force is kept");
    Ok(state)
}

impl LogStore {
    /// The last entry, cut or not; `None` if there never was one.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.group.state.lock().next_index().map(|next| next - 1)
    }

    /// The position up to which the log was cut: earlier entries are in the store, or nowhere.
    pub(crate) fn cut_upto(&self) -> Option<LogId> {
        self.group.state.lock().purged
    }

    /// Payload bytes and number of entries not yet cut.
    pub(crate) fn uncut(&self) -> (u64, u64) {
        let state = self.group.state.lock();
        (state.bytes, state.entries.len() as u64)
    }

    /// Rewrites all that is in force of this group at the log's head, so that it needs no older
    /// segment.
    pub(crate) async fn renew(&self) -> io::Result<()> {
        let stream = self.group.number;
        let order = self.group.order.lock().await;
        let (facts, entries) = {
            let state = self.group.state.lock();
            let vote = state.vote.iter().map(|vote| log_record::vote_record(stream, vote));
            let purge = state.purged.iter().map(|upto| log_record::purge_record(stream, upto));
            let entries: Vec<RaftEntry> = state.entries.iter().map(|held| held.entry.clone()).collect();
            (vote.chain(purge).collect::<Vec<_>>(), entries)
        };
        let mut queued = vec![self.log.enqueue_aside(facts, Durability::Written).await?];
        for part in parts(&entries) {
            let records = part.iter().map(|entry| log_record::renewed_record(stream, entry)).collect();
            queued.push(self.log.enqueue_aside(records, Durability::Written).await?);
        }
        let synced = self.log.enqueue(Vec::new(), Durability::Synced).await?;
        drop(order);
        let mut places = Vec::new();
        for part in queued {
            places.push(part.await.map_err(failed)?);
        }
        synced.await.map_err(failed)?;
        self.note_renewed(&entries, places);
        self.log.drop_segments().await;
        Ok(())
    }

    /// Records the segments of a durable renewal: those of its facts, then those of its entries.
    fn note_renewed(&self, entries: &[RaftEntry], places: Vec<Vec<Location>>) {
        let mut places = places.into_iter();
        let facts_at = places.next().and_then(|facts| facts.first().map(|location| location.segment));
        let mut state = self.group.state.lock();
        // Newer facts are in no older segment, and their own records note that.
        if state.vote.is_some() {
            state.vote_at = state.vote_at.max(facts_at);
        }
        if state.purged.is_some() {
            state.purge_at = state.purge_at.max(facts_at);
        }
        let places: Vec<Location> = places.flatten().collect();
        assert!(places.len() == entries.len(), "each renewed entry has its place");
        for (entry, location) in entries.iter().zip(places) {
            state.note_segment(entry.log_id, location.segment);
        }
    }

    /// Queues records and changes the state, in one order with all other changes.
    async fn queue(
        &self,
        records: Vec<Record>,
        durability: Durability,
        change: impl FnOnce(&mut State, u64),
    ) -> io::Result<Appended> {
        let _order = self.group.order.lock().await;
        let head = self.log.inner.head.load(Ordering::Acquire);
        let queued = self.log.enqueue(records, durability).await?;
        change(&mut self.group.state.lock(), head);
        Ok(queued)
    }
}

/// Runs of entries, each small enough for one write.
fn parts(entries: &[RaftEntry]) -> Vec<&[RaftEntry]> {
    let (mut all, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for (at, entry) in entries.iter().enumerate() {
        if RENEW_RECORDS_MAX <= at - begin || RENEW_BYTES_MAX <= bytes {
            all.push(&entries[begin..at]);
            (begin, bytes) = (at, 0);
        }
        if let openraft::EntryPayload::Normal(encoded) = &entry.payload {
            bytes += encoded.bytes.len();
        }
    }
    if begin < entries.len() {
        all.push(&entries[begin..]);
    }
    assert!(all.iter().all(|part| !part.is_empty()), "a write has entries");
    assert!(all.iter().map(|part| part.len()).sum::<usize>() == entries.len(), "each is in one");
    all
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<RaftEntry>> {
        Ok(self.group.state.lock().slice(&range).map(|held| held.entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.group.state.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let mut room = REPLICATE_BYTES_MAX;
        let state = self.group.state.lock();
        let mut entries = Vec::new();
        for held in state.slice(&(start..end)) {
            if !entries.is_empty() && room < held.bytes {
                break;
            }
            room = room.saturating_sub(held.bytes);
            entries.push(held.entry.clone());
        }
        assert!(entries.len() as u64 <= end.saturating_sub(start), "no more than was asked for");
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.group.state.lock();
        let last = state.entries.back().map(|held| held.entry.log_id).or(state.purged);
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let record = log_record::vote_record(self.group.number, vote);
        // A concurrent renewal must not write the previous vote behind this one.
        let _order = self.group.order.lock().await;
        let queued = self.log.enqueue(vec![record], Durability::Synced).await?;
        let locations = queued.await.map_err(failed)?;
        self.log.note_head(&locations);
        let mut state = self.group.state.lock();
        let before = state.vote.map_or(0, |before| before.leader_id.term);
        assert!(before <= vote.leader_id.term, "terms grow");
        state.vote = Some(*vote);
        if let Some(location) = locations.first() {
            state.note_vote(location.segment);
        }
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        let stream = self.group.number;
        let records = entries.iter().map(|entry| log_record::entry_record(stream, entry)).collect();
        let unhurried = self.log.inner.unhurried.as_ref();
        let is_unhurried = unhurried.is_some() && Unhurried::are(&entries);
        let durability = if is_unhurried { Durability::Written } else { Durability::Synced };
        let ids: Vec<LogId> = entries.iter().map(RaftEntry::log_id).collect();
        let push = |state: &mut State, head| entries.into_iter().for_each(|entry| state.push(entry, head));
        let queued = self.queue(records, durability, push).await?;
        // The engine continues meanwhile; concurrent appends, of any group, share one flush.
        let mut callbacks = Vec::new();
        match unhurried {
            Some(unhurried) if is_unhurried => unhurried.put(callback, &self.log.inner.wal),
            // They precede these entries in the log, so this flush covers them.
            others => {
                callbacks = others.map(Unhurried::take_callbacks).unwrap_or_default();
                callbacks.push(callback);
            }
        }
        let own = self.clone();
        tokio::spawn(async move {
            let flushed = queued.await;
            if let Ok(locations) = &flushed {
                own.log.note_head(locations);
                assert!(locations.len() == ids.len(), "each entry has its place");
                let mut state = own.group.state.lock();
                for (id, location) in ids.iter().zip(locations) {
                    state.note_segment(*id, location.segment);
                }
            }
            unhurried::notify_engine(callbacks, &flushed.map(drop).map_err(failed));
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let last_kept = last_log_id.map(|id| id.index());
        let record = log_record::truncate_record(self.group.number, last_kept);
        let _order = self.group.order.lock().await;
        let queued = self.log.enqueue(vec![record], Durability::Synced).await?;
        // Only when the record is durable: else segments of voided entries could be dropped before
        // the entries are void.
        queued.await.map_err(failed)?;
        self.group.state.lock().truncate(last_kept);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let stream = self.group.number;
        let order = self.group.order.lock().await;
        let (vote, is_within) = {
            let state = self.group.state.lock();
            (state.vote, state.next_index().is_some_and(|next| upto.index() < next))
        };
        // The vote is written with it, so that older segments hold nothing that is still needed.
        let vote = vote.iter().map(|vote| log_record::vote_record(stream, vote));
        let records = vote.chain([log_record::purge_record(stream, &upto)]).collect();
        let queued = match is_within {
            true => self.log.enqueue_aside(records, Durability::Synced).await?,
            false => self.log.enqueue(records, Durability::Synced).await?,
        };
        let number = {
            let mut state = self.group.state.lock();
            let number = state.pin();
            state.purge(upto);
            number
        };
        drop(order);
        let own = self.clone();
        if !is_within {
            // Without the purge the next entries would leave a hole.
            let locations = queued.await.map_err(failed)?;
            own.purged(&locations, number).await;
            return Ok(());
        }
        // No caller waits for the purge, nor must the engine, which may take long without room.
        tokio::spawn(async move {
            match queued.await {
                Ok(locations) => own.purged(&locations, number).await,
                Err(error) => tracing::warn!(%error, "failed to cut the log, retrying later"),
            }
        });
        Ok(())
    }
}

impl LogStore {
    /// Handles a durable purge: releases what it pinned.
    async fn purged(&self, locations: &[Location], number: u64) {
        self.log.note_head(locations);
        {
            let mut state = self.group.state.lock();
            state.unpin(number);
            if let Some(location) = locations.first() {
                state.note_purge(location.segment);
                if state.vote.is_some() {
                    state.note_vote(location.segment);
                }
            }
        }
        self.log.drop_segments().await;
    }
}

#[cfg(test)]
mod tests;
