//! What a CUT takes, and what goes on behind it: handles from before it stay good.
//!
//! Spec: docs/protocol/control.md §3.

use env::memory::{Crash, MemoryDisk};

use super::*;
use crate::{ExtentSize, ReadError};

/// Fills segments and kills them again until `segment` is gone.
async fn compacts_away(store: &Store, segment: u64) {
    for round in 0..2000u32 {
        if store.inner.wal.segments().iter().all(|stat| stat.seq != segment) {
            return;
        }
        let data = bytes(round as u8, 16 << 10);
        store.write(extent(99), Epoch(1), 0, data, Stability::Unstable).await.unwrap();
        store.inner.wake.notify_one();
        tokio::task::yield_now().await;
    }
    panic!("segment {segment} is never emptied");
}

fn newest_segment(store: &Store) -> u64 {
    store.inner.wal.segments().iter().map(|stat| stat.seq).max().unwrap()
}

async fn refuses(store: &Store, extent: ExtentId, epoch: u64) -> bool {
    let epoch = Epoch(epoch);
    let write = store.write(extent, epoch, 0, vec![], Stability::Unstable).await;
    let refused = matches!(write, Err(ChangeError::Stale { .. }));
    assert_eq!(store.read(extent, epoch, 0, 1).await.is_err(), refused);
    assert_eq!(store.commit(extent, epoch).await.is_err(), refused);
    refused
}

#[tokio::test]
async fn a_write_through_an_old_handle_lands_behind_a_cut_and_stays() {
    let disk = MemoryDisk::new();
    let store = Store::open(&env_of(&disk, 1), &config(4 << 20), no_images()).await.unwrap();
    let one = extent(1);
    store.write(one, Epoch(1), 0, bytes(7, 100), Stability::Unstable).await.unwrap();
    store.cut(one, Epoch(2), 10).await.unwrap();
    store.write(one, Epoch(1), 50, bytes(8, 10), Stability::Synced).await.unwrap();
    let expected = [vec![7; 10], vec![0; 40], vec![8; 10], vec![0; 40]].concat();
    let size = store.size(one);
    assert_eq!((size.end_bytes, size.held_bytes, size.epoch), (60, 20, Epoch(2)));
    // Until the CUT and all else have moved, and once more.
    for _ in 0..2 {
        assert_eq!(read_all(&store, one, 0, 100).await, expected);
        compacts_away(&store, newest_segment(&store)).await;
        // A delayed copy.
        store.cut(one, Epoch(2), 10).await.unwrap();
    }
    assert!(!refuses(&store, one, 1).await);
    assert_eq!(store.size(one), size);
    store.inner.sync().await.unwrap();
    disk.crash(Crash::Drop);
    let store = Store::open(&env_of(&disk, 2), &config(4 << 20), no_images()).await.unwrap();
    store.cut(one, Epoch(2), 10).await.unwrap();
    assert_eq!(read_all(&store, one, 0, 100).await, expected);
    assert_eq!(store.size(one), ExtentSize { mtime_unix_ns: 0, ..size });
    let read = store.read(one, Epoch(1), 0, 1).await;
    assert!(
        matches!(read, Err(ReadError::Stale { known: Epoch(2) })),
        "where a CUT cut is not kept: {read:?}"
    );
    assert!(!refuses(&store, one, 2).await);
    assert!(store.check_copies(one, Epoch(1)).unwrap(), "other copies may be in force");
    assert!(!store.check_copies(one, Epoch(2)).unwrap());
    store.note_copies_told(one);
    assert!(!store.check_copies(one, Epoch(1)).unwrap());
    store.write(one, Epoch(1), 0, bytes(3, 5), Stability::Synced).await.unwrap();
    store.fence(one, Epoch(2)).await.unwrap();
    assert!(store.write(one, Epoch(1), 0, bytes(4, 5), Stability::Synced).await.is_err());
    assert!(store.write(one, Epoch(2), 0, bytes(3, 5), Stability::Synced).await.is_ok());
}

/// A FENCE at the epoch of a CUT, which is on stable storage already, fences as well.
#[tokio::test]
async fn a_fence_after_a_cut_fences() {
    for fence in [2, 3] {
        let disk = MemoryDisk::new();
        let store = open(&disk, 1).await;
        let one = extent(1);
        store.write(one, Epoch(1), 0, bytes(7, 100), Stability::Unstable).await.unwrap();
        store.cut(one, Epoch(2), 10).await.unwrap();
        assert!(!refuses(&store, one, 1).await);
        assert_eq!(store.fence(one, Epoch(fence)).await.unwrap(), Epoch(fence));
        assert!(refuses(&store, one, fence - 1).await && !refuses(&store, one, fence).await);
        // A CUT does not take a fence back, whatever its epoch.
        store.cut(one, Epoch(fence + 1), 5).await.unwrap();
        assert!(refuses(&store, one, fence - 1).await && !refuses(&store, one, fence).await);
        disk.crash(Crash::Drop);
        let store = open(&disk, 2).await;
        assert!(refuses(&store, one, fence - 1).await && !refuses(&store, one, fence + 1).await);
    }
}

#[tokio::test]
async fn a_drop_fences() {
    let store = open(&MemoryDisk::new(), 1).await;
    let one = extent(1);
    store.write(one, Epoch(1), 0, bytes(7, 100), Stability::Unstable).await.unwrap();
    store.cut(one, Epoch(2), 10).await.unwrap();
    store.drop_extent(one, Epoch(3)).await.unwrap();
    assert!(refuses(&store, one, 2).await && !refuses(&store, one, 3).await);
    assert_eq!(store.read(one, Epoch(3), 0, 1).await.unwrap().cut, None);
}

/// Handles from before a CUT are told of it, those from after it are not; of two CUTs the later one
/// is told.
#[tokio::test]
async fn a_read_tells_the_cut_that_its_handle_does_not_know() {
    let store = open(&MemoryDisk::new(), 1).await;
    let one = extent(1);
    let told = async |epoch| store.read(one, Epoch(epoch), 0, 1).await.unwrap().cut;
    store.cut(one, Epoch(2), 10).await.unwrap();
    assert_eq!((told(1).await, told(2).await), (Some(10), None), "also where nothing was written");
    store.cut(one, Epoch(4), 70).await.unwrap();
    assert_eq!((told(1).await, told(3).await, told(4).await), (Some(70), Some(70), None));
    store.cut(one, Epoch(3), 0).await.unwrap();
    assert_eq!(told(1).await, Some(70), "done twice, or too late, is not done");
    assert_eq!((told(9).await, told(1).await), (None, Some(70)), "a higher epoch fences no handle");
}

/// WRITEs before, during and after a CUT, all through one handle: those answered before it are
/// gone, those begun behind it are there, and those between are wholly there or wholly gone. A
/// restart changes none of that.
#[tokio::test]
async fn writes_in_flight_meet_a_cut_cleanly() {
    const STEP: u32 = 1000;
    for yields in 0..24u64 {
        let disk = MemoryDisk::new();
        let (store, one) = (open(&disk, yields).await, extent(1));
        let write = |number: u32| {
            let stability = if number.is_multiple_of(3) { Stability::Synced } else { Stability::Unstable };
            let store = store.clone();
            async move {
                let data = bytes(1 + number as u8, STEP as usize);
                store.write(one, Epoch(1), number * STEP, data, stability).await.unwrap();
            }
        };
        for number in 0..4 {
            write(number).await;
        }
        let between: Vec<_> = (4..16).map(|number| tokio::spawn(write(number))).collect();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        store.cut(one, Epoch(2), 0).await.unwrap();
        for number in 16..20 {
            write(number).await;
        }
        for write in between {
            write.await.unwrap();
        }
        let found = read_all(&store, one, 0, 20 * STEP).await;
        for (number, part) in (0..20).zip(found.chunks(STEP as usize)) {
            let there = part.iter().all(|byte| *byte == 1 + number);
            let gone = part.iter().all(|byte| *byte == 0);
            let may = if number < 4 { gone } else { there || (number < 16 && gone) };
            assert!(may, "write {number} after {yields} yields");
        }
        let before = store.inner.index.summary();
        store.inner.sync().await.unwrap();
        disk.crash(Crash::Drop);
        let store = open(&disk, 100).await;
        assert_eq!(store.inner.index.summary(), before);
        assert!(read_all(&store, one, 0, 20 * STEP).await == found);
    }
}
