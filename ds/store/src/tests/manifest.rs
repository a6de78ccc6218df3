//! Segments that are gone are missed, and how far a journal went is known after every crash, and
//! not made up by starting again.

use std::io;
use std::path::{Path, PathBuf};

use env::Disk;
use env::memory::{Crash, MemoryDisk};

use super::damage::journal_files;
use super::*;
use crate::OpenError;
use crate::limits::SEGMENTS_LISTED_MAX;
use crate::manifest::Manifest;
use crate::open::found_now;

async fn try_open(disk: &MemoryDisk, accept_damage: bool) -> Result<Store, OpenError> {
    let config = StoreConfig { accept_damage, ..config(16 << 20) };
    Store::open(&env_of(disk, 3), &config, no_images()).await
}

/// A store with several segments, closed.
async fn closed() -> (MemoryDisk, Vec<PathBuf>) {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    for ino in 1..=20 {
        store.write(extent(ino), Epoch(1), 0, bytes(7, 20_000), Stability::Synced).await.unwrap();
    }
    store.close().await.unwrap();
    let files: Vec<PathBuf> = journal_files(&disk).await.into_iter().map(|(path, _)| path).collect();
    assert!(5 < files.len());
    (disk, files)
}

#[tokio::test]
async fn a_segment_that_is_gone_is_missed() {
    let (disk, files) = closed().await;
    // The list is made at a start, so those of the last start are known from then on.
    try_open(&disk, false).await.unwrap().close().await.unwrap();
    for gone in [&files[..1], &files[2..4], &files[..]] {
        let copy = disk.after_crash(Crash::Keep);
        for path in gone {
            // The last one may have been room for more.
            let _ = copy.remove(path).await;
        }
        let refused = try_open(&copy, false).await.err().unwrap();
        let is_all = gone.len() == files.len();
        assert!(
            matches!(&refused, OpenError::SegmentsGone { segments, listed, .. }
                if *segments == gone.len() || (is_all && segments == listed)),
            "{refused}"
        );
        let accepted = try_open(&copy, true).await.unwrap();
        assert!(accepted.claim().await.is_loss_accepted);
        accepted.close().await.unwrap();
        try_open(&copy, false).await.unwrap();
    }
}

/// Segments that compaction drops are not missed, and the journal went as far as it went.
#[tokio::test]
async fn a_journal_that_was_emptied_is_whole() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    store.judged().await.unwrap();
    for ino in 1..=20 {
        store.write(extent(ino), Epoch(1), 0, bytes(7, 20_000), Stability::Synced).await.unwrap();
    }
    for ino in 1..=20 {
        store.drop_extent(extent(ino), Epoch(2)).await.unwrap();
    }
    let before = store.durable_end();
    let segments = store.complete_segments().await.unwrap();
    for segment in segments {
        // The compactor may be at it.
        let _ = store.inner.empty(segment).await;
    }
    store.close().await.unwrap();
    for _ in 0..3 {
        let again = try_open(&disk, false).await.unwrap();
        assert!(before <= again.claim().await.found, "{:?}", again.claim().await);
        again.write(extent(1), Epoch(3), 0, bytes(1, 10), Stability::Synced).await.unwrap();
        assert!(before < again.durable_end(), "what comes next has higher places");
        disk.crash(Crash::Drop);
    }
}

/// Whatever a power cut leaves, all that was synced is in what is found.
#[tokio::test]
async fn what_was_synced_is_found_after_a_power_cut() {
    for seed in 0..40 {
        let disk = MemoryDisk::new();
        let mut known = crate::LogEnd::default();
        for start in 0..4 {
            let store = open(&disk, seed * 10 + start).await;
            let found = store.claim().await.found;
            assert!(known <= found, "seed {seed}: {known:?} was synced, and {found:?} is found");
            for turn in 0..seed % 7 + start {
                let stability = if turn % 2 == 0 { Stability::Synced } else { Stability::Unstable };
                store.write(extent(turn), Epoch(1), 0, bytes(3, 9_000), stability).await.unwrap();
            }
            store.judged().await.unwrap();
            known = store.durable_end();
            store.write(extent(99), Epoch(1), 0, bytes(4, 5_000), Stability::Unstable).await.unwrap();
            disk.crash(Crash::Tear { seed: seed * 100 + start });
        }
    }
}

/// To start an older copy again and again makes nothing more of it, whatever it writes meanwhile.
#[tokio::test]
async fn starts_that_were_not_judged_prove_nothing() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    store.write(extent(1), Epoch(1), 0, bytes(1, 100), Stability::Synced).await.unwrap();
    store.judged().await.unwrap();
    let copy = disk.after_crash(Crash::Keep);
    store.write(extent(1), Epoch(1), 0, bytes(2, 100), Stability::Synced).await.unwrap();
    let acknowledged = store.durable_end();
    assert_eq!(store.claim().await.found, acknowledged);
    for seed in 2..6 {
        let old = open(&copy, seed).await;
        old.write(extent(2), Epoch(1), 0, bytes(3, 50_000), Stability::Synced).await.unwrap();
        old.write(extent(3), Epoch(1), 0, bytes(3, 50_000), Stability::Synced).await.unwrap();
        assert!(acknowledged < old.durable_end());
        assert!(old.claim().await.found < acknowledged, "start {seed}");
        old.close().await.unwrap();
    }
    let judged = open(&copy, 9).await;
    judged.judged().await.unwrap();
    assert_eq!(judged.claim().await.found, judged.durable_end());
}

/// A store of an earlier version has no list: it is made.
#[tokio::test]
async fn a_store_without_a_list_gets_one() {
    let (disk, files) = closed().await;
    disk.remove(Path::new("/store/segments")).await.unwrap();
    try_open(&disk, false).await.unwrap().close().await.unwrap();
    disk.remove(&files[1]).await.unwrap();
    assert!(matches!(try_open(&disk, false).await, Err(OpenError::SegmentsGone { segments: 1, .. })));
}

/// Without room for a list, segments are dropped all the same, and a start is possible.
#[tokio::test]
async fn a_full_disk_keeps_no_segment_and_no_start() {
    let (disk, _) = closed().await;
    let store = try_open(&disk, false).await.unwrap();
    disk.set_capacity(0);
    let first = store.inner.segment_uses()[0].segment;
    store.inner.unlist_segment(first).await.unwrap();
    store.inner.wal.drop_segment(first).await.unwrap();
    disk.crash(Crash::Drop);
    let again = try_open(&disk, false).await.unwrap();
    assert!(!again.has_segment(first));
}

/// The file may have what could not be saved: a segment that is dropped next is taken off it all
/// the same.
#[tokio::test]
async fn what_a_failed_save_may_have_left_is_written_over() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    for ino in 1..=20 {
        store.write(extent(ino), Epoch(1), 0, bytes(7, 20_000), Stability::Synced).await.unwrap();
    }
    // The sync of the directory, when the file has its name.
    disk.fail_sync(1, io::ErrorKind::Other);
    store.inner.list_segments().await.unwrap_err();
    let first = store.inner.segment_uses()[0].segment;
    store.inner.unlist_segment(first).await.unwrap();
    store.inner.wal.drop_segment(first).await.unwrap();
    store.close().await.unwrap();
    let again = try_open(&disk, false).await.unwrap();
    assert!(!again.has_segment(first));
}

/// Until it is on stable storage that a store was judged, it is to be judged by what was found, and
/// the loss is accepted.
#[tokio::test]
async fn a_judgement_that_is_not_saved_does_not_count() {
    let disk = MemoryDisk::new();
    let store = try_open(&disk, true).await.unwrap();
    let before = store.claim().await;
    store.write(extent(1), Epoch(1), 0, bytes(1, 100), Stability::Synced).await.unwrap();
    for after in 0..2 {
        disk.fail_sync(after, io::ErrorKind::Other);
        store.judged().await.unwrap_err();
        assert_eq!(store.claim().await, before);
        assert!(before.is_loss_accepted);
    }
    store.judged().await.unwrap();
    assert!(!store.claim().await.is_loss_accepted);
    assert_eq!(store.claim().await.found, store.durable_end());
}

/// A store of an earlier version has no list, and none that says that it is to be judged: without
/// room for one it is judged all the same.
#[tokio::test]
async fn a_store_without_a_list_and_without_room_is_judged() {
    let (disk, _) = closed().await;
    disk.remove(Path::new("/store/segments")).await.unwrap();
    disk.sync_dir(Path::new("/store")).await.unwrap();
    disk.set_capacity(0);
    let store = try_open(&disk, false).await.unwrap();
    store.judged().await.unwrap();
    assert_eq!(store.claim().await.found, store.durable_end());
    // What is found later is no less.
    let acknowledged = store.durable_end();
    disk.crash(Crash::Drop);
    let again = try_open(&disk, false).await.unwrap();
    assert!(acknowledged <= again.claim().await.found);
}

/// A list that a start makes can be read by the next one.
#[test]
fn a_start_lists_no_more_than_it_reads() {
    let there = (0..=SEGMENTS_LISTED_MAX as u64).collect();
    let made = found_now(Manifest::default(), there, crate::LogEnd::default(), false).unwrap();
    assert_eq!(made.segments.len(), SEGMENTS_LISTED_MAX);
}
