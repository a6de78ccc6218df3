//! Random acts, restarts and crashes against a model that knows which values each byte may have.

use std::collections::BTreeMap;

use env::memory::{Crash, MemoryDisk};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::images::Images;
use super::*;
use crate::ImageRef;

/// The model looks at this much of each extent.
const SPAN: u32 = 48 << 10;
const EXTENTS: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Write {
        ino: u64,
        offset: u32,
        length: u32,
        synced: bool,
    },
    Cut {
        ino: u64,
        keep: u32,
    },
    Drop {
        ino: u64,
    },
    Fence {
        ino: u64,
    },
    Commit {
        ino: u64,
    },
    Read {
        ino: u64,
        offset: u32,
        length: u32,
    },
    Restart,
    Crash {
        kind: u8,
        seed: u64,
    },
    Churn {
        ino: u64,
    },
    /// Makes an image of the extent as it is.
    Seal {
        ino: u64,
    },
    /// Uses the image that was made last, whatever came since.
    Use {
        ino: u64,
    },
    /// The store was told that something lies above the image.
    Thaw {
        ino: u64,
    },
    /// All that is left is an image.
    Adopt {
        ino: u64,
        sequence: u64,
        keep: u32,
    },
    /// An adoption is asked for once more.
    AdoptAgain {
        ino: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ino = || 1..=EXTENTS;
    let range = || (0..SPAN, prop_oneof![1u32..600, 1u32..SPAN]);
    let step = prop_oneof![
        12 => (ino(), range(), prop::bool::weighted(0.2)).prop_map(|(ino, (offset, length), synced)| {
            Step::Write { ino, offset, length: length.min(SPAN - offset), synced }
        }),
        2 => (ino(), 0..SPAN).prop_map(|(ino, keep)| Step::Cut { ino, keep }),
        1 => ino().prop_map(|ino| Step::Drop { ino }),
        1 => ino().prop_map(|ino| Step::Fence { ino }),
        3 => ino().prop_map(|ino| Step::Commit { ino }),
        5 => (ino(), range()).prop_map(|(ino, (offset, length))| Step::Read { ino, offset, length }),
        1 => Just(Step::Restart),
        2 => (0u8..3, any::<u64>()).prop_map(|(kind, seed)| Step::Crash { kind, seed }),
        1 => ino().prop_map(|ino| Step::Churn { ino }),
        2 => ino().prop_map(|ino| Step::Seal { ino }),
        3 => ino().prop_map(|ino| Step::Use { ino }),
        1 => ino().prop_map(|ino| Step::Thaw { ino }),
        1 => (ino(), 1u64..200, prop_oneof![0..SPAN, Just(crate::limits::EXTENT_BYTES)])
            .prop_map(|(ino, sequence, keep)| Step::Adopt { ino, sequence, keep }),
        1 => ino().prop_map(|ino| Step::AdoptAgain { ino }),
    ];
    prop::collection::vec(step, 1..60)
}

/// Bytes as they are now, and as they were at any time since everything was last on stable storage.
#[derive(Clone)]
struct File {
    now: Vec<u8>,
    since_sync: Vec<Vec<u8>>,
    epoch: u64,
    /// Handles from this epoch on are good.
    fence: u64,
    /// Epoch and place of the last cut that handles may not know of.
    cut: (u64, u32),
    /// An image that may be used.
    sealed: Option<(u64, ImageRef)>,
    /// One was used.
    imaged: bool,
    /// The sequence of the image of which it was told, since the store was opened, that something
    /// lies above.
    thawed: Option<u64>,
    /// The last adoption that is still to be remembered.
    adopted: Option<(Epoch, u64, u32, ImageRef)>,
}

struct Run {
    disk: MemoryDisk,
    store: Store,
    images: Arc<Images>,
    /// One for each opening: a crash takes the tasks with it.
    runtime: Runtime,
    files: BTreeMap<u64, File>,
    fill: u8,
    opened: u64,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn reopen(disk: &MemoryDisk, seed: u64, images: &Arc<Images>) -> Store {
    Store::open(&env_of(disk, seed), &config(16 << 20), images.clone()).await.unwrap()
}

impl Run {
    fn new() -> Self {
        let (disk, runtime, images) = (MemoryDisk::new(), runtime(), Arc::new(Images::default()));
        let store = runtime.block_on(reopen(&disk, 0, &images));
        let (now, since_sync) = (vec![0; SPAN as usize], vec![]);
        let file = File {
            now,
            since_sync,
            epoch: 1,
            fence: 1,
            cut: (0, 0),
            sealed: None,
            imaged: false,
            thawed: None,
            adopted: None,
        };
        let files = (1..=EXTENTS).map(|ino| (ino, file.clone())).collect();
        Self { disk, store, images, runtime, files, fill: 0, opened: 0 }
    }

    fn change(&mut self, ino: u64, change: impl FnOnce(&mut File)) {
        let file = self.files.get_mut(&ino).unwrap();
        file.since_sync.push(file.now.clone());
        change(file);
    }

    /// Everything that was appended is on stable storage.
    fn synced(&mut self) {
        self.files.values_mut().for_each(|file| file.since_sync.clear());
    }

    fn write(&mut self, ino: u64, offset: u32, length: u32, synced: bool) {
        self.fill = self.fill.wrapping_add(1).max(1);
        let (fill, epoch) = (self.fill, self.handle(ino));
        let stability = if synced { Stability::Synced } else { Stability::Unstable };
        let data = bytes(fill, length as usize);
        let thawed = self.files[&ino].thawed;
        self.runtime.block_on(async {
            let below = self.store.imaged().into_iter().find(|(one, _)| *one == extent(ino));
            let ticket = self.store.admit(extent(ino), epoch, offset, length).await.unwrap();
            let frozen = below.map(|(_, image)| image).filter(|image| thawed != Some(*image));
            assert_eq!(ticket.above_image(), frozen, "above an image, and not yet told");
            ticket.write(data, stability).await.unwrap();
        });
        let range = offset as usize..(offset + length) as usize;
        self.change(ino, |file| file.now[range].fill(fill));
        if synced {
            self.synced();
        }
    }

    fn reopen(&mut self, crash: Option<Crash>) {
        self.opened += 1;
        self.runtime = runtime();
        if let Some(crash) = crash {
            self.disk.crash(crash);
        }
        self.store = self.runtime.block_on(reopen(&self.disk, self.opened, &self.images));
        self.store.inner.index.check();
        self.files.values_mut().for_each(|file| {
            file.fence = file.epoch;
            file.thawed = None;
        });
    }

    /// One of the epochs whose handles are good.
    fn handle(&self, ino: u64) -> Epoch {
        let file = &self.files[&ino];
        Epoch(file.fence + u64::from(self.fill) % (file.epoch - file.fence + 1))
    }

    fn fenced(&mut self, ino: u64, epoch: Epoch) {
        self.files.get_mut(&ino).unwrap().fence = epoch.0;
    }

    fn next_epoch(&mut self, ino: u64) -> Epoch {
        let file = self.files.get_mut(&ino).unwrap();
        file.epoch += 1;
        Epoch(file.epoch)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { ino, offset, length, synced } => self.write(ino, offset, length, synced),
            Step::Cut { ino, keep } => {
                let epoch = self.next_epoch(ino);
                self.runtime.block_on(self.store.cut(extent(ino), epoch, keep)).unwrap();
                self.change(ino, |file| {
                    file.now[keep as usize..].fill(0);
                    file.cut = (epoch.0, keep);
                });
                self.synced();
            }
            Step::Drop { ino } => {
                let epoch = self.next_epoch(ino);
                self.runtime.block_on(self.store.drop_extent(extent(ino), epoch)).unwrap();
                self.fenced(ino, epoch);
                self.change(ino, |file| {
                    file.now.fill(0);
                    // Its file is gone, and no extent has its name again.
                    file.sealed = None;
                    file.adopted = None;
                });
                // A DROP of an extent that was never heard of has nothing to sync.
                if self.store.size(extent(ino)).epoch == epoch {
                    self.synced();
                }
            }
            Step::Fence { ino } => {
                let epoch = self.next_epoch(ino);
                self.runtime.block_on(self.store.fence(extent(ino), epoch)).unwrap();
                let stale = self.store.read(extent(ino), Epoch(epoch.0 - 1), 0, 1);
                assert!(self.runtime.block_on(stale).is_err());
                self.fenced(ino, epoch);
                self.synced();
            }
            Step::Commit { ino } => {
                let epoch = self.handle(ino);
                self.runtime.block_on(self.store.commit(extent(ino), epoch)).unwrap();
                self.files.get_mut(&ino).unwrap().since_sync.clear();
            }
            Step::Read { ino, offset, length } => {
                let length = length.min(SPAN - offset);
                let read = self.runtime.block_on(read_all(&self.store, extent(ino), offset, length));
                let file = &self.files[&ino];
                assert!(read == file.now[offset as usize..(offset + length) as usize]);
                let handle = self.handle(ino);
                let found = self.runtime.block_on(self.store.read(extent(ino), handle, offset, 1)).unwrap();
                assert_eq!(found.cut, (handle.0 < file.cut.0).then_some(file.cut.1));
            }
            Step::Restart => {
                self.runtime.block_on(self.store.close()).unwrap();
                let before = self.store.inner.index.summary();
                self.reopen(None);
                assert_eq!(self.store.inner.index.summary(), before, "rebuilt as it was");
                self.synced();
            }
            Step::Crash { kind, seed } => self.crash(kind, seed),
            Step::Seal { ino } => self.seal(ino),
            Step::Use { ino } => self.use_image(ino),
            Step::Thaw { ino } => self.thaw(ino),
            Step::Adopt { ino, sequence, keep } => self.adopt(ino, sequence, keep),
            Step::AdoptAgain { ino } => self.adopt_again(ino),
            Step::Churn { ino } => {
                // Fills segments and kills them again, so that compaction has work.
                (0..6).for_each(|_| self.write(ino, 0, SPAN, false));
                self.runtime.block_on(async {
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                });
            }
        }
    }

    fn seal(&mut self, ino: u64) {
        let (store, images) = (self.store.clone(), self.images.clone());
        let sealed = self.runtime.block_on(async {
            let mark = store.mark(extent(ino)).await.ok()?;
            Some((mark, images.seal(&store, extent(ino), mark).await?))
        });
        let file = self.files.get_mut(&ino).unwrap();
        file.sealed = sealed.or(file.sealed);
        if sealed.is_some() {
            self.synced();
        }
    }

    fn use_image(&mut self, ino: u64) {
        let file = &self.files[&ino];
        let (Some((sequence, image)), epoch) = (file.sealed, Epoch(file.epoch)) else { return };
        self.runtime.block_on(async {
            let before = self.store.image(extent(ino)).await.unwrap();
            self.store.use_image(extent(ino), epoch, sequence, &image).await.unwrap();
            let after = self.store.image(extent(ino)).await.unwrap();
            // No primary names an older image once a newer one is in use, or hidden.
            if let Some((_, before)) = before.filter(|_| before != after) {
                self.images.forget(before.image);
            }
        });
        self.files.get_mut(&ino).unwrap().imaged = true;
        self.synced();
    }

    fn thaw(&mut self, ino: u64) {
        let below = self.store.imaged().into_iter().find(|(one, _)| *one == extent(ino));
        if let Some((_, image)) = below {
            self.store.thawed(extent(ino), image);
            self.files.get_mut(&ino).unwrap().thawed = Some(image);
        }
    }

    fn adopt_again(&mut self, ino: u64) {
        let Some((epoch, sequence, keep, image)) = self.files[&ino].adopted else { return };
        let before = self.store.sequence(extent(ino));
        let again = self.store.adopt(extent(ino), epoch, sequence, keep, &image);
        let known = self.runtime.block_on(again).unwrap();
        assert_eq!(known, Epoch(self.files[&ino].epoch), "it is not done twice");
        assert_eq!(self.store.sequence(extent(ino)), before);
    }

    fn adopt(&mut self, ino: u64, sequence: u64, keep: u32) {
        self.fill = self.fill.wrapping_add(1).max(1);
        let (fill, epoch) = (self.fill, self.next_epoch(ino));
        let content = vec![fill; 1 + sequence as usize * 200];
        let image = self.images.put(content.clone());
        let adopted = self.store.adopt(extent(ino), epoch, sequence, keep, &image);
        assert_eq!(self.runtime.block_on(adopted).unwrap(), epoch);
        self.fenced(ino, epoch);
        self.change(ino, |file| {
            file.now.fill(0);
            let end = content.len().min(keep as usize);
            file.now[..end].fill(fill);
            // Handles from before are refused; an image that was made before is one of another
            // epoch.
            file.cut = (0, 0);
            file.sealed = None;
            file.imaged = true;
            file.adopted = Some((epoch, sequence, keep, image));
        });
        self.synced();
    }

    /// Where nothing lies above an image, it says all that the extent is.
    fn check_above(&self, ino: u64) {
        let Some((_, sequence)) = self.store.imaged().into_iter().find(|(one, _)| *one == extent(ino)) else {
            return;
        };
        if self.store.above_image(extent(ino), sequence).expect("no act is under way") != 0 {
            return;
        }
        let shown = self.runtime.block_on(self.store.image(extent(ino))).unwrap();
        let (_, image) = shown.expect("it shows");
        let mut content = self.images.content(image.image).unwrap().to_vec();
        content.resize(SPAN as usize, 0);
        assert!(content == self.files[&ino].now, "extent {ino}: something lies above its image");
    }

    fn crash(&mut self, kind: u8, seed: u64) {
        let crash = match kind {
            0 => Crash::Drop,
            1 => Crash::Keep,
            _ => Crash::Tear { seed },
        };
        let before = self.store.instance();
        self.reopen(Some(crash));
        assert_ne!(self.store.instance(), before, "the verifier tells that bytes may be lost");
        for (ino, file) in &mut self.files {
            let read = self.runtime.block_on(read_all(&self.store, extent(*ino), 0, SPAN));
            for (at, byte) in read.iter().enumerate() {
                let known = file.now[at] == *byte || file.since_sync.iter().any(|old| old[at] == *byte);
                assert!(known, "extent {ino} byte {at} is {byte}, should be {}", file.now[at]);
            }
            file.now = read;
            file.since_sync.clear();
        }
    }

    fn check(&self) {
        self.store.inner.index.check();
        for (ino, file) in &self.files {
            let read = self.runtime.block_on(read_all(&self.store, extent(*ino), 0, SPAN));
            assert!(read == file.now, "extent {ino}");
            let end = file.now.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            let found = self.store.size(extent(*ino)).end_bytes as usize;
            // What an image says is not in a hole, though it is zeros: a cut may end an extent
            // there.
            assert!(end <= found && (found == end || file.imaged), "extent {ino}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_byte_is_one_it_may_be(steps in steps()) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
            (1..=EXTENTS).for_each(|ino| run.check_above(ino));
        }
        run.check();
    }
}

/// A crash took the end of a segment, and the room for its footer: what was cut there must not look
/// lost once younger segments say that this one was whole.
#[test]
fn a_cut_without_room_for_a_footer_stays_a_cut() {
    let small = |ino| Step::Write { ino, offset: 0, length: 1, synced: false };
    let mut run = Run::new();
    for step in [
        Step::Cut { ino: 1, keep: 0 },
        Step::Drop { ino: 1 },
        Step::Write { ino: 3, offset: 0, length: 13_609, synced: false },
        Step::Churn { ino: 1 },
        small(1),
        Step::Write { ino: 3, offset: 1_025, length: 6_369, synced: false },
        Step::Cut { ino: 1, keep: 0 },
        Step::Crash { kind: 2, seed: 1_008_367_396_006_561_769 },
        small(1),
        small(1),
        Step::Crash { kind: 2, seed: 3_210_720_135_381_583_548 },
        small(1),
        Step::Restart,
    ] {
        run.step(step);
    }
    run.check();
}
