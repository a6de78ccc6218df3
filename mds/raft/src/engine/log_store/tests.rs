//! The log over restarts, truncation and cuts, on a disk in memory.

use bytes::Bytes;
use env::memory::{Crash, ManualClock, MemoryDisk};
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;
use openraft::storage::RaftLogStorageExt;

use super::*;
use crate::engine::entry::EncodedEntry;
use crate::engine::type_config::log_id;
use crate::limits::{LOG_SEGMENT_BYTES, ROOM_RETRY_MS, UNHURRIED_MS_MAX};

const STORE_ID: [u8; 16] = [3; 16];

async fn open(disk: &MemoryDisk) -> LogStore {
    open_with(disk, &Arc::new(ManualClock::new(0))).await
}

async fn open_with(disk: &MemoryDisk, clock: &Arc<ManualClock>) -> LogStore {
    let clock: Arc<dyn Clock> = clock.clone();
    open_groups(disk, clock, 1, true).await.unwrap().group(0)
}

async fn open_groups(
    disk: &MemoryDisk,
    clock: Arc<dyn Clock>,
    groups: usize,
    alone: bool,
) -> Result<SharedLog, LogOpenError> {
    SharedLog::open(
        Arc::new(disk.clone()),
        clock,
        Path::new("/log"),
        STORE_ID,
        LOG_SEGMENT_BYTES,
        groups,
        alone,
    )
    .await
}

/// The entry of a CLOSE that no client waits for.
fn close_entry(index: u64) -> RaftEntry {
    RaftEntry { log_id: log_id(1, index), payload: EntryPayload::Normal(encoded_close().unhurried()) }
}

fn encoded_close() -> EncodedEntry {
    let stateid = mds_state::StateidValue { seqid: 1, other: [1; 12] };
    let close = mds_state::command::open::Close { client: 1, ino: 2, stateid };
    let entry = mds_state::Entry {
        now_unix_ns: 1 << 60,
        origin: None,
        governor: 0,
        command: mds_state::Command::Close(close),
    };
    EncodedEntry::encode(&entry).unwrap()
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn entries(term: u64, range: std::ops::Range<u64>, bytes: usize) -> Vec<RaftEntry> {
    let entry = |index| {
        let payload = EntryPayload::Normal(Bytes::from(vec![u8::try_from(term).unwrap(); bytes]).into());
        RaftEntry { log_id: log_id(term, index), payload }
    };
    range.map(entry).collect()
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: false }
}

async fn shown(log: &mut LogStore) -> Vec<(u64, u64)> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| (entry.log_id.committed_leader_id().term, entry.log_id.index())).collect()
}

#[tokio::test]
async fn log_survives_crashes() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await;
    assert_eq!(log.get_log_state().await.unwrap(), LogState::default());
    log.save_vote(&vote(1)).await.unwrap();
    log.blocking_append(entries(1, 0..10, 100)).await.unwrap();
    disk.crash(Crash::Drop);
    let mut log = open(&disk).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(1)));
    assert_eq!(shown(&mut log).await, (0..10).map(|index| (1, index)).collect::<Vec<_>>());
    log.truncate_after(Some(log_id(1, 4))).await.unwrap();
    log.save_vote(&vote(2)).await.unwrap();
    log.blocking_append(entries(2, 5..7, 100)).await.unwrap();
    disk.crash(Crash::Drop);
    let mut log = open(&disk).await;
    let expected = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6)];
    assert_eq!(shown(&mut log).await, expected);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(2)));
    log.purge(log_id(1, 2)).await.unwrap();
    log.log.inner.wal.sync().await.unwrap();
    disk.crash(Crash::Drop);
    let mut log = open(&disk).await;
    assert_eq!(shown(&mut log).await, expected[3..]);
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 2)));
    assert_eq!(state.last_log_id, Some(log_id(2, 6)));
    assert_eq!(log.uncut(), (400, 4));
    // A snapshot reaches beyond the log.
    log.purge(log_id(3, 100)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(3, 100)));
    log.blocking_append(entries(3, 101..103, 1)).await.unwrap();
    disk.crash(Crash::Drop);
    assert_eq!(shown(&mut open(&disk).await).await, [(3, 101), (3, 102)]);
    let mut log = open(&disk).await;
    log.truncate_after(None).await.unwrap();
    assert_eq!(shown(&mut log).await, []);
}

#[tokio::test]
async fn reads_follow_the_range() {
    let mut log = open(&MemoryDisk::new()).await;
    log.blocking_append(entries(1, 0..10, 1)).await.unwrap();
    log.purge(log_id(1, 2)).await.unwrap();
    let indexes =
        |entries: Vec<RaftEntry>| entries.iter().map(|entry| entry.log_id.index()).collect::<Vec<_>>();
    assert_eq!(indexes(log.try_get_log_entries(0..5).await.unwrap()), [3, 4]);
    assert_eq!(indexes(log.try_get_log_entries(8..=20).await.unwrap()), [8, 9]);
    assert_eq!(indexes(log.try_get_log_entries(20..30).await.unwrap()), Vec::<u64>::new());
    assert_eq!(indexes(log.try_get_log_entries(0..2).await.unwrap()), Vec::<u64>::new());
    assert_eq!(indexes(log.limited_get_log_entries(3, 6).await.unwrap()), [3, 4, 5]);
}

/// A message stays within its limit, but always has one entry.
#[tokio::test]
async fn long_entries_go_alone() {
    let mut log = open(&MemoryDisk::new()).await;
    let bytes = usize::try_from(REPLICATE_BYTES_MAX).unwrap() * 2 / 3;
    log.blocking_append(entries(1, 0..3, bytes)).await.unwrap();
    assert_eq!(log.limited_get_log_entries(0, 3).await.unwrap().len(), 1);
}

/// Segments are dropped once everything in them is cut, and the vote outlives them.
#[tokio::test]
async fn segments_are_dropped() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await;
    log.save_vote(&vote(1)).await.unwrap();
    let bytes = 1 << 20;
    for index in 0..40 {
        log.blocking_append(entries(1, index..index + 1, bytes)).await.unwrap();
    }
    let before = log.log.inner.wal.segments().len();
    assert!(2 < before);
    for upto in [20, 39] {
        log.purge(log_id(1, upto)).await.unwrap();
    }
    log.log.inner.wal.sync().await.unwrap();
    for _ in 0..10_000 {
        if log.log.inner.wal.segments().len() <= 2 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(log.log.inner.wal.segments().len() <= 2, "{:?}", log.log.inner.wal.segments());
    disk.crash(Crash::Drop);
    let mut log = open(&disk).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(1)));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 39)));
}

/// A hole, or a foreign record, stops the start.
#[tokio::test]
async fn broken_logs_are_refused() {
    for (records, what) in [
        (
            vec![
                log_record::entry_record(0, &entries(1, 0..1, 1)[0]),
                log_record::entry_record(0, &entries(1, 2..3, 1)[0]),
            ],
            "hole",
        ),
        (vec![wal::Record { kind: 77, ..wal::Record::default() }], "kind"),
        (vec![log_record::vote_record(1, &vote(1))], "another group"),
        (
            vec![
                log_record::entry_record(0, &entries(1, 0..1, 1)[0]),
                log_record::renewed_record(0, &entries(2, 0..1, 1)[0]),
            ],
            "renewed with another term",
        ),
        (
            vec![
                log_record::renewed_record(0, &entries(1, 3..4, 1)[0]),
                log_record::renewed_record(0, &entries(1, 5..6, 1)[0]),
            ],
            "hole in what is renewed",
        ),
    ] {
        let disk = MemoryDisk::new();
        let log = open(&disk).await;
        log.log.inner.wal.append_batch(records, Durability::Synced).await.unwrap();
        disk.crash(Crash::Drop);
        let clock = Arc::new(ManualClock::new(0));
        let opened = open_groups(&disk, clock, 1, true).await;
        assert!(opened.is_err(), "{what}");
    }
}

/// A store that is ahead of its log has the log cut at the start. If the cut finds no room, no
/// entry may be written before it: the log would have a hole, and never open again.
#[tokio::test]
async fn entries_wait_behind_a_cut_that_finds_no_room() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await;
    log.blocking_append(entries(1, 0..5, 100)).await.unwrap();
    disk.crash(Crash::Drop);
    for has_room_in_time in [false, true] {
        // One clock for each, so that writes that wait after the first are never retried.
        let clock = Arc::new(ManualClock::new(0));
        let mut log = open_with(&disk, &clock).await;
        disk.set_capacity(0);
        let (mut own, mut other) = (log.clone(), log.clone());
        let cut = tokio::spawn(async move { own.purge(log_id(1, 8)).await });
        settle().await;
        let entry = tokio::spawn(async move { other.blocking_append(entries(1, 9..10, 100)).await });
        settle().await;
        assert!(!cut.is_finished() && !entry.is_finished());
        disk.set_capacity(1 << 30);
        if has_room_in_time {
            clock.advance_ms(ROOM_RETRY_MS);
            cut.await.unwrap().unwrap();
            entry.await.unwrap().unwrap();
            assert_eq!(shown(&mut log).await, [(1, 9)]);
        } else {
            cut.abort();
            entry.abort();
        }
        drop(log);
        disk.crash(Crash::Drop);
        let last = if has_room_in_time { log_id(1, 9) } else { log_id(1, 4) };
        let found = open_with(&disk, &clock).await.get_log_state().await.unwrap().last_log_id;
        assert_eq!(found, Some(last));
    }
}

/// A renewal that finds no room waits, a cut beside it is done at once, and when there is room
/// nothing is pinned.
#[tokio::test]
async fn a_renewal_without_room_continues_when_there_is_some() {
    let (disk, clock) = (MemoryDisk::new(), Arc::new(ManualClock::new(0)));
    let mut log = open_with(&disk, &clock).await;
    let bytes = 1 << 20;
    for index in 0..40 {
        log.blocking_append(entries(1, index..index + 1, bytes)).await.unwrap();
    }
    disk.set_capacity(0);
    // The renewal fills the rest of the segment.
    let own = log.clone();
    let renewal = tokio::spawn(async move { own.renew().await });
    settle().await;
    log.purge(log_id(1, 20)).await.unwrap();
    settle().await;
    assert!(!renewal.is_finished());
    disk.set_capacity(1 << 30);
    clock.advance_ms(ROOM_RETRY_MS);
    renewal.await.unwrap().unwrap();
    log.blocking_append(entries(1, 40..41, bytes)).await.unwrap();
    log.purge(log_id(1, 30)).await.unwrap();
    log.purge(log_id(1, 40)).await.unwrap();
    log.log.inner.wal.sync().await.unwrap();
    settle().await;
    assert!(log.log.inner.wal.segments().len() <= 2, "{:?}", log.log.inner.wal.segments());
    disk.crash(Crash::Drop);
    let mut log = open(&disk).await;
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 40)));
    log.blocking_append(entries(1, 41..42, 10)).await.unwrap();
}

/// A CLOSE shares the flush of the next entry; without one it gets its own a moment later. The
/// engine is not notified before.
#[tokio::test]
async fn close_waits_for_the_next_flush() {
    let (disk, clock) = (MemoryDisk::new(), Arc::new(ManualClock::new(0)));
    let mut log = open_with(&disk, &clock).await;
    log.blocking_append(entries(1, 0..1, 10)).await.unwrap();
    let before = log.log.flushes();
    let mut own = log.clone();
    let first = tokio::spawn(async move { own.blocking_append([close_entry(1)]).await });
    settle().await;
    assert!(!first.is_finished());
    assert_eq!(log.log.flushes(), before);
    log.blocking_append(entries(1, 2..3, 10)).await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(log.log.flushes(), before + 1);

    let mut own = log.clone();
    let second = tokio::spawn(async move { own.blocking_append([close_entry(3)]).await });
    settle().await;
    clock.advance_ms(UNHURRIED_MS_MAX - 1);
    settle().await;
    assert!(!second.is_finished());
    clock.advance_ms(1);
    second.await.unwrap().unwrap();
    assert_eq!(log.log.flushes(), before + 2);
    disk.crash(Crash::Drop);
    let mut log = open(&disk).await;
    assert_eq!(shown(&mut log).await.len(), 4);
}

/// A CLOSE that its client waits for, beside an OPEN of the file, has a flush at once.
#[tokio::test]
async fn close_that_is_waited_for_is_flushed_at_once() {
    let (disk, clock) = (MemoryDisk::new(), Arc::new(ManualClock::new(0)));
    let mut log = open_with(&disk, &clock).await;
    let waited_for =
        |index| RaftEntry { log_id: log_id(1, index), payload: EntryPayload::Normal(encoded_close()) };
    log.blocking_append([waited_for(0)]).await.unwrap();
    assert_eq!(log.log.flushes(), 1);
    // It is behind an unhurried entry, which becomes durable with it.
    let mut own = log.clone();
    let unhurried = tokio::spawn(async move { own.blocking_append([close_entry(1)]).await });
    settle().await;
    log.blocking_append([waited_for(2)]).await.unwrap();
    unhurried.await.unwrap().unwrap();
    assert_eq!(log.log.flushes(), 2);
}

/// Where others have copies of the log, a CLOSE is waited for: it has a flush of its own at once.
#[tokio::test]
async fn close_is_flushed_at_once_with_replicas() {
    let disk = MemoryDisk::new();
    let log = open_groups(&disk, Arc::new(ManualClock::new(0)), 1, false).await.unwrap();
    log.group(0).blocking_append([close_entry(0)]).await.unwrap();
    assert_eq!(log.flushes(), 1);
}

/// A flush of any group covers the waiting entries of another group.
#[tokio::test]
async fn close_rides_with_another_group() {
    let disk = MemoryDisk::new();
    let log = open_groups(&disk, Arc::new(ManualClock::new(0)), 2, true).await.unwrap();
    let mut first = log.group(0);
    let close = tokio::spawn(async move { first.blocking_append([close_entry(0)]).await });
    settle().await;
    assert!(!close.is_finished());
    log.group(1).blocking_append(entries(1, 0..1, 10)).await.unwrap();
    close.await.unwrap().unwrap();
    assert_eq!(log.flushes(), 1);
}

/// When the disk fails, waiting unhurried entries get the error as well.
#[tokio::test]
async fn close_gets_the_error_of_a_failed_flush() {
    let (disk, clock) = (MemoryDisk::new(), Arc::new(ManualClock::new(0)));
    let mut log = open_with(&disk, &clock).await;
    log.blocking_append(entries(1, 0..1, 10)).await.unwrap();
    let mut own = log.clone();
    let close = tokio::spawn(async move { own.blocking_append([close_entry(1)]).await });
    settle().await;
    disk.fail_sync(0, io::ErrorKind::Other);
    assert!(log.blocking_append(entries(1, 2..3, 10)).await.is_err());
    assert!(close.await.unwrap().is_err());
}

mod groups;
