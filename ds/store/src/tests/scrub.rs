//! What a scrub reads, what it calls bad, and bytes that are said again because they went bad.

use env::Disk;

use super::*;
use crate::BadRun;
use crate::limits::{CHECK_BYTES_MAX, CHECK_EXTENTS_MAX};

async fn bad_of(store: &Store, extent: ExtentId) -> (u64, Vec<BadRun>) {
    let (mut next, mut bytes, mut bad) = (Some(0), 0, Vec::new());
    while let Some(from) = next {
        let checked = store.check(extent, from).await;
        assert!(checked.next.is_none_or(|next| from < next));
        bytes += checked.bytes;
        bad.extend(checked.bad);
        next = checked.next;
    }
    (bytes, bad)
}

/// Bytes that are at one place of the journal only.
fn pattern(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

async fn flip(disk: &MemoryDisk, bytes: &[u8], at: usize) {
    let dir = std::path::Path::new("/store/journal");
    for name in disk.list(dir).await.unwrap() {
        let path = dir.join(name);
        let file = disk.open(&path, env::OpenMode::READ).await.unwrap();
        let file = file.read_at(0, 1 << 26).await.unwrap();
        if let Some(found) = file.windows(64).position(|window| window == &bytes[at..at + 64]) {
            disk.corrupt(&path, found as u64, 1);
            return;
        }
    }
    panic!("the bytes are in the journal");
}

#[tokio::test]
async fn all_that_lives_is_read_and_nothing_else() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    // Each a record of its own, more than are read at a time.
    const PART: u32 = 30_000;
    let length = 60 * PART;
    assert!(CHECK_BYTES_MAX < length);
    for number in 0..60 {
        let part = pattern(number, PART as usize);
        store
            .write(extent(1), Epoch(1), u32::from(number) * PART, vec![part.into()], Stability::Synced)
            .await
            .unwrap();
    }
    store.write(extent(1), Epoch(1), 50, bytes(9, 100), Stability::Synced).await.unwrap();
    store.write(extent(2), Epoch(1), 7, bytes(9, 100), Stability::Synced).await.unwrap();
    store.drop_extent(extent(2), Epoch(2)).await.unwrap();
    assert_eq!(bad_of(&store, extent(1)).await, (u64::from(length), vec![]));
    assert_eq!(bad_of(&store, extent(2)).await, (0, vec![]));
    assert_eq!(store.extents_after(None), [extent(1)], "what holds nothing needs no look");
    flip(&disk, &pattern(41, PART as usize), 20_000).await;
    let (_, bad) = bad_of(&store, extent(1)).await;
    let segment = bad[0].segment;
    assert_eq!(
        bad,
        [BadRun { offset: 41 * PART, length: PART, sequence: 42, is_image_record: false, segment }]
    );
    assert_eq!(store.usage().bad_blocks, 1);
    // What was written over may be as bad as it likes, where no block is shared.
    for (at, length) in [(5 * PART, 8_192), (5 * PART + 8_192, PART - 8_192)] {
        store.write(extent(1), Epoch(1), at, bytes(9, length as usize), Stability::Synced).await.unwrap();
    }
    flip(&disk, &pattern(5, PART as usize), 9_000).await;
    assert_eq!(bad_of(&store, extent(1)).await.1.len(), 1);
}

#[tokio::test]
async fn extents_come_in_order_and_a_few_at_a_time() {
    let store = Store::open(&env_of(&MemoryDisk::new(), 1), &config(256 << 20), no_images()).await.unwrap();
    let count = CHECK_EXTENTS_MAX as u64 + 3;
    for ino in (1..=count).rev() {
        store.write(extent(ino), Epoch(1), 0, bytes(9, 10), Stability::Unstable).await.unwrap();
    }
    let first = store.extents_after(None);
    let expected: Vec<ExtentId> = (1..=count).map(extent).collect();
    assert_eq!(first, expected[..CHECK_EXTENTS_MAX]);
    assert_eq!(store.extents_after(first.last().copied()), expected[CHECK_EXTENTS_MAX..]);
    assert_eq!(store.extents_after(Some(extent(count))), []);
}

#[tokio::test]
async fn bytes_that_went_bad_are_said_again_under_what_came_since() {
    let disk = MemoryDisk::new();
    let store = open(&disk, 1).await;
    let mut expected = pattern(1, 40_000);
    store.write(extent(1), Epoch(1), 1_000, vec![expected.clone().into()], Stability::Synced).await.unwrap();
    flip(&disk, &expected, 20_000).await;
    let (_, bad) = bad_of(&store, extent(1)).await;
    let [run] = bad[..] else { panic!("{bad:?}") };
    assert_eq!((run.offset, run.length, run.sequence), (1_000, 40_000, 1));
    let said = expected.clone();
    // A WRITE and a CUT come first.
    store.write(extent(1), Epoch(1), 5_000, bytes(7, 3_000), Stability::Unstable).await.unwrap();
    expected[4_000..7_000].fill(7);
    store.cut(extent(1), Epoch(2), 31_000).await.unwrap();
    expected[30_000..].fill(0);
    let sequence = store.sequence(extent(1));
    assert!(matches!(store.restore(extent(1), 1_000, 9, said.clone().into()).await, Err(ChangeError::Range)));
    assert!(matches!(store.restore(extent(5), 0, 1, said.clone().into()).await, Err(ChangeError::Range)));
    store.restore(extent(1), run.offset, run.sequence, said.into()).await.unwrap();
    assert_eq!(store.sequence(extent(1)), sequence, "no act");
    assert_eq!(bad_of(&store, extent(1)).await.1, []);
    assert!(read_all(&store, extent(1), 1_000, 40_000).await == expected);
    store.inner.index.check();
    let summary = store.inner.index.summary();
    for seed in 2..4 {
        let disk =
            disk.after_crash(if seed == 2 { env::memory::Crash::Drop } else { env::memory::Crash::Keep });
        let again = Store::open(&env_of(&disk, seed), &config(16 << 20), no_images()).await;
        // Nothing was closed: what the disk has lost of a segment without a footer is damage, and
        // is not hidden.
        if let Ok(again) = again {
            assert!(read_all(&again, extent(1), 1_000, 30_000).await[20_000..] == expected[20_000..30_000]);
        }
    }
    store.close().await.unwrap();
    drop(store);
    let store = open(&disk, 4).await;
    assert_eq!(store.inner.index.summary(), summary);
    assert!(
        read_all(&store, extent(1), 1_000, 40_000).await == expected,
        "the copy is read, not the bad record"
    );
    assert_eq!(bad_of(&store, extent(1)).await.1, []);
}

/// A segment that could not be emptied can, once what was bad in it is elsewhere.
#[tokio::test]
async fn a_segment_is_free_again_when_its_bytes_were_said_again() {
    let disk = MemoryDisk::new();
    let store = Store::open(&env_of(&disk, 1), &config(2 << 20), no_images()).await.unwrap();
    let said = pattern(3, 30_000);
    store.write(extent(1), Epoch(1), 0, vec![said.clone().into()], Stability::Synced).await.unwrap();
    flip(&disk, &said, 9_000).await;
    let first = store.inner.wal.segments()[0].seq;
    let is_there = || store.inner.wal.segments().iter().any(|one| one.seq == first);
    let churn = async || {
        for _ in 0..100 {
            store.write(extent(2), Epoch(1), 0, bytes(1, 20_000), Stability::Synced).await.unwrap();
            store.inner.wake.notify_one();
            tokio::task::yield_now().await;
        }
    };
    churn().await;
    assert!(is_there(), "it holds what cannot be read");
    store.restore(extent(1), 0, 1, said.clone().into()).await.unwrap();
    churn().await;
    assert!(!is_there());
    assert!(read_all(&store, extent(1), 0, 30_000).await == said);
    store.inner.index.check();
}

#[tokio::test]
async fn the_lowest_sequence_of_bytes() {
    let store = open(&MemoryDisk::new(), 1).await;
    for (at, length) in [(100, 100), (200, 100), (150, 100)] {
        store.write(extent(1), Epoch(1), at, bytes(9, length), Stability::Unstable).await.unwrap();
    }
    let lowest = |offset, length| store.lowest_sequence(extent(1), offset, length);
    assert_eq!(
        [lowest(100, 200), lowest(150, 100), lowest(260, 40), lowest(160, 1)],
        [Some(1), Some(3), Some(2), Some(3)]
    );
    assert_eq!([lowest(99, 10), lowest(290, 11), lowest(400, 1), lowest(100, u32::MAX)], [None; 4]);
    store.cut(extent(1), Epoch(2), 280).await.unwrap();
    assert_eq!([lowest(260, 20), lowest(260, 21)], [Some(2), None], "a hole is no record's");
    assert_eq!(store.lowest_sequence(extent(2), 0, 1), None);
}
