//! Several groups on one log: crashes at any write, cuts, and a group that is idle for long.

use std::collections::BTreeMap;

use super::*;

const GROUPS: usize = 4;

async fn open_all(disk: &MemoryDisk) -> SharedLog {
    open_groups(disk, Arc::new(ManualClock::new(0)), GROUPS, true).await.unwrap()
}

/// A group's state that must survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Promised {
    vote: Option<u64>,
    purged: Option<u64>,
    entries: Vec<(u64, u64)>,
}

async fn promised(log: &SharedLog, group: usize) -> Promised {
    let mut own = log.group(group);
    Promised {
        vote: own.read_vote().await.unwrap().map(|vote| vote.leader_id.term),
        purged: own.get_log_state().await.unwrap().last_purged_log_id.map(|id| id.index()),
        entries: shown(&mut own).await,
    }
}

/// A deterministic sequence of pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Does one operation to a group, and updates its model.
async fn step(log: &SharedLog, group: usize, model: &mut Promised, dice: &mut Dice) {
    let mut own = log.group(group);
    let next = model.entries.last().map(|(_, index)| *index).or(model.purged).map_or(0, |last| last + 1);
    let term = model.vote.unwrap_or(0).max(1);
    match dice.below(12) {
        0 => {
            own.save_vote(&vote(term + 1)).await.unwrap();
            model.vote = Some(term + 1);
        }
        1 if 1 < model.entries.len() => {
            let (kept_term, kept) = model.entries[model.entries.len() / 2];
            own.truncate_after(Some(log_id(kept_term, kept))).await.unwrap();
            model.entries.retain(|(_, index)| *index <= kept);
        }
        2 if !model.entries.is_empty() => {
            let (cut_term, cut) = model.entries[model.entries.len() / 2];
            own.purge(log_id(cut_term, cut)).await.unwrap();
            log.inner.wal.sync().await.unwrap();
            model.entries.retain(|(_, index)| cut < *index);
            model.purged = Some(cut);
        }
        3 => own.renew().await.unwrap(),
        4 => log.inner.wal.roll().await.unwrap(),
        _ => {
            let count = 1 + dice.below(3);
            own.blocking_append(entries(term, next..next + count, 300)).await.unwrap();
            model.entries.extend((next..next + count).map(|index| (term, index)));
        }
    }
}

/// After any operations on any groups, a crash loses nothing that was durable, of any group.
#[tokio::test]
async fn crashes_take_nothing_back() {
    for seed in 0..40 {
        let (disk, mut dice) = (MemoryDisk::new(), Dice(seed));
        let mut models = vec![Promised::default(); GROUPS];
        for life in 0..6 {
            let log = open_all(&disk).await;
            for (group, model) in models.iter().enumerate() {
                assert_eq!(promised(&log, group).await, *model, "seed {seed}, life {life}, group {group}");
            }
            for _ in 0..dice.below(40) {
                let group = usize::try_from(dice.below(GROUPS as u64)).unwrap();
                step(&log, group, &mut models[group], &mut dice).await;
                settle().await;
            }
            log.drop_segments().await;
            disk.crash(match dice.below(3) {
                0 => Crash::Drop,
                1 => Crash::Keep,
                _ => Crash::Tear { seed },
            });
        }
    }
}

/// A crash during a renewal, a purge or appends of several groups at once: each group has what was
/// durable, and perhaps some of the operations under way.
#[tokio::test]
async fn torn_renewals_change_nothing() {
    for seed in 0..60 {
        let disk = MemoryDisk::new();
        let log = open_all(&disk).await;
        let mut before = BTreeMap::new();
        for group in 0..GROUPS {
            let mut own = log.group(group);
            own.save_vote(&vote(3)).await.unwrap();
            own.blocking_append(entries(1, 0..20, 700)).await.unwrap();
            own.purge(log_id(1, group as u64)).await.unwrap();
            log.inner.wal.roll().await.unwrap();
            own.blocking_append(entries(3, 20..30, 700)).await.unwrap();
            settle().await;
            before.insert(group, promised(&log, group).await);
        }
        for group in 0..GROUPS {
            let own = log.group(group);
            tokio::spawn(async move { own.renew().await });
        }
        for _ in 0..seed {
            tokio::task::yield_now().await;
        }
        disk.crash(Crash::Tear { seed });
        let log = open_all(&disk).await;
        for (group, before) in &before {
            assert_eq!(promised(&log, *group).await, *before, "seed {seed}, group {group}");
        }
    }
}

/// Groups that are idle for long do not keep the log from being cut once they are renewed, and lose
/// nothing by it.
#[tokio::test]
async fn idle_group_is_renewed() {
    let disk = MemoryDisk::new();
    let log = open_all(&disk).await;
    let (mut idle, mut busy) = (log.group(1), log.group(2));
    idle.save_vote(&vote(7)).await.unwrap();
    idle.blocking_append(entries(5, 0..30, 100)).await.unwrap();
    idle.purge(log_id(5, 9)).await.unwrap();
    // A group with only a vote.
    log.group(3).save_vote(&vote(2)).await.unwrap();
    busy.save_vote(&vote(1)).await.unwrap();
    let all = [promised(&log, 1).await, promised(&log, 3).await];
    let (bytes, mut longest, mut renewed) = (1 << 20, 0, 0);
    for index in 0..600 {
        busy.blocking_append(entries(1, index..index + 1, bytes)).await.unwrap();
        if index % 20 == 19 {
            busy.purge(log_id(1, index)).await.unwrap();
            log.inner.wal.sync().await.unwrap();
            settle().await;
        }
        for (group, far) in log.lagging() {
            assert_ne!(group, 2, "it is not idle");
            if far {
                log.group(group).renew().await.unwrap();
                renewed += 1;
            }
        }
        longest = longest.max(log.inner.wal.segments().len() as u64);
    }
    assert!(2 <= renewed, "{renewed} renewals");
    assert!(longest <= 2 * (LOG_LAG_SEGMENTS + 2) + 3, "{longest} segments at once");
    disk.crash(Crash::Drop);
    let log = open_all(&disk).await;
    assert_eq!([promised(&log, 1).await, promised(&log, 3).await], all);
    let mut idle = log.group(1);
    idle.blocking_append(entries(7, 30..31, 1)).await.unwrap();
    assert_eq!(shown(&mut idle).await.len(), 21);
}

/// A purge record may precede entries that it left and a later purge cut. They went with their
/// segment, and only that later record covers them.
#[tokio::test]
async fn entries_cut_later_may_be_gone() {
    let disk = MemoryDisk::new();
    let log = open_all(&disk).await;
    let mut own = log.group(0);
    own.blocking_append(entries(1, 0..20, 10)).await.unwrap();
    log.inner.wal.roll().await.unwrap();
    own.purge(log_id(1, 9)).await.unwrap();
    own.blocking_append(entries(1, 20..25, 10)).await.unwrap();
    log.inner.wal.roll().await.unwrap();
    own.purge(log_id(1, 19)).await.unwrap();
    log.inner.wal.sync().await.unwrap();
    settle().await;
    assert_eq!(log.inner.wal.segments().len(), 2, "the first segment is dropped");
    disk.crash(Crash::Drop);
    let log = open_all(&disk).await;
    let left = promised(&log, 0).await;
    assert_eq!((left.purged, left.entries.len()), (Some(19), 5));
}

/// Appends of all groups during a flush share the next one.
#[tokio::test]
async fn groups_share_flushes() {
    let disk = MemoryDisk::new();
    let log = open_all(&disk).await;
    let appends = (0..GROUPS).map(|group| {
        let mut own = log.group(group);
        async move { own.blocking_append(entries(1, 0..1, 100)).await.unwrap() }
    });
    futures_util::future::join_all(appends).await;
    assert!(log.flushes() < GROUPS as u64, "{} flushes", log.flushes());
}

/// A log with one group's records, as an earlier version wrote it, is group 0's.
#[tokio::test]
async fn log_of_one_group_is_group_zero() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).await;
    log.save_vote(&vote(4)).await.unwrap();
    log.blocking_append(entries(4, 0..3, 10)).await.unwrap();
    disk.crash(Crash::Drop);
    let log = open_all(&disk).await;
    assert_eq!(promised(&log, 0).await.entries.len(), 3);
    for group in 1..GROUPS {
        assert_eq!(promised(&log, group).await, Promised::default());
    }
    log.group(3).save_vote(&vote(1)).await.unwrap();
    disk.crash(Crash::Drop);
    let fewer = open_groups(&disk, Arc::new(ManualClock::new(0)), 3, true).await;
    assert!(matches!(fewer, Err(LogOpenError::Replay(ReplayError::NoSuchGroup { shard: 3, shards: 3 }))));
}
