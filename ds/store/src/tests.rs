//! The store against arrays of bytes, over a disk in memory that crashes.

mod adopt;
mod copies;
mod crash;
mod cut;
mod damage;
mod images;
mod manifest;
mod model;
mod rest;
mod ripe;
mod scrub;
mod space;
mod structure;
mod thaw;

use std::sync::Arc;

use bytes::Bytes;
use env::Env;
use env::memory::net::MemoryNet;
use env::memory::{MemoryDisk, SeededEntropy};
use env::os::OsClock;
use layout::{Epoch, ExtentId};

use crate::{ChangeError, ImageSource, NoImages, Stability, Store, StoreConfig};

pub(crate) const KIB: u64 = 1 << 10;

pub(crate) fn env_of(disk: &MemoryDisk, seed: u64) -> Env {
    Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(SeededEntropy::new(seed)),
        // What still runs of a store that a crash has ended must not write any more.
        disk: Arc::new(disk.mount()),
        net: Arc::new(MemoryNet::new()),
    }
}

pub(crate) fn config(capacity_bytes: u64) -> StoreConfig {
    StoreConfig { segment_bytes: 64 * KIB, ..StoreConfig::new("/store", capacity_bytes) }
}

pub(crate) fn no_images() -> Arc<dyn ImageSource> {
    Arc::new(NoImages)
}

pub(crate) async fn open(disk: &MemoryDisk, seed: u64) -> Store {
    Store::open(&env_of(disk, seed), &config(16 << 20), no_images()).await.unwrap()
}

pub(crate) fn extent(ino: u64) -> ExtentId {
    ExtentId { ino, index: 0 }
}

pub(crate) fn bytes(fill: u8, length: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![fill; length])]
}

pub(crate) async fn read_all(store: &Store, extent: ExtentId, offset: u32, length: u32) -> Vec<u8> {
    let epoch = store.size(extent).epoch.max(store.inner.index.forgotten_epoch(extent));
    let mut all = Vec::new();
    while all.len() < length as usize {
        let at = offset + all.len() as u32;
        let found = store.read(extent, epoch, at, length - all.len() as u32).await.unwrap();
        assert!(0 < found.bytes);
        found.data.iter().for_each(|piece| all.extend_from_slice(piece));
    }
    all
}

#[tokio::test]
async fn a_store_keeps_its_identity_and_changes_its_verifier() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    let (uuid, instance) = (store.uuid(), store.instance());
    store.close().await.unwrap();
    let again = open(&disk, 2).await;
    assert_eq!(again.uuid(), uuid);
    assert_ne!(again.instance(), instance);
}

#[tokio::test]
async fn stale_epochs_are_refused_and_higher_ones_remembered() {
    let store = open(&MemoryDisk::new(), 1).await;
    let one = extent(1);
    store.write(one, Epoch(2), 0, bytes(6, 100), Stability::Unstable).await.unwrap();
    store.write(one, Epoch(1), 0, bytes(7, 100), Stability::Unstable).await.unwrap();
    assert_eq!(store.size(one).epoch, Epoch(2), "a higher epoch was seen, which fences no handle");
    store.fence(one, Epoch(2)).await.unwrap();
    let stale = store.write(one, Epoch(1), 0, bytes(8, 100), Stability::Unstable).await;
    assert!(matches!(stale, Err(ChangeError::Stale { known: Epoch(2) })), "{stale:?}");
    assert!(matches!(store.commit(one, Epoch(1)).await, Err(ChangeError::Stale { .. })));
    assert!(store.read(one, Epoch(1), 0, 10).await.is_err());
    assert_eq!(store.fence(one, Epoch(5)).await.unwrap(), Epoch(5));
    assert_eq!(store.fence(one, Epoch(3)).await.unwrap(), Epoch(5), "epochs only go up");
    assert!(store.read(one, Epoch(4), 0, 10).await.is_err());
    assert_eq!(store.read(one, Epoch(6), 0, 200).await.unwrap().end, 100);
    assert_eq!(store.read(one, Epoch(5), 0, 200).await.unwrap().end, 100);
    assert_eq!(store.size(one).epoch, Epoch(6));
    assert_eq!(store.fence(extent(9), Epoch(4)).await.unwrap(), Epoch(4), "never heard of");
    assert_eq!(store.drop_extent(extent(8), Epoch(4)).await.unwrap(), Epoch(4), "never heard of");
}

#[tokio::test]
async fn fences_cuts_and_drops_survive_a_crash() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    for ino in 1..=3 {
        store.write(extent(ino), Epoch(1), 0, bytes(7, 100), Stability::Unstable).await.unwrap();
    }
    store.fence(extent(1), Epoch(4)).await.unwrap();
    store.cut(extent(2), Epoch(4), 50).await.unwrap();
    store.drop_extent(extent(3), Epoch(4)).await.unwrap();
    disk.crash(env::memory::Crash::Drop);
    let store = open(&disk, 2).await;
    for (ino, end) in [(1, 100), (2, 50), (3, 0)] {
        let size = store.size(extent(ino));
        assert_eq!((size.end_bytes, size.held_bytes, size.epoch), (end, end, Epoch(4)), "{ino}");
        assert!(store.read(extent(ino), Epoch(3), 0, 10).await.is_err());
    }
    assert_eq!(read_all(&store, extent(2), 40, 20).await, [[7; 10], [0; 10]].concat());
}

/// A delayed copy of a CUT must not destroy what was written after it.
/// Spec: docs/protocol/control.md §3.
#[tokio::test]
async fn a_cut_done_twice_is_done_once() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk, 1).await;
    let one = extent(1);
    store.write(one, Epoch(1), 0, bytes(7, 100), Stability::Synced).await.unwrap();
    store.cut(one, Epoch(2), 10).await.unwrap();
    store.write(one, Epoch(2), 50, bytes(8, 10), Stability::Synced).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.cut(one, Epoch(2), 10).await.unwrap(), Epoch(2));
        assert_eq!(store.drop_extent(one, Epoch(2)).await.unwrap(), Epoch(2));
        assert_eq!(store.size(one).end_bytes, 60);
        store.close().await.unwrap();
        store = open(&disk, 2).await;
    }
    // A pending CUT below a later FENCE is still carried out, and remembered under its own epoch.
    store.fence(one, Epoch(9)).await.unwrap();
    assert_eq!(store.cut(one, Epoch(5), 55).await.unwrap(), Epoch(9));
    assert_eq!(store.cut(one, Epoch(6), 52).await.unwrap(), Epoch(9));
    assert_eq!(store.size(one).end_bytes, 52);
    store.close().await.unwrap();
    let store = open(&disk, 3).await;
    assert_eq!(store.size(one).epoch, Epoch(9));
    store.cut(one, Epoch(6), 0).await.unwrap();
    assert_eq!(store.size(one).end_bytes, 52);
}

#[tokio::test]
async fn out_of_range_requests_are_refused() {
    let store = open(&MemoryDisk::new(), 1).await;
    let (one, end) = (extent(1), crate::limits::EXTENT_BYTES);
    for (offset, length) in [(end, 1), (end - 1, 2), (u32::MAX, 1), (0, (1 << 20) + 1)] {
        let write = store.write(one, Epoch(1), offset, bytes(1, length), Stability::Unstable).await;
        assert!(matches!(write, Err(ChangeError::Range)), "{offset} {length}");
    }
    assert!(matches!(store.read(one, Epoch(1), end, 1).await, Err(crate::ReadError::Range)));
    assert!(matches!(store.cut(one, Epoch(1), end + 1).await, Err(ChangeError::Range)));
    store.write(one, Epoch(1), end, vec![], Stability::Unstable).await.unwrap();
    store.write(one, Epoch(1), end - 1, bytes(1, 1), Stability::Unstable).await.unwrap();
    assert_eq!(store.size(one).end_bytes, end);
    assert_eq!(store.read(one, Epoch(1), end, 0).await.unwrap().bytes, 0);
}

/// A WRITE whose caller goes away is finished all the same.
#[tokio::test]
async fn an_abandoned_write_lands() {
    let store = open(&MemoryDisk::new(), 1).await;
    let one = extent(1);
    for polls in 0..8 {
        let mut write = Box::pin(store.write(one, Epoch(1), 0, bytes(7, 100), Stability::Synced));
        for _ in 0..polls {
            if futures_util::poll!(write.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // FENCE waits for all of them.
    store.fence(one, Epoch(2)).await.unwrap();
    let size = store.size(one);
    store.close().await.unwrap();
    assert_eq!(size.end_bytes, 100);
}

#[tokio::test]
async fn a_commit_costs_one_flush_for_many() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    for ino in 1..=20 {
        store.write(extent(ino), Epoch(1), 0, bytes(7, 5000), Stability::Unstable).await.unwrap();
    }
    let before = store.usage().flushes;
    let commits = (1..=20).map(|ino| {
        let store = store.clone();
        async move { store.commit(extent(ino), Epoch(1)).await.unwrap() }
    });
    futures_util::future::join_all(commits).await;
    assert!(store.usage().flushes - before <= 3, "{}", store.usage().flushes - before);
    let before = store.usage().flushes;
    store.commit(extent(1), Epoch(1)).await.unwrap();
    assert_eq!(store.usage().flushes, before, "nothing new to sync");
}
