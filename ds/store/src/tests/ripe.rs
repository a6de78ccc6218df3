//! Which extents are named as ripe, and when.
//!
//! Spec: docs/protocol/seal.md §1.

use env::Clock;
use env::memory::{ManualClock, MemoryDisk};

use super::images::Images;
use super::*;
use crate::Ripe;

const IDLE_MS: u64 = 5_000;

struct Bed {
    clock: Arc<ManualClock>,
    images: Arc<Images>,
    store: Store,
}

impl Bed {
    async fn new() -> Self {
        let (clock, images) = (Arc::new(ManualClock::new(1_000_000)), Arc::new(Images::default()));
        let env = Env { clock: clock.clone(), ..env_of(&MemoryDisk::new(), 1) };
        let store = Store::open(&env, &StoreConfig::new("/store", 1 << 30), images.clone()).await.unwrap();
        Self { clock, images, store }
    }

    async fn write(&self, ino: u64, offset: u32, length: usize) {
        let epoch = self.store.size(extent(ino)).epoch.max(Epoch(1));
        for at in (0..length).step_by(1 << 20) {
            let data = bytes(1, (length - at).min(1 << 20));
            let offset = offset + at as u32;
            self.store.write(extent(ino), epoch, offset, data, Stability::Unstable).await.unwrap();
        }
    }

    async fn seal(&self, ino: u64) {
        let mark = self.store.mark(extent(ino)).await.unwrap();
        let image = self.images.seal(&self.store, extent(ino), mark).await.unwrap();
        let epoch = self.store.size(extent(ino)).epoch;
        self.store.use_image(extent(ino), epoch, mark, &image).await.unwrap();
    }

    fn ripe(&self, max: usize) -> Vec<Ripe> {
        self.store.ripe(self.clock.monotonic_ms(), IDLE_MS, max)
    }

    fn inos(&self) -> Vec<u64> {
        self.ripe(100).into_iter().map(|ripe| ripe.extent.ino).collect()
    }
}

#[tokio::test]
async fn what_rests_is_ripe_the_oldest_first() {
    let bed = Bed::new().await;
    for ino in [7, 3, 5] {
        bed.write(ino, 0, 100).await;
        bed.clock.advance_ms(1_000);
    }
    assert_eq!(bed.inos(), []);
    bed.clock.advance_ms(IDLE_MS - 3_000);
    assert_eq!(bed.inos(), [7]);
    bed.clock.advance_ms(2_000);
    assert_eq!(bed.inos(), [7, 3, 5]);
    assert_eq!(bed.ripe(2).iter().map(|one| one.extent.ino).collect::<Vec<_>>(), [7, 3]);
    assert_eq!(bed.ripe(0), []);
    let first = bed.ripe(1)[0];
    assert_eq!(
        (first.journal_bytes, first.end_bytes, first.above_bytes, first.image_bytes),
        (100, 100, 0, 0)
    );
    // A WRITE and a CUT make it young again; a mark and a fence change no byte.
    bed.write(7, 50, 1).await;
    bed.store.cut(extent(3), Epoch(2), 50).await.unwrap();
    bed.store.mark(extent(5)).await.unwrap();
    bed.store.fence(extent(5), Epoch(3)).await.unwrap();
    assert_eq!(bed.inos(), [5]);
    bed.clock.advance_ms(IDLE_MS);
    assert_eq!(bed.inos().len(), 3);
    // Deferred, and cut to nothing.
    bed.store.defer_sealing(extent(5), bed.clock.monotonic_ms() + 1);
    bed.store.cut(extent(3), Epoch(3), 0).await.unwrap();
    bed.clock.advance_ms(IDLE_MS);
    assert_eq!(bed.inos(), [5, 7]);
    bed.store.defer_sealing(extent(5), bed.clock.monotonic_ms() + 1);
    assert_eq!(bed.inos(), [7]);
}

#[tokio::test]
async fn a_full_extent_rests_a_second() {
    let bed = Bed::new().await;
    bed.write(1, 0, 64 << 20).await;
    bed.write(2, 0, (64 << 20) - 1).await;
    bed.clock.advance_ms(999);
    assert_eq!(bed.inos(), []);
    bed.clock.advance_ms(1);
    assert_eq!(bed.inos(), [1]);
}

#[tokio::test]
async fn an_image_is_remade_when_much_lies_above_it_or_for_long() {
    let bed = Bed::new().await;
    for ino in 1..=5 {
        bed.write(ino, 0, 1000).await;
        bed.seal(ino).await;
    }
    bed.clock.advance_ms(100 * IDLE_MS);
    assert_eq!(bed.inos(), [], "all of it is in images");
    bed.write(1, 0, 250).await;
    bed.write(2, 100, 251).await;
    bed.write(3, 900, 251).await;
    bed.store.cut(extent(4), Epoch(2), 700).await.unwrap();
    bed.store.cut(extent(5), Epoch(2), 800).await.unwrap();
    bed.clock.advance_ms(IDLE_MS);
    let mut found = bed.ripe(100);
    found.sort_by_key(|ripe| ripe.extent);
    let above: Vec<_> = found.iter().map(|one| (one.extent.ino, one.above_bytes, one.image_bytes)).collect();
    assert_eq!(above, [(2, 251, 1000), (3, 251, 1000), (4, 300, 1000)]);
    bed.clock.advance_ms(9 * IDLE_MS);
    let mut inos = bed.inos();
    inos.sort_unstable();
    assert_eq!(inos, [1, 2, 3, 4], "what only lost its end has nothing in the journal");
    bed.seal(2).await;
    assert!(!bed.inos().contains(&2));
}

#[tokio::test]
async fn what_another_primary_gave_rests_longer() {
    let bed = Bed::new().await;
    let (store, one) = (&bed.store, extent(1));
    store.attach(one, Epoch(1)).await.unwrap();
    store.write_at(one, Epoch(1), 1, 0, Bytes::from(vec![1; 10]), Stability::Unstable).await.unwrap();
    bed.clock.advance_ms(10 * IDLE_MS - 1);
    assert_eq!(bed.inos(), []);
    bed.clock.advance_ms(1);
    assert_eq!(bed.inos(), [1], "we may be primary by now");
    // A client's WRITE tells that we are.
    bed.write(1, 0, 10).await;
    bed.clock.advance_ms(IDLE_MS);
    assert_eq!(bed.inos(), [1]);
}

/// A look at a hundred thousand extents each second must cost next to nothing. The bound is far
/// above what it takes (11 ms without optimisation): only another order of work breaks it.
#[tokio::test]
async fn a_look_at_very_many_extents_is_quick() {
    let bed = Bed::new().await;
    for ino in 0..100_000 {
        bed.write(ino, 0, 1).await;
    }
    bed.clock.advance_ms(IDLE_MS);
    let watch = OsClock::new();
    let began_ms = watch.monotonic_ms();
    assert_eq!(bed.ripe(64).len(), 64);
    let spent_ms = watch.monotonic_ms() - began_ms;
    assert!(spent_ms < 1_000, "{spent_ms} ms");
}
