//! A primary and a replica: whatever the primary holds, images and all, what it tells makes the
//! replica the same.
//!
//! Spec: docs/protocol/replicate.md §2; docs/protocol/seal.md §4.

use proptest::prelude::*;

use env::memory::MemoryDisk;

use super::images::Bed;
use super::*;
use crate::{Run, Said};

const SPAN: u32 = 20_000;
const EPOCH: Epoch = Epoch(1);

#[derive(Clone, Debug)]
enum Step {
    Write {
        offset: u32,
        length: u32,
    },
    Cut {
        keep: u32,
    },
    Seal,
    Use,
    Fence,
    /// What came since the replica was told last.
    Delta,
    /// All of it, over whatever the replica holds.
    Overlay,
    /// Bytes that only the replica has, of a time that its primary forgot.
    Stray {
        offset: u32,
        length: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range =
        || (0..SPAN - 1, 1..SPAN / 2).prop_map(|(offset, length)| (offset, length.min(SPAN - offset)));
    let step = prop_oneof![
        8 => range().prop_map(|(offset, length)| Step::Write { offset, length }),
        2 => (0..SPAN).prop_map(|keep| Step::Cut { keep }),
        3 => Just(Step::Seal),
        3 => Just(Step::Use),
        1 => Just(Step::Fence),
        3 => Just(Step::Delta),
        2 => Just(Step::Overlay),
        1 => range().prop_map(|(offset, length)| Step::Stray { offset, length }),
    ];
    prop::collection::vec(step, 1..40)
}

struct Pair {
    home: Bed,
    backup: Store,
    /// The replica has all below.
    told: u64,
    /// It may have bytes that the primary does not know.
    strayed: bool,
    /// An image that waits to be used.
    sealed: Option<(u64, crate::ImageRef)>,
    fill: u8,
    epoch: Epoch,
}

impl Pair {
    async fn new() -> Self {
        let home = Bed::new().await;
        let disk = MemoryDisk::new();
        let backup = Store::open(&env_of(&disk, 2), &config(16 << 20), home.images.clone()).await.unwrap();
        backup.attach(extent(1), EPOCH).await.unwrap();
        Self { home, backup, told: 0, strayed: false, sealed: None, fill: 0, epoch: EPOCH }
    }

    async fn step(&mut self, step: Step) {
        let (store, one) = (&self.home.store, extent(1));
        self.fill = self.fill.wrapping_add(1).max(1);
        match step {
            Step::Write { offset, length } => {
                let data = bytes(self.fill, length as usize);
                store.write(one, self.epoch, offset, data, Stability::Unstable).await.unwrap();
            }
            Step::Cut { keep } => {
                self.epoch = self.epoch.next();
                store.cut(one, self.epoch, keep).await.unwrap();
            }
            Step::Fence => {
                self.epoch = self.epoch.next();
                store.fence(one, self.epoch).await.unwrap();
            }
            Step::Seal => {
                let Ok(mark) = store.mark(one).await else { return };
                let image = self.home.images.seal(store, one, mark).await;
                self.sealed = image.map(|image| (mark, image)).or(self.sealed);
            }
            Step::Use => {
                let Some((sequence, image)) = self.sealed.take() else { return };
                store.use_image(one, self.epoch, sequence, &image).await.unwrap();
                self.told = self.told.min(sequence);
            }
            Step::Delta if self.strayed => {}
            Step::Delta => {
                let mut runs = store.runs_since(one, self.told).await.unwrap();
                // In any order.
                let turn = usize::from(self.fill) % runs.len().max(1);
                runs.rotate_left(turn);
                for run in runs {
                    self.tell(run).await;
                }
                self.told = store.sequence(one) + 1;
                self.same().await;
            }
            Step::Overlay => self.overlay().await,
            Step::Stray { offset, length } => {
                let sequence = store.sequence(one).max(self.backup.sequence(one)) + u64::from(self.fill % 3);
                let data = Bytes::from(vec![255; length as usize]);
                let sequence = sequence.max(1);
                // Two acts of one sequence would contradict each other.
                if self.backup.sequence(one) < sequence {
                    self.backup
                        .write_at(one, self.epoch, sequence, offset, data, Stability::Unstable)
                        .await
                        .unwrap();
                    self.strayed = true;
                }
            }
        }
    }

    async fn overlay(&mut self) {
        let one = extent(1);
        let was_same = !self.strayed && self.home.store.sequence(one) < self.told;
        let free = self.home.store.rise(one, self.backup.sequence(one)).await.unwrap();
        let all = self.home.store.overlay(one, free).await.unwrap();
        for run in all.above.into_iter().rev().chain(all.beneath) {
            self.tell(run).await;
            if was_same {
                self.same().await;
            }
        }
        self.told = free + 3;
        self.strayed = false;
        self.same().await;
    }

    async fn tell(&self, run: Run) {
        let (one, home, backup) = (extent(1), &self.home.store, &self.backup);
        match run.said {
            Said::Data => {
                let data = home.peek(one, run.offset, run.length).await.unwrap().concat();
                let told = backup.write_at(
                    one,
                    self.epoch,
                    run.sequence,
                    run.offset,
                    data.into(),
                    Stability::Unstable,
                );
                told.await.unwrap();
            }
            Said::Cut => backup.cut_at(one, self.epoch, run.sequence, run.offset).await.unwrap(),
            Said::Image(image) => backup.use_image(one, self.epoch, run.sequence, &image).await.unwrap(),
        }
    }

    async fn same(&self) {
        let one = extent(1);
        let here = read_all(&self.home.store, one, 0, SPAN).await;
        assert!(here == read_all(&self.backup, one, 0, SPAN).await);
        self.backup.inner.index.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_a_primary_tells_makes_its_replica_the_same(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            for step in steps {
                pair.step(step).await;
            }
            pair.overlay().await;
            pair.step(Step::Seal).await;
            pair.step(Step::Use).await;
            pair.step(Step::Delta).await;
        });
    }
}

/// The next primary gives sequences above the mark, also if it was told nothing else.
#[tokio::test]
async fn a_replica_gets_the_mark() {
    let mut pair = Pair::new().await;
    pair.step(Step::Write { offset: 0, length: 100 }).await;
    pair.step(Step::Delta).await;
    let mark = pair.home.store.mark(extent(1)).await.unwrap();
    pair.step(Step::Delta).await;
    assert_eq!(pair.backup.sequence(extent(1)), mark);
}

/// A replica that has everything already frees its journal as well.
#[tokio::test]
async fn a_replica_that_is_told_an_image_frees_its_journal() {
    let mut pair = Pair::new().await;
    for part in 0..10 {
        pair.step(Step::Write { offset: part * 2000, length: 2000 }).await;
    }
    pair.step(Step::Delta).await;
    assert!(SPAN < pair.backup.usage().live_bytes as u32);
    pair.step(Step::Seal).await;
    pair.step(Step::Use).await;
    let (sequence, image) = pair.home.store.image(extent(1)).await.unwrap().unwrap();
    let told = Run { offset: 0, length: SPAN, sequence, said: Said::Image(image) };
    assert_eq!(pair.home.store.runs_since(extent(1), 0).await.unwrap(), [told], "neither mark nor hole");
    pair.step(Step::Delta).await;
    assert!(pair.backup.usage().live_bytes < 1000);
    // A replica that is new is told the image alone.
    let free = pair.home.store.rise(extent(1), 0).await.unwrap();
    let all = pair.home.store.overlay(extent(1), free).await.unwrap();
    let told = Run { sequence: free, ..told };
    assert_eq!((all.above, all.beneath), (vec![], vec![told]));
}
