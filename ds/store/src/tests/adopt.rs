//! Extents of which only an image is left: adopted by a server that has nothing of them, something
//! older, or something that looks newer; twice; and with the power cut at every step.
//!
//! Spec: docs/protocol/seal.md §9.

use env::memory::{Crash, MemoryDisk};

use super::images::{Bed, Images, churn};
use super::*;
use crate::ImageRef;
use crate::limits::EXTENT_BYTES;

const ONE: ExtentId = ExtentId { ino: 1, index: 0 };

/// The image's content, and what is to be read of it when it was cut.
fn expected(keep: u32) -> Vec<u8> {
    let mut content = vec![9; 30_000];
    content.truncate(keep as usize);
    content.resize(40_000, 0);
    content
}

async fn read(store: &Store) -> Vec<u8> {
    read_all(store, ONE, 0, 40_000).await
}

async fn write(store: &Store, epoch: u64, at: u32, fill: u8, length: usize) {
    store.write(ONE, Epoch(epoch), at, bytes(fill, length), Stability::Synced).await.unwrap();
}

#[tokio::test]
async fn an_extent_that_was_never_here_is_what_its_image_says() {
    for (keep, end) in [(EXTENT_BYTES, 30_000), (30_000, 30_000), (12_345, 12_345), (0, 0)] {
        let mut bed = Bed::new().await;
        let image = bed.images.put(vec![9; 30_000]);
        assert_eq!(bed.store.adopt(ONE, Epoch(4), 70, keep, &image).await.unwrap(), Epoch(4));
        for _ in 0..3 {
            let size = bed.store.size(ONE);
            assert_eq!((size.end_bytes, size.epoch), (end, Epoch(4)));
            assert!(read(&bed.store).await == expected(keep), "{keep}");
            let shows = (0 < end).then_some((70, image));
            assert_eq!(bed.store.image(ONE).await.unwrap(), shows);
            let stale = bed.store.write(ONE, Epoch(3), 0, bytes(1, 1), Stability::Unstable).await;
            assert!(matches!(stale, Err(ChangeError::Stale { known: Epoch(4) })));
            if 30_000 <= keep {
                assert_eq!(bed.store.above_image(ONE, 70), Some(0), "nothing was cut off");
                assert_eq!(bed.store.frozen(ONE), Some(70));
            }
            churn(&bed.store).await;
            bed.store.inner.index.check();
            bed.store.flush().await.unwrap();
            bed.crash().await;
        }
    }
}

/// It was primary, or replica, long ago: whatever sequences and epochs it remembers, nothing of
/// that shows.
#[tokio::test]
async fn what_is_still_here_of_it_is_hidden() {
    for leftover in 0..5 {
        let mut bed = Bed::new().await;
        let (image, other) = (bed.images.put(vec![9; 30_000]), bed.images.put(vec![8; 39_000]));
        match leftover {
            0 => write(&bed.store, 1, 0, 1, 40_000).await,
            1 => {
                bed.store.attach(ONE, Epoch(3)).await.unwrap();
                let data = Bytes::from(vec![2; 35_000]);
                bed.store.write_at(ONE, Epoch(3), 5_000, 0, data, Stability::Unstable).await.unwrap();
                bed.store.cut_at(ONE, Epoch(3), 6_000, 20_000).await.unwrap();
            }
            2 => {
                write(&bed.store, 2, 0, 1, 40_000).await;
                bed.store.cut(ONE, Epoch(3), 1_000).await.unwrap();
                bed.store.use_image(ONE, Epoch(3), 4_000, &other).await.unwrap();
            }
            3 => {
                write(&bed.store, 2, 0, 1, 40_000).await;
                bed.store.drop_extent(ONE, Epoch(3)).await.unwrap();
            }
            _ => {
                bed.store.fence(ONE, Epoch(4)).await.unwrap();
            }
        }
        let above = bed.store.sequence(ONE);
        bed.store.adopt(ONE, Epoch(4), 70, EXTENT_BYTES, &image).await.unwrap();
        let (sequence, shown) = bed.store.image(ONE).await.unwrap().unwrap();
        assert!(above < sequence && 70 <= sequence && shown == image, "{leftover}: {sequence}");
        for _ in 0..2 {
            assert!(read(&bed.store).await == expected(EXTENT_BYTES), "{leftover}");
            // The DROP that was meant for the earlier stay comes late.
            assert_eq!(bed.store.drop_extent(ONE, Epoch(3)).await.unwrap(), Epoch(4));
            assert_eq!(bed.store.cut(ONE, Epoch(4), 0).await.unwrap(), Epoch(4));
            churn(&bed.store).await;
            bed.store.flush().await.unwrap();
            bed.crash().await;
        }
        let late = bed.store.write_at(ONE, Epoch(3), 9_000, 0, Bytes::from(vec![1; 9]), Stability::Unstable);
        assert!(matches!(late.await, Err(ChangeError::Stale { .. })), "from the primary of then");
    }
}

/// A record that an earlier primary sent is on its way into the journal while the extent is
/// adopted.
#[tokio::test]
async fn what_lands_meanwhile_is_hidden() {
    let bed = Bed::new().await;
    let (store, image) = (bed.store.clone(), bed.images.put(vec![9; 30_000]));
    let ticket = store.admit(ONE, Epoch(1), 0, 100).await.unwrap();
    let adopting = tokio::spawn({
        let store = store.clone();
        async move { store.adopt(ONE, Epoch(4), 1, EXTENT_BYTES, &image).await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!adopting.is_finished());
    assert!(store.admit(ONE, Epoch(3), 0, 100).await.is_err(), "fenced by now");
    ticket.write(bytes(1, 100), Stability::Synced).await.unwrap();
    adopting.await.unwrap().unwrap();
    assert!(read(&store).await == expected(EXTENT_BYTES));
}

#[tokio::test]
async fn done_twice_is_done_once() {
    let mut bed = Bed::new().await;
    let image = bed.images.put(vec![9; 30_000]);
    let again = async |store: &Store| store.adopt(ONE, Epoch(4), 70, 20_000, &image).await;
    again(&bed.store).await.unwrap();
    write(&bed.store, 4, 100, 3, 50).await;
    let mut content = expected(20_000);
    content[100..150].fill(3);
    for round in 0..3 {
        assert_eq!(again(&bed.store).await.unwrap(), Epoch(4));
        assert!(read(&bed.store).await == content, "{round}");
        assert_eq!(bed.store.image(ONE).await.unwrap(), Some((70, image)));
        churn(&bed.store).await;
        bed.store.flush().await.unwrap();
        bed.crash().await;
    }
    bed.store.fence(ONE, Epoch(6)).await.unwrap();
    assert_eq!(again(&bed.store).await.unwrap(), Epoch(6), "its epoch has risen since");
    assert!(read(&bed.store).await == content);
    // At a higher epoch it is another adoption.
    bed.store.adopt(ONE, Epoch(7), 70, EXTENT_BYTES, &image).await.unwrap();
    assert!(read(&bed.store).await == expected(EXTENT_BYTES));
}

/// An adoption that comes when others have done something with the extent since undoes nothing of
/// it.
#[tokio::test]
async fn one_that_comes_too_late_changes_nothing() {
    let bed = Bed::new().await;
    let (store, image) = (&bed.store, bed.images.put(vec![9; 30_000]));
    let late = async |ino: u64| store.adopt(extent(ino), Epoch(4), 1, EXTENT_BYTES, &image).await;
    store.write(extent(1), Epoch(5), 0, bytes(1, 100), Stability::Synced).await.unwrap();
    assert!(matches!(late(1).await, Err(ChangeError::Stale { known: Epoch(5) })), "another is primary here");
    assert!(read(store).await[..100] == [1; 100]);
    store.attach(extent(2), Epoch(5)).await.unwrap();
    assert_eq!(late(2).await.unwrap(), Epoch(5), "it is a replica's now");
    assert_eq!(store.image(extent(2)).await.unwrap(), None);
    store.write(extent(3), Epoch(1), 0, bytes(1, 100), Stability::Synced).await.unwrap();
    store.drop_extent(extent(3), Epoch(5)).await.unwrap();
    assert_eq!(late(3).await.unwrap(), Epoch(5), "dropped");
    assert_eq!(store.image(extent(3)).await.unwrap(), None);
    // An epoch that a handle brought is no adoption.
    store.fence(extent(4), Epoch(4)).await.unwrap();
    assert_eq!(late(4).await.unwrap(), Epoch(4));
    assert_eq!(store.image(extent(4)).await.unwrap(), Some((2, image)));
}

#[tokio::test]
async fn adoptions_that_cannot_be_are_refused() {
    let bed = Bed::new().await;
    let image = bed.images.put(vec![9; 30_000]);
    let longer = ImageRef { content_bytes: EXTENT_BYTES + 1, ..image };
    let nameless = ImageRef { root: [0; 32], ..image };
    for (sequence, keep, image) in [
        (0, 0, image),
        (1 << 37, 0, image),
        (u64::MAX, 0, image),
        (1, EXTENT_BYTES + 1, image),
        (1, u32::MAX, image),
        (1, 0, longer),
        (1, 0, nameless),
    ] {
        let refused = bed.store.adopt(ONE, Epoch(4), sequence, keep, &image).await;
        assert!(matches!(refused, Err(ChangeError::Range)), "{sequence} {keep} {image:?}");
    }
    let last = bed.store.adopt(ONE, Epoch(4), (1 << 37) - 1, 0, &image).await;
    assert!(matches!(last, Err(ChangeError::NoSpace)), "no sequence would be left");
    assert_eq!((bed.store.size(ONE).epoch, bed.store.sequence(ONE)), (Epoch(0), 0));
}

/// Whatever was there when the power went, asked again it is done as a whole; and what was answered
/// is there without that.
#[tokio::test]
async fn a_power_cut_at_any_step_of_an_adoption() {
    for keep in [EXTENT_BYTES, 10_000] {
        let (mut cut, mut answered, mut halves) = (0, 0, 0);
        loop {
            let (disk, images) = (MemoryDisk::new(), Arc::new(Images::default()));
            let image = images.put(vec![9; 30_000]);
            let before = Store::open(&env_of(&disk, 1), &config(2 << 20), images.clone()).await.unwrap();
            before.attach(ONE, Epoch(3)).await.unwrap();
            let old = Bytes::from(vec![2; 35_000]);
            before.write_at(ONE, Epoch(3), 5_000, 0, old, Stability::Synced).await.unwrap();
            before.close().await.unwrap();
            let dying = disk.mount();
            let store = Store::open(&env_of(&dying, 2), &config(2 << 20), images.clone()).await.unwrap();
            disk.cut_power_after(cut);
            let done = store.adopt(ONE, Epoch(4), 70, keep, &image).await.is_ok();
            answered += u32::from(done);
            drop(store);
            for crash in [Crash::Drop, Crash::Keep, Crash::Tear { seed: cut }] {
                let disk = disk.after_crash(crash);
                let store = Store::open(&env_of(&disk, 3), &config(2 << 20), images.clone()).await.unwrap();
                let found = read(&store).await;
                let whole = found == expected(keep);
                let old = [vec![2; 35_000], vec![0; 5_000]].concat();
                assert!(whole || !done, "cut {cut}, {crash:?}: it was answered");
                assert!(whole || found == old || found == expected(EXTENT_BYTES), "cut {cut}, {crash:?}");
                halves += u32::from(!whole);
                store.adopt(ONE, Epoch(4), 70, keep, &image).await.unwrap();
                store.inner.index.check();
                assert!(read(&store).await == expected(keep), "cut {cut}, {crash:?}: asked again");
            }
            if done {
                break;
            }
            cut += 1;
        }
        assert!(answered == 1 && 0 < halves && 0 < cut, "{answered} {halves} {cut}");
    }
}

/// What is torn from the log is its end.
#[tokio::test]
async fn what_says_that_it_was_done_is_the_last_in_the_log() {
    for keep in [EXTENT_BYTES, 10_000] {
        let bed = Bed::new().await;
        let image = bed.images.put(vec![9; 30_000]);
        bed.store.adopt(ONE, Epoch(4), 70, keep, &image).await.unwrap();
        bed.store.close().await.unwrap();
        let mut kinds = Vec::new();
        let mut visit =
            |header: &wal::RecordHeader, _: wal::Location| kinds.push((header.kind, header.epoch));
        let config = wal::WalConfig { segment_bytes: 64 * KIB, ..wal::WalConfig::new(bed.store.uuid()) };
        let disk = Arc::new(bed.disk.clone());
        wal::Wal::open(disk, "/store/journal".as_ref(), config, &mut visit).await.unwrap();
        assert_eq!(kinds[..2], [(5, 4), (3, 4)]);
        // A CUT of nothing fences as well.
        assert_eq!(kinds[2..], if keep == EXTENT_BYTES { vec![] } else { vec![(2, 4)] });
    }
}

/// A record of each is there, and that of the cut is not: as after a crash between the two.
#[tokio::test]
async fn an_image_alone_is_no_adoption() {
    let mut bed = Bed::new().await;
    let image = bed.images.put(vec![9; 30_000]);
    bed.store.fence(ONE, Epoch(3)).await.unwrap();
    bed.store.use_image(ONE, Epoch(4), 70, &image).await.unwrap();
    bed.crash().await;
    assert_eq!(bed.store.size(ONE).epoch, Epoch(4));
    bed.store.adopt(ONE, Epoch(4), 70, 10_000, &image).await.unwrap();
    assert!(read(&bed.store).await == expected(10_000));
}
