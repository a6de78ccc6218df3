//! A journal that rests gives its room back, once, and is none the worse for it.
//!
//! Spec: docs/formats/journal.md §5.

use std::path::{Path, PathBuf};
use std::time::Duration;

use env::memory::{Crash, ManualClock, MemoryDisk};
use env::os::{Preference, open_disk};
use env::{Disk, OpenMode};

use super::images::Images;
use super::*;
use crate::limits::{
    COMPACT_PERIOD_MS, JOURNAL_REST_MS, REST_GAIN_BYTES_MIN, SMALL_SEGMENT_BYTES, SMALL_SEGMENTS_MAX,
};

const MIB: u64 = 1 << 20;
const SEGMENT: u64 = 4 * MIB;
const PIECE: usize = 64 << 10;
/// What is left of a journal that says next to nothing: what is not worth copying, and a block here
/// and there.
const LEFT: u64 = REST_GAIN_BYTES_MIN + 64 * KIB;

struct Bed {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    clock: ManualClock,
    images: Arc<Images>,
    store: Store,
}

impl Bed {
    async fn in_memory(disk: &MemoryDisk) -> Self {
        Self::open(Arc::new(disk.mount()), Path::new("/store"), Arc::default()).await
    }

    async fn open(disk: Arc<dyn Disk>, dir: &Path, images: Arc<Images>) -> Self {
        let clock = ManualClock::new(0);
        let env = Env { clock: Arc::new(clock.clone()), disk: disk.clone(), ..env_of(&MemoryDisk::new(), 1) };
        let config = StoreConfig { segment_bytes: SEGMENT, ..StoreConfig::new(dir, 256 * MIB) };
        let store = Store::open(&env, &config, images.clone()).await.unwrap();
        Self { disk, dir: dir.to_path_buf(), clock, images, store }
    }

    async fn write(&self, ino: u64, mib: u64) {
        for piece in 0..mib * MIB / PIECE as u64 {
            let (at, data) = (piece as u32 * PIECE as u32, bytes(ino as u8, PIECE));
            self.store.write(extent(ino), Epoch(1), at, data, Stability::Unstable).await.unwrap();
        }
        self.store.commit(extent(ino), Epoch(1)).await.unwrap();
    }

    async fn seal(&self, ino: u64) {
        let (store, one) = (&self.store, extent(ino));
        let sequence = store.mark(one).await.unwrap();
        let image = self.images.seal(store, one, sequence).await.unwrap();
        store.use_image(one, store.size(one).epoch, sequence, &image).await.unwrap();
    }

    async fn check(&self, inos: impl Iterator<Item = u64>, mib: u64) {
        for ino in inos {
            let read = read_all(&self.store, extent(ino), 0, (mib * MIB) as u32).await;
            assert!(read.iter().all(|byte| *byte == ino as u8), "extent {ino}");
        }
    }

    /// Lets time pass, the compactor at work whenever it wants to.
    async fn passes(&self, ms: u64) {
        for _ in 0..ms / COMPACT_PERIOD_MS {
            self.clock.advance_ms(COMPACT_PERIOD_MS);
            let worked = async {
                // It sleeps again when it has done its work.
                while self.clock.next_deadline_ns().is_none() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), worked).await.expect("it comes to an end");
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// As `passes`, on a disk in memory whose power may go: then the compactor ends, and never
    /// sleeps again.
    async fn passes_or_ends(&self, ms: u64) {
        for _ in 0..ms / COMPACT_PERIOD_MS {
            self.clock.advance_ms(COMPACT_PERIOD_MS);
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn rests(&self) {
        self.passes(JOURNAL_REST_MS + 60 * COMPACT_PERIOD_MS).await;
    }

    fn journal_bytes(&self) -> u64 {
        self.store.usage().journal_bytes
    }

    fn copied_bytes(&self) -> u64 {
        self.store.inner.copied_bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What the disk says of the journal's files.
    async fn stored_bytes(&self) -> u64 {
        let (dir, mut sum) = (self.dir.join("journal"), 0);
        for name in self.disk.list(&dir).await.unwrap() {
            let file = self.disk.open(&dir.join(name), OpenMode::READ).await.unwrap();
            sum += file.stored_bytes().await.unwrap();
        }
        sum
    }
}

#[tokio::test]
async fn a_journal_of_sealed_extents_is_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (real, _) = open_disk("test", Preference::Blocking).unwrap();
    let memory = MemoryDisk::new();
    for (disk, dir) in [(real, dir.path()), (Arc::new(memory) as Arc<dyn Disk>, Path::new("/store"))] {
        let bed = Bed::open(disk, dir, Arc::default()).await;
        for ino in 1..=10 {
            bed.write(ino, 2).await;
        }
        for ino in 1..=10 {
            bed.seal(ino).await;
        }
        let busy = bed.journal_bytes();
        assert!(SEGMENT <= busy, "{busy}: the segment that is written has all its room");
        assert!(bed.store.usage().live_bytes < 4 * KIB);
        bed.rests().await;
        assert!(bed.journal_bytes() <= LEFT, "{} after {busy}", bed.journal_bytes());
        assert_eq!(bed.journal_bytes(), bed.stored_bytes().await);
        bed.check(1..=10, 2).await;
        // It goes on as if nothing had been.
        bed.write(11, 3).await;
        bed.check(1..=10, 2).await;
        bed.check(11..=11, 3).await;
        bed.store.close().await.unwrap();
        let bed = Bed::open(bed.disk.clone(), &bed.dir, bed.images.clone()).await;
        bed.check(1..=10, 2).await;
        bed.check(11..=11, 3).await;
        bed.rests().await;
        assert!(bed.journal_bytes() <= 3 * MIB + LEFT, "{}", bed.journal_bytes());
        assert_eq!(bed.journal_bytes(), bed.stored_bytes().await);
    }
}

/// What is alive is copied at most once, for twice as many bytes that come back; then the disk
/// is left alone.
#[tokio::test]
async fn resting_is_not_work() {
    let disk = MemoryDisk::new();
    let bed = Bed::in_memory(&disk).await;
    // Each segment holds parts of three extents, of which one, two, or all will stay.
    for ino in 1..=36 {
        bed.write(ino, 1).await;
    }
    for ino in (1..=36).filter(|ino| ino % 3 != 0 || 24 < *ino) {
        bed.store.drop_extent(extent(ino), Epoch(2)).await.unwrap();
    }
    bed.write(40, 8).await;
    let (before, live) = (bed.journal_bytes(), bed.store.usage().live_bytes);
    bed.passes(JOURNAL_REST_MS - COMPACT_PERIOD_MS).await;
    let copied_early = bed.copied_bytes();
    bed.rests().await;
    let (after, copied) = (bed.journal_bytes(), bed.copied_bytes());
    assert!(2 * (copied - copied_early) <= before - after, "{copied} copied for {before} - {after}");
    assert!(after <= live * 3 + LEFT, "{after} for {live}");
    assert_eq!(after, bed.stored_bytes().await);
    let counts = disk.counts();
    bed.passes(3_600_000).await;
    assert_eq!((bed.copied_bytes(), disk.counts()), (copied, counts), "an hour later");
    bed.check((1..=24).filter(|ino| ino % 3 == 0), 1).await;
    bed.check(40..=40, 8).await;
    bed.store.inner.index.check();
}

/// All alive: not a byte is copied, whatever the time.
#[tokio::test]
async fn what_is_alive_is_left_alone() {
    let disk = MemoryDisk::new();
    let bed = Bed::in_memory(&disk).await;
    for ino in 1..=10 {
        bed.write(ino, 2).await;
    }
    let live = bed.store.usage().live_bytes;
    bed.rests().await;
    assert_eq!(bed.copied_bytes(), 0);
    assert!(bed.journal_bytes() <= live + live / 8, "{} for {live}", bed.journal_bytes());
    bed.check(1..=10, 2).await;
}

/// Each start leaves a segment with next to nothing in it.
#[tokio::test]
async fn small_segments_do_not_pile_up() {
    let disk = MemoryDisk::new();
    let mut copied = 0;
    for ino in 1..=40 {
        let bed = Bed::in_memory(&disk).await;
        bed.store.write(extent(ino), Epoch(1), 0, bytes(ino as u8, 5_000), Stability::Synced).await.unwrap();
        bed.rests().await;
        copied += bed.copied_bytes();
        let segments = bed.store.inner.wal.segments().len();
        assert!(segments <= SMALL_SEGMENTS_MAX + 1, "{segments} segments after {ino} starts");
        bed.store.close().await.unwrap();
    }
    assert!(copied <= 40 * SMALL_SEGMENT_BYTES, "{copied}");
    let bed = Bed::in_memory(&disk).await;
    for ino in 1..=40 {
        assert_eq!(read_all(&bed.store, extent(ino), 0, 5_000).await, vec![ino as u8; 5_000]);
    }
}

/// The power goes at every write and every flush of a rest.
#[tokio::test]
async fn a_rest_that_is_cut_short_loses_nothing() {
    let mut finished = false;
    let mut step = 0;
    while !finished {
        let disk = MemoryDisk::new();
        let bed = Bed::in_memory(&disk).await;
        for ino in 1..=6 {
            bed.write(ino, 1).await;
        }
        for ino in 1..=4 {
            bed.seal(ino).await;
        }
        bed.store.cut(extent(5), Epoch(2), 4096).await.unwrap();
        bed.store.cut(extent(6), Epoch(2), 256 << 10).await.unwrap();
        disk.cut_power_after(step);
        bed.passes_or_ends(JOURNAL_REST_MS + 5 * COMPACT_PERIOD_MS).await;
        finished = bed.store.fence(extent(6), Epoch(3)).await.is_ok();
        assert!(!finished || bed.copied_bytes() > 0, "a rest does something");
        let crash = [Crash::Drop, Crash::Keep, Crash::Tear { seed: step }][step as usize % 3];
        disk.crash(crash);
        let images = bed.images.clone();
        let bed = Bed::open(Arc::new(disk.mount()), Path::new("/store"), images).await;
        bed.check(1..=4, 1).await;
        assert_eq!(read_all(&bed.store, extent(5), 0, 8192).await, [[5; 4096], [0; 4096]].concat());
        assert_eq!(read_all(&bed.store, extent(6), 0, 256 << 10).await, [6; 256 << 10]);
        assert_eq!(bed.store.size(extent(6)).end_bytes, 256 << 10);
        bed.store.inner.index.check();
        bed.rests().await;
        assert!(
            bed.journal_bytes() <= MIB + LEFT,
            "{} step {step} {:?}",
            bed.journal_bytes(),
            bed.store.inner.segment_uses()
        );
        bed.check(1..=4, 1).await;
        assert_eq!(read_all(&bed.store, extent(6), 0, 256 << 10).await, [6; 256 << 10]);
        step += 1;
    }
    assert!(5 < step, "{step}");
}

/// A full disk holds the compactor up; it does not end it.
#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let disk = MemoryDisk::new();
    let bed = Bed::in_memory(&disk).await;
    bed.write(1, 3).await;
    bed.write(2, 1).await;
    bed.store.drop_extent(extent(1), Epoch(2)).await.unwrap();
    bed.passes(JOURNAL_REST_MS - 2 * COMPACT_PERIOD_MS).await;
    for _ in 0..4 {
        disk.fail_allocate(0, std::io::ErrorKind::StorageFull);
    }
    bed.rests().await;
    assert!(bed.journal_bytes() <= MIB + LEFT, "{}", bed.journal_bytes());
    bed.check(2..=2, 1).await;
}
