//! Damage gives errors, never wrong bytes; a failed disk gives errors, never a false OK.

use std::path::{Path, PathBuf};

use env::memory::MemoryDisk;
use env::{Disk, OpenMode};

use super::*;
use crate::OpenError;

pub(super) async fn journal_files(disk: &MemoryDisk) -> Vec<(PathBuf, u64)> {
    let dir = Path::new("/store/journal");
    let mut files = Vec::new();
    for name in disk.list(dir).await.unwrap() {
        let path = dir.join(name);
        let length = disk.open(&path, OpenMode::READ).await.unwrap().len().await.unwrap();
        files.push((path, length));
    }
    files
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_where_it_is_and_nowhere_else() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    let pattern: Vec<u8> = (0..40_000u32).map(|at| (at % 251) as u8 + 1).collect();
    store.write(extent(1), Epoch(1), 0, vec![pattern.clone().into()], Stability::Synced).await.unwrap();
    // The payload begins at a block of the file: find it by its first bytes.
    let mut hit = None;
    for (path, length) in journal_files(&disk).await {
        let file = disk.open(&path, OpenMode::READ).await.unwrap();
        for block in 0..length / 4096 {
            if file.read_at(block * 4096, 4096).await.unwrap() == pattern[..4096] {
                hit = Some((path.clone(), block * 4096));
            }
        }
    }
    let (path, start) = hit.expect("aligned payload");
    disk.corrupt(&path, start + 3 * 4096 + 17, 0x40);
    assert!(store.read(extent(1), Epoch(1), 3 * 4096, 4096).await.is_err());
    assert!(store.read(extent(1), Epoch(1), 0, 40_000).await.is_err());
    assert_eq!(store.usage().bad_blocks, 2);
    assert_eq!(read_all(&store, extent(1), 0, 3 * 4096).await, pattern[..3 * 4096]);
    assert_eq!(read_all(&store, extent(1), 4 * 4096, 20_000).await, pattern[4 * 4096..4 * 4096 + 20_000]);
}

#[tokio::test]
async fn a_damaged_record_keeps_its_segment() {
    let disk = MemoryDisk::new();
    let store = Store::open(&env_of(&disk, 1), &config(2 << 20), no_images()).await.unwrap();
    store.write(extent(1), Epoch(1), 0, bytes(9, 40_000), Stability::Synced).await.unwrap();
    let (path, _) = journal_files(&disk).await.swap_remove(0);
    disk.corrupt(&path, 20_000, 1);
    // The rest of the segment dies, so it would be emptied.
    for _ in 0..100 {
        store.write(extent(2), Epoch(1), 0, bytes(1, 20_000), Stability::Synced).await.unwrap();
        store.inner.wake.notify_one();
        tokio::task::yield_now().await;
    }
    assert!(store.read(extent(1), Epoch(1), 0, 40_000).await.is_err(), "not zeros");
    assert_eq!(read_all(&store, extent(1), 24_000, 10_000).await, [9; 10_000]);
}

#[tokio::test]
async fn durable_records_that_are_damaged_keep_a_store_shut() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    for ino in 1..=8 {
        store.write(extent(ino), Epoch(1), 0, bytes(9, 30_000), Stability::Synced).await.unwrap();
    }
    store.close().await.unwrap();
    disk.crash(env::memory::Crash::Keep);
    let (path, length) = journal_files(&disk).await.swap_remove(0);
    // The footer and the first record's header.
    (0..4096).for_each(|at| disk.corrupt(&path, length - 1 - at, 0xff));
    (0..64).for_each(|at| disk.corrupt(&path, 4096 + at, 0xff));
    let opened = Store::open(&env_of(&disk, 2), &config(16 << 20), no_images()).await;
    let error = opened.err();
    assert!(matches!(error, Some(OpenError::Damaged { .. })), "{error:?}");
    let forced = crate::StoreConfig { accept_damage: true, ..config(16 << 20) };
    let store = Store::open(&env_of(&disk, 2), &forced, no_images()).await.unwrap();
    assert_eq!(read_all(&store, extent(8), 0, 30_000).await, vec![9; 30_000]);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_promised() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    store.write(extent(1), Epoch(1), 0, bytes(9, 100), Stability::Unstable).await.unwrap();
    disk.fail_sync(0, std::io::ErrorKind::Other);
    assert!(matches!(store.commit(extent(1), Epoch(1)).await, Err(ChangeError::Failed(_))));
    assert!(store.commit(extent(1), Epoch(1)).await.is_err(), "a second try does not make it good");
    assert!(store.write(extent(1), Epoch(1), 0, bytes(9, 100), Stability::Synced).await.is_err());
    assert!(store.fence(extent(1), Epoch(2)).await.is_err());
    assert!(store.close().await.is_err());
}
