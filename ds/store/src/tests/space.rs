//! Space comes back, a full store says so and recovers, fencing holds while everything runs.

use std::time::Duration;

use env::memory::{Crash, MemoryDisk};

use super::*;
use crate::ReadError;

const SMALL: u64 = 4 << 20;

async fn small(disk: &MemoryDisk) -> Store {
    Store::open(&env_of(disk, 1), &config(SMALL), no_images()).await.unwrap()
}

/// Lets the compactor work until the journal is at most `bytes` long.
async fn shrinks_to(store: &Store, bytes: u64) {
    let shrink = async {
        while bytes < store.usage().journal_bytes {
            store.inner.wake.notify_one();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), shrink).await.expect("space comes back");
}

/// Fills the store with extents of 32 KiB until it is full; returns how many went in.
async fn fill(store: &Store, first: u64) -> u64 {
    for ino in first.. {
        for part in 0..4 {
            let data = bytes(ino as u8, 8 << 10);
            match store.write(extent(ino), Epoch(1), part * (8 << 10), data, Stability::Unstable).await {
                Ok(()) => {}
                Err(ChangeError::NoSpace) => return ino - first,
                Err(error) => panic!("{error}"),
            }
        }
    }
    unreachable!("a store has an end")
}

#[tokio::test]
async fn overwriting_the_same_bytes_for_ever_fits() {
    let store = small(&MemoryDisk::new()).await;
    for round in 0..400u32 {
        let data = bytes(round as u8, 16 << 10);
        store.write(extent(1), Epoch(1), 0, data, Stability::Unstable).await.unwrap();
    }
    assert_eq!(read_all(&store, extent(1), 0, 16 << 10).await, vec![399u32 as u8; 16 << 10]);
    shrinks_to(&store, SMALL / 2).await;
}

#[tokio::test]
async fn a_full_store_says_so_and_recovers_after_a_drop() {
    let disk = MemoryDisk::new();
    let store = small(&disk).await;
    let count = fill(&store, 1).await;
    assert!(20 < count, "{count}");
    for ino in 1..=count {
        assert_eq!(read_all(&store, extent(ino), 0, 32 << 10).await, vec![ino as u8; 32 << 10]);
    }
    for ino in 1..=count + 1 {
        store.drop_extent(extent(ino), Epoch(2)).await.unwrap();
    }
    shrinks_to(&store, SMALL / 4).await;
    assert!(store.usage().used_bytes < SMALL / 8);
    let again = fill(&store, 1000).await;
    assert!(count <= again + again / 8, "{again} extents after {count}");
    let before = store.inner.index.summary();
    store.inner.sync().await.unwrap();
    disk.crash(Crash::Drop);
    let store = small(&disk).await;
    let after = store.inner.index.summary();
    let held = |all: &std::collections::BTreeMap<ExtentId, (u32, u32, u64, u64, bool)>| {
        all.iter().filter(|(_, one)| 0 < one.1).map(|(name, one)| (*name, *one)).collect::<Vec<_>>()
    };
    assert_eq!(held(&after), held(&before));
}

/// Half of each segment dies; the other half must be copied to give the room back.
#[tokio::test]
async fn scattered_space_comes_back_by_copying() {
    let disk = MemoryDisk::new();
    let store = small(&disk).await;
    let count = fill(&store, 1).await;
    for ino in 1..=count + 1 {
        // Some by cut, some by drop, some by overwriting with a single small record.
        match ino % 6 {
            0 => store.drop_extent(extent(ino), Epoch(2)).await.unwrap(),
            1 | 2 => store.cut(extent(ino), Epoch(2), 8 << 10).await.unwrap(),
            _ => Epoch(1),
        };
    }
    let live = store.usage().used_bytes;
    shrinks_to(&store, live + live / 2 + SMALL / 4).await;
    let check = async |store: &Store| {
        for ino in 1..=count {
            let expected = match ino % 6 {
                0 => vec![0; 32 << 10],
                1 | 2 => [vec![ino as u8; 8 << 10], vec![0; 24 << 10]].concat(),
                _ => vec![ino as u8; 32 << 10],
            };
            assert!(read_all(store, extent(ino), 0, 32 << 10).await == expected, "{ino}");
        }
    };
    check(&store).await;
    store.commit(extent(3), Epoch(1)).await.unwrap();
    store.inner.sync().await.unwrap();
    disk.crash(Crash::Drop);
    let store = small(&disk).await;
    check(&store).await;
    for ino in (1..=count).filter(|ino| ino % 6 < 3) {
        let (one, known) = (extent(ino), store.size(extent(ino)).epoch);
        let read = store.read(one, Epoch(1), 0, 1).await;
        assert!(read.is_err() || known <= Epoch(1), "{ino} forgot its epoch with bytes left");
        let write = store.write(one, Epoch(1), 0, bytes(1, 1), Stability::Unstable).await;
        assert_eq!(write.is_err(), ino % 6 == 0 && known == Epoch(2), "{ino}: a DROP fences, a CUT does not");
    }
}

/// A dropped extent of which the journal has nothing any more: a handle of before gets no zeros,
/// and writes nothing.
/// Origin: `sim --linux --seal`, seed 6285.
#[tokio::test]
async fn who_was_forgotten_is_refused_by_the_epoch_it_had() {
    let store = small(&MemoryDisk::new()).await;
    let gone = extent(1);
    store.write(gone, Epoch(1), 0, bytes(1, 8 << 10), Stability::Synced).await.unwrap();
    store.drop_extent(gone, Epoch(2)).await.unwrap();
    let mut turns = 0;
    while store.size(gone).epoch != Epoch(0) {
        turns += 1;
        assert!(turns < 4_000, "its records stay");
        store.write(extent(2), Epoch(1), 0, bytes(2, 8 << 10), Stability::Synced).await.unwrap();
    }
    let read = store.read(gone, Epoch(1), 0, 1).await;
    assert!(matches!(read, Err(ReadError::Stale { known: Epoch(2) })), "{read:?}");
    assert!(store.write(gone, Epoch(1), 0, bytes(3, 1), Stability::Synced).await.is_err());
    assert!(!store.inner.index.shard(gone).contains_key(&gone), "a refused WRITE leaves no entry");
    store.write(gone, Epoch(3), 0, bytes(4, 1), Stability::Synced).await.unwrap();
    assert!(store.read(gone, Epoch(1), 0, 1).await.is_err(), "also when it is back");
    assert_eq!(read_all(&store, gone, 0, 1).await, [4]);
}

/// Readers and writers at work while compaction moves everything under them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_right_while_segments_are_emptied() {
    let store = small(&MemoryDisk::new()).await;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..600u32 {
                let (ino, at) = (1 + u64::from(round % 7), (round * 37 % 8) * 4096);
                let mut data = vec![ino as u8; 4096];
                data[0] = 0xff;
                let data = vec![Bytes::from(data)];
                store.write(extent(ino), Epoch(1), at, data, Stability::Unstable).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        for ino in 1..=7 {
            let read = read_all(&store, extent(ino), 0, 32 << 10).await;
            for block in read.chunks(4096) {
                let whole = block[0] == 0xff && block[1..].iter().all(|byte| *byte == ino as u8);
                assert!(whole || block.iter().all(|byte| *byte == 0), "extent {ino}");
            }
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// FENCE: what was admitted before completes and is counted; what comes later is refused; both
/// agree.
/// Spec: docs/protocol/control.md §3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_in_flight_leaves_no_doubt() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    for round in 0..20u64 {
        let ino = 1 + round;
        let writes: Vec<_> = (0..16u32)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    let data = bytes(7, 100);
                    store.write(extent(ino), Epoch(1), number * 100, data, Stability::Unstable).await.is_ok()
                })
            })
            .collect();
        store.fence(extent(ino), Epoch(2)).await.unwrap();
        let held = store.size(extent(ino)).held_bytes;
        let mut written = 0;
        for write in writes {
            written += u32::from(write.await.unwrap());
        }
        assert_eq!(held, written * 100);
        assert_eq!(store.size(extent(ino)).held_bytes, held);
    }
}

/// Committed bytes that were overwritten UNSTABLE are dead, but must not go before the bytes that
/// buried them are safe.
/// Spec: docs/formats/journal.md §3.
#[tokio::test]
async fn an_unstable_write_does_not_take_committed_bytes_with_it() {
    let disk = MemoryDisk::new();
    let store = small(&disk).await;
    for part in 0..8 {
        store
            .write(extent(1), Epoch(1), part * (8 << 10), bytes(1, 8 << 10), Stability::Synced)
            .await
            .unwrap();
    }
    let sealed = store.inner.wal.segments()[0];
    assert!(sealed.sealed);
    for part in 0..8 {
        store
            .write(extent(1), Epoch(1), part * (8 << 10), bytes(2, 8 << 10), Stability::Unstable)
            .await
            .unwrap();
    }
    let emptied = async {
        while store.inner.wal.segments()[0].seq == sealed.seq {
            store.inner.wake.notify_one();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), emptied).await.expect("a dead segment goes at once");
    disk.crash(Crash::Drop);
    let store = small(&disk).await;
    assert!(read_all(&store, extent(1), 0, 64 << 10).await.iter().all(|byte| [1, 2].contains(byte)));
}
