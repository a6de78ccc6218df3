//! What stands twice is made good from the other place; what surrounds the payloads of the journal
//! is looked at, and costs no start.

use std::path::{Path, PathBuf};

use env::Disk;
use env::memory::{Crash, MemoryDisk};

use super::damage::journal_files;
use super::images::Bed;
use super::*;
use crate::OpenError;

const SUPERBLOCKS: [&str; 2] = ["/store/superblock", "/store/superblock.copy"];

async fn try_open(disk: &MemoryDisk) -> Result<Store, OpenError> {
    Store::open(&env_of(disk, 2), &config(16 << 20), no_images()).await
}

/// A store of eight extents, closed, and the one segment of its journal.
async fn closed() -> (MemoryDisk, PathBuf, u64) {
    let disk = MemoryDisk::new();
    let store = Store::open(&env_of(&disk, 1), &crate::StoreConfig::new("/store", 64 << 20), no_images())
        .await
        .unwrap();
    for ino in 1..=8 {
        store.write(extent(ino), Epoch(1), 0, bytes(9, 30_000), Stability::Synced).await.unwrap();
    }
    store.fence(extent(8), Epoch(5)).await.unwrap();
    store.close().await.unwrap();
    let mut files = journal_files(&disk).await;
    let (path, length) = files.swap_remove(0);
    (disk, path, length)
}

async fn all_are_there(store: &Store) {
    for ino in 1..=8 {
        assert_eq!(read_all(store, extent(ino), 0, 30_000).await, vec![9; 30_000]);
    }
    assert_eq!(store.size(extent(8)).epoch, Epoch(5));
}

/// Waits until compaction has given a segment back.
async fn gone(store: &Store, segment: u64) {
    for _ in 0..100_000 {
        if !store.has_segment(segment) {
            return;
        }
        tokio::task::yield_now().await;
    }
    let uses = store.inner.segment_uses();
    panic!("segment {segment} stays: {uses:?}");
}

#[tokio::test]
async fn one_of_two_superblocks_is_enough() {
    for name in SUPERBLOCKS {
        for is_gone in [true, false] {
            let (disk, ..) = closed().await;
            let path = Path::new(name);
            if is_gone {
                disk.remove(path).await.unwrap()
            } else {
                disk.corrupt(path, 20, 1)
            }
            let store = try_open(&disk).await.unwrap();
            all_are_there(&store).await;
            let is_old = is_gone && name == SUPERBLOCKS[1];
            assert_eq!(store.found_bad_at_start(), u64::from(!is_old), "a store of before has one file");
            store.close().await.unwrap();
            disk.crash(Crash::Drop);
            let other = SUPERBLOCKS.into_iter().find(|other| *other != name).unwrap();
            disk.remove(Path::new(other)).await.unwrap();
            assert!(try_open(&disk).await.is_ok(), "{name} was rewritten");
        }
    }
}

#[tokio::test]
async fn without_a_right_superblock_a_journal_stays_shut() {
    let (disk, ..) = closed().await;
    SUPERBLOCKS.into_iter().for_each(|name| disk.corrupt(Path::new(name), 20, 1));
    assert!(matches!(try_open(&disk).await.err(), Some(OpenError::Superblock(_))));
    disk.remove(Path::new(SUPERBLOCKS[0])).await.unwrap();
    assert!(matches!(try_open(&disk).await.err(), Some(OpenError::Superblock(_))));
    disk.remove(Path::new(SUPERBLOCKS[1])).await.unwrap();
    assert!(matches!(try_open(&disk).await.err(), Some(OpenError::Headless)));
    // The copy of another store.
    let (disk, ..) = closed().await;
    let other = MemoryDisk::new();
    open(&other, 77).await.close().await.unwrap();
    let file = other.open(Path::new(SUPERBLOCKS[1]), env::OpenMode::READ).await.unwrap();
    let bytes = file.read_at(0, 64).await.unwrap();
    let file = disk.open(Path::new(SUPERBLOCKS[1]), env::OpenMode::WRITE).await.unwrap();
    file.write_at(vec![bytes], 0).await.unwrap();
    assert!(matches!(try_open(&disk).await.err(), Some(OpenError::TwoStores { .. })));
}

#[tokio::test]
async fn superblocks_are_made_good_while_the_store_is_open() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    assert_eq!(store.check_superblock().await.unwrap(), 0);
    disk.corrupt(Path::new(SUPERBLOCKS[0]), 63, 0x80);
    disk.remove(Path::new(SUPERBLOCKS[1])).await.unwrap();
    assert_eq!(store.check_superblock().await.unwrap(), 2);
    assert_eq!(store.check_superblock().await.unwrap(), 0);
}

#[tokio::test]
async fn a_start_needs_no_header_block_no_footer_and_no_payload() {
    let header = |disk: &MemoryDisk, path: &Path, _: u64| disk.corrupt(path, 33, 1);
    let footer = |disk: &MemoryDisk, path: &Path, length: u64| disk.corrupt(path, length - 30, 1);
    let entries = |disk: &MemoryDisk, path: &Path, length: u64| disk.corrupt(path, length - 4096 + 70, 1);
    let both = |disk: &MemoryDisk, path: &Path, length: u64| {
        disk.corrupt(path, 33, 1);
        (0..4096).for_each(|at| disk.corrupt(path, length - 1 - at, 0x55));
    };
    for damage in [header, footer, entries, both] {
        let (disk, path, length) = closed().await;
        damage(&disk, &path, length);
        let store = try_open(&disk).await.unwrap();
        assert!(0 < store.found_bad_at_start());
        all_are_there(&store).await;
        gone(&store, 1).await;
        all_are_there(&store).await;
        store.close().await.unwrap();
        let store = try_open(&disk).await.unwrap();
        assert_eq!(store.found_bad_at_start(), 0);
        all_are_there(&store).await;
    }
}

#[tokio::test]
async fn payload_that_is_bad_without_a_footer_is_refused_to_readers_and_fetched_from_elsewhere() {
    let (disk, path, length) = closed().await;
    disk.corrupt(&path, length - 30, 1);
    // The third record's: header and table are right.
    let file = disk.open(&path, env::OpenMode::READ).await.unwrap();
    let third = file.read_at(0, 1 << 20).await.unwrap();
    let third =
        third.chunks(4096).enumerate().filter(|(_, block)| block.starts_with(b"WREC")).nth(2).unwrap().0;
    disk.corrupt(&path, third as u64 * 4096 + 5_000, 1);
    let store = try_open(&disk).await.unwrap();
    assert!(store.read(extent(3), Epoch(1), 0, 30_000).await.is_err());
    assert_eq!(read_all(&store, extent(4), 0, 30_000).await, vec![9; 30_000]);
    let bad = store.check(extent(3), 1).await.bad;
    assert_eq!((bad.len(), bad[0].segment), (1, 1));
    store.restore(extent(3), bad[0].offset, bad[0].sequence, vec![9; 30_000].into()).await.unwrap();
    gone(&store, 1).await;
    all_are_there(&store).await;
}

#[tokio::test]
async fn a_segment_is_looked_at_all_round_its_payloads() {
    let (disk, path, length) = closed().await;
    let store = try_open(&disk).await.unwrap();
    let segments = store.complete_segments().await.unwrap();
    assert_eq!(segments, [1]);
    let (bad, bytes) = store.check_segment(1).await.unwrap();
    assert!(bad == 0 && 8 * 64 < bytes);
    assert_eq!(store.check_segment(99).await.unwrap(), (0, 0), "what is gone is not bad");
    // Header block, trailer, entries; the header of the first record.
    for at in [5, 59, length - 1, length - 64, length - 4096, 4096, 4096 + 63] {
        let disk = disk.after_crash(Crash::Keep);
        let store = try_open(&disk).await.unwrap();
        disk.corrupt(&path, at, 0x10);
        assert_eq!(store.check_segment(1).await.unwrap().0, 1, "byte {at}");
        // A record with a bad header cannot be moved before it is said again.
        for run in store.check(extent(1), 0).await.bad {
            store.restore(extent(1), run.offset, run.sequence, vec![9; 30_000].into()).await.unwrap();
        }
        gone(&store, 1).await;
        all_are_there(&store).await;
    }
    // Padding is no record's.
    disk.corrupt(&path, 100, 1);
    assert_eq!(store.check_segment(1).await.unwrap().0, 0);
}

#[tokio::test]
async fn a_record_of_an_image_is_said_again() {
    let mut world = Bed::new().await;
    world.write(1, 0, 7, 100_000).await;
    let (sequence, image) = world.seal(1).await;
    world.write(1, 50, 8, 10).await;
    let (store, disk) = (world.store.clone(), world.disk.clone());
    for (path, _) in journal_files(&disk).await {
        let file = disk.open(&path, env::OpenMode::READ).await.unwrap();
        let file = file.read_at(0, 1 << 26).await.unwrap();
        let wanted = image.encode();
        let at = file.windows(64).position(|window| window == &wanted[..]);
        at.into_iter().for_each(|at| disk.corrupt(&path, at as u64 + 20, 1));
    }
    let bad = store.check(extent(1), 0).await.bad;
    assert!(bad.len() == 1 && bad[0].is_image_record && bad[0].sequence == sequence);
    let longer = crate::ImageRef { content_bytes: image.content_bytes + 1, ..image };
    assert!(store.restore_image(extent(1), sequence, &longer).await.is_err());
    assert!(store.restore_image(extent(1), sequence + 9, &image).await.is_err());
    store.restore_image(extent(1), sequence, &image).await.unwrap();
    assert_eq!(store.check(extent(1), 0).await.bad, []);
    store.inner.index.check();
    let summary = store.inner.index.summary();
    drop(store);
    // The later of two records of one image counts at a start as well.
    world.crash().await;
    assert_eq!(world.store.inner.index.summary(), summary);
    assert_eq!(world.store.check(extent(1), 0).await.bad, []);
    assert_eq!(world.store.image(extent(1)).await.unwrap(), Some((sequence, image)));
    let mut expected = vec![7; 100_000];
    expected[50..60].fill(8);
    assert!(read_all(&world.store, extent(1), 0, 100_000).await == expected);
}
