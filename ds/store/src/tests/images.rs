//! Images that stand for older bytes: sealed, used, written over, cut, sealed again; found again
//! after a crash.
//!
//! Spec: docs/protocol/seal.md §1, §4, §5; docs/formats/journal.md §3.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use env::BoxFuture;
use env::memory::{Crash, MemoryDisk};
use layout::ec::ImageId;
use parking_lot::Mutex;

use super::*;
use crate::limits::{EXTENT_BYTES, IMAGE_READ_BYTES_MAX};
use crate::{ImageReadError, ImageRef, ReadError, Run, Said};

/// Images in a map; some cannot be read.
#[derive(Default)]
pub(crate) struct Images {
    contents: Mutex<HashMap<ImageId, Bytes>>,
    made: AtomicU64,
    pub(crate) refuses: Mutex<Option<ImageReadError>>,
    /// Answers are so many bytes short.
    short: Mutex<usize>,
    pub(crate) reads: Mutex<u32>,
}

impl ImageSource for Images {
    fn read(
        &self,
        _: ExtentId,
        image: &ImageRef,
        offset: u32,
        length: u32,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ImageReadError>> {
        assert!(0 < length && length <= IMAGE_READ_BYTES_MAX && offset + length <= image.content_bytes);
        let image = *image;
        Box::pin(async move {
            // Others get their turn, as with a disk.
            tokio::task::yield_now().await;
            *self.reads.lock() += 1;
            if let Some(error) = *self.refuses.lock() {
                return Err(error);
            }
            let contents = self.contents.lock();
            let content = contents.get(&image.image).ok_or(ImageReadError::Unavailable)?;
            assert_eq!((content.len(), image.root), (image.content_bytes as usize, root(content)));
            let end = (offset + length) as usize - *self.short.lock();
            let half = offset as usize + (end - offset as usize) / 2;
            Ok(vec![content.slice(offset as usize..half), content.slice(half..end)])
        })
    }
}

/// Something that stands for content, as a root does.
fn root(content: &[u8]) -> [u8; 32] {
    let mut root = [1u8; 32];
    content.iter().enumerate().for_each(|(at, byte)| {
        root[at % 31] = root[at % 31].wrapping_mul(31).wrapping_add(*byte);
    });
    root
}

impl Images {
    /// Makes an image of the extent as of `sequence`; `None` if there was a later act.
    pub(crate) async fn seal(&self, store: &Store, extent: ExtentId, sequence: u64) -> Option<ImageRef> {
        let runs = store.capture(extent, sequence)?;
        let mut content = Vec::new();
        for run in runs {
            assert_eq!(run.said, Said::Data);
            content.resize(run.offset as usize, 0);
            while content.len() < (run.offset + run.length) as usize {
                let at = content.len() as u32;
                let bytes = store.peek(extent, at, run.offset + run.length - at).await.unwrap();
                bytes.iter().for_each(|bytes| content.extend_from_slice(bytes));
            }
        }
        if content.is_empty() || !store.is_at(extent, sequence) {
            return None;
        }
        Some(self.put(content))
    }

    pub(crate) fn put(&self, content: Vec<u8>) -> ImageRef {
        let mut contents = self.contents.lock();
        let mut id = [7; 16];
        id[..8].copy_from_slice(&self.made.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let image = ImageId(id);
        let content_bytes = content.len() as u32;
        let (file_bytes, root) = (128 + content_bytes, root(&content));
        contents.insert(image, content.into());
        ImageRef { image, content_bytes, file_bytes, root }
    }

    /// What an image says.
    pub(crate) fn content(&self, image: ImageId) -> Option<Bytes> {
        self.contents.lock().get(&image).cloned()
    }

    pub(crate) fn forget(&self, image: ImageId) {
        self.contents.lock().remove(&image);
    }
}

pub(crate) struct Bed {
    pub(crate) disk: MemoryDisk,
    pub(crate) images: Arc<Images>,
    pub(crate) store: Store,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with_capacity(16 << 20).await
    }

    pub(crate) async fn with_capacity(capacity_bytes: u64) -> Self {
        let (disk, images) = (MemoryDisk::new(), Arc::new(Images::default()));
        let store = Store::open(&env_of(&disk, 1), &config(capacity_bytes), images.clone()).await.unwrap();
        Self { disk, images, store }
    }

    pub(crate) async fn crash(&mut self) {
        self.disk.crash(Crash::Drop);
        let images = self.images.clone();
        self.store = Store::open(&env_of(&self.disk, 2), &config(16 << 20), images).await.unwrap();
    }

    pub(crate) async fn write(&self, ino: u64, offset: u32, fill: u8, length: usize) {
        let epoch = self.store.size(extent(ino)).epoch.max(Epoch(1));
        for at in (0..length).step_by(16 << 10) {
            let (offset, data) = (offset + at as u32, bytes(fill, (length - at).min(16 << 10)));
            self.store.write(extent(ino), epoch, offset, data, Stability::Unstable).await.unwrap();
        }
    }

    /// Seals an extent as it is, and uses the image.
    pub(crate) async fn seal(&self, ino: u64) -> (u64, ImageRef) {
        let (store, one) = (&self.store, extent(ino));
        let sequence = store.mark(one).await.unwrap();
        let image = self.images.seal(store, one, sequence).await.unwrap();
        store.use_image(one, store.size(one).epoch, sequence, &image).await.unwrap();
        (sequence, image)
    }
}

/// Lets others work until something has happened.
async fn until(happened: impl Fn() -> bool) {
    for _ in 0..1000 {
        if happened() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never happens");
}

fn size(store: &Store, ino: u64) -> (u32, u32) {
    let size = store.size(extent(ino));
    (size.end_bytes, size.held_bytes)
}

#[tokio::test]
async fn a_sealed_extent_reads_the_same_and_leaves_the_journal() {
    let mut bed = Bed::with_capacity(16 << 20).await;
    bed.write(1, 0, 1, 300_000).await;
    bed.write(1, 400_000, 2, 1000).await;
    let before = read_all(&bed.store, extent(1), 0, 500_000).await;
    let live = bed.store.usage().live_bytes;
    assert!(301_000 < live);
    let (sequence, image) = bed.seal(1).await;
    assert_eq!(bed.store.image(extent(1)).await.unwrap(), Some((sequence, image)));
    assert!(bed.store.is_image_used(extent(1), image.image).await.unwrap());
    assert!(!bed.store.is_image_used(extent(1), ImageId([99; 16])).await.unwrap());
    assert!(!bed.store.is_image_used(extent(2), image.image).await.unwrap());
    assert_eq!(bed.store.imaged(), [(extent(1), sequence)]);
    for _ in 0..2 {
        assert!(read_all(&bed.store, extent(1), 0, 500_000).await == before);
        assert_eq!(size(&bed.store, 1), (401_000, 401_000), "zeros within an image count");
        assert_eq!(bed.store.size(extent(1)).change, sequence);
        assert!(bed.store.usage().live_bytes < 1000, "{}", bed.store.usage().live_bytes);
        bed.store.inner.index.check();
        bed.crash().await;
    }
    assert_eq!(bed.store.image(extent(1)).await.unwrap(), Some((sequence, image)), "read from its record");
}

#[tokio::test]
async fn what_comes_later_lies_above() {
    let mut bed = Bed::new().await;
    bed.write(1, 0, 1, 100_000).await;
    let (sequence, image) = bed.seal(1).await;
    bed.write(1, 50_000, 2, 10_000).await;
    bed.write(1, 99_000, 3, 5_000).await;
    let expected =
        [vec![1; 50_000], vec![2; 10_000], vec![1; 39_000], vec![3; 5_000], vec![0; 1_000]].concat();
    for _ in 0..2 {
        assert!(read_all(&bed.store, extent(1), 0, 105_000).await == expected);
        assert_eq!(size(&bed.store, 1), (104_000, 104_000));
        // The same again, as who was not answered asks for it.
        bed.store.use_image(extent(1), Epoch(9), sequence, &image).await.unwrap();
        bed.crash().await;
    }
    bed.store.cut(extent(1), Epoch(10), 55_000).await.unwrap();
    bed.write(1, 70_000, 4, 1_000).await;
    let expected =
        [vec![1; 50_000], vec![2; 5_000], vec![0; 15_000], vec![4; 1_000], vec![0; 34_000]].concat();
    for _ in 0..2 {
        assert!(read_all(&bed.store, extent(1), 0, 105_000).await == expected);
        assert_eq!(size(&bed.store, 1), (71_000, 56_000));
        bed.store.use_image(extent(1), Epoch(10), sequence, &image).await.unwrap();
        bed.store.inner.index.check();
        bed.store.flush().await.unwrap();
        bed.crash().await;
    }
    // Sealed again, with what the first image says in it; the first one is not needed any more.
    let (again, newer) = bed.seal(1).await;
    assert!(sequence < again && image.image != newer.image);
    bed.images.forget(image.image);
    for _ in 0..2 {
        assert!(read_all(&bed.store, extent(1), 0, 105_000).await == expected);
        assert!(!bed.store.is_image_used(extent(1), image.image).await.unwrap());
        assert_eq!(bed.store.image(extent(1)).await.unwrap(), Some((again, newer)));
        bed.crash().await;
    }
    // An older one, said late, hides nothing.
    bed.store.use_image(extent(1), Epoch(10), sequence, &image).await.unwrap();
    assert_eq!(bed.store.image(extent(1)).await.unwrap(), Some((again, newer)));
}

/// An image that is written over altogether is not in use any more; after a crash that takes the
/// WRITE with it, it is again.
#[tokio::test]
async fn an_image_that_is_written_over_is_used_no_more() {
    let mut bed = Bed::new().await;
    bed.write(1, 0, 1, 10_000).await;
    let (sequence, image) = bed.seal(1).await;
    bed.write(1, 0, 2, 10_000).await;
    assert_eq!(bed.store.image(extent(1)).await.unwrap(), None);
    assert_eq!(bed.store.imaged(), []);
    bed.crash().await;
    assert_eq!(bed.store.image(extent(1)).await.unwrap(), Some((sequence, image)));
    assert_eq!(read_all(&bed.store, extent(1), 0, 10_000).await, [1; 10_000]);
    // Where it is answered that a newer image is used, the older one must not be needed again,
    // whatever hides it.
    bed.write(1, 0, 3, 20_000).await;
    let newer = bed.images.put(vec![1; 10_000]);
    bed.store.use_image(extent(1), Epoch(1), sequence + 1, &newer).await.unwrap();
    bed.images.forget(image.image);
    bed.crash().await;
    assert_eq!(bed.store.image(extent(1)).await.unwrap(), None);
    assert_eq!(read_all(&bed.store, extent(1), 0, 20_000).await, [3; 20_000]);
}

#[tokio::test]
async fn a_mark_is_above_all_that_landed_and_below_all_that_comes() {
    let bed = Bed::new().await;
    let (store, one) = (&bed.store, extent(1));
    let before = store.admit(one, Epoch(1), 0, 100).await.unwrap();
    let marking = tokio::spawn({
        let store = store.clone();
        async move { store.mark(extent(1)).await.unwrap() }
    });
    until(|| before.sequence() < store.sequence(one)).await;
    // Admitted while the mark waits for the first: above it.
    let after = store.admit(one, Epoch(1), 50, 100).await.unwrap();
    assert!(!marking.is_finished());
    before.write(bytes(1, 100), Stability::Unstable).await.unwrap();
    let mark = marking.await.unwrap();
    assert!(mark < after.sequence());
    assert!(!store.is_at(one, mark) && store.capture(one, mark).is_none(), "a WRITE is under way");
    after.write(bytes(2, 100), Stability::Unstable).await.unwrap();
    let next = store.mark(one).await.unwrap();
    assert!(store.is_at(one, next));
    let runs = store.capture(one, next).unwrap();
    assert_eq!(runs, [Run { offset: 0, length: 150, sequence: next, said: Said::Data }]);
    assert!(matches!(store.mark(extent(2)).await, Err(ChangeError::Stale { .. })), "never heard of");
}

/// The same for the sequences that an overlay takes: what lands later must not be hidden by it.
#[tokio::test]
async fn a_rise_is_above_all_that_landed_and_below_all_that_comes() {
    let bed = Bed::new().await;
    let (store, one) = (&bed.store, extent(1));
    let before = store.admit(one, Epoch(1), 0, 100).await.unwrap();
    let rising = tokio::spawn({
        let store = store.clone();
        async move { store.rise(extent(1), 70).await.unwrap() }
    });
    until(|| before.sequence() < store.sequence(one)).await;
    let after = store.admit(one, Epoch(1), 50, 100).await.unwrap();
    before.write(bytes(1, 100), Stability::Unstable).await.unwrap();
    let free = rising.await.unwrap();
    assert_eq!((free, after.sequence()), (71, 74), "three are left free");
    after.write(bytes(2, 100), Stability::Unstable).await.unwrap();
}

/// A mark outlives compaction and restarts: its sequence is never given again.
#[tokio::test]
async fn a_mark_is_never_given_again() {
    let mut bed = Bed::new().await;
    bed.write(1, 0, 1, 100).await;
    let mark = bed.store.mark(extent(1)).await.unwrap();
    for _ in 0..3 {
        churn(&bed.store).await;
        bed.store.flush().await.unwrap();
        bed.crash().await;
        assert_eq!(bed.store.sequence(extent(1)), mark);
        let told = bed.store.runs_since(extent(1), mark).await.unwrap();
        assert_eq!(told, [Run { offset: EXTENT_BYTES, length: 0, sequence: mark, said: Said::Cut }]);
    }
    // No metadata server asked for it: a CUT of one at the extent's epoch is still carried out.
    bed.store.cut(extent(1), Epoch(1), 0).await.unwrap();
    assert_eq!(size(&bed.store, 1), (0, 0));
}

/// On a replica, too, a CUT at the extent's end is no CUT of a metadata server.
#[tokio::test]
async fn a_mark_of_a_primary_cuts_nothing_on_its_replica() {
    let bed = Bed::new().await;
    let (store, one) = (&bed.store, extent(1));
    store.attach(one, Epoch(1)).await.unwrap();
    store.write_at(one, Epoch(1), 1, 0, Bytes::from(vec![1; 100]), Stability::Unstable).await.unwrap();
    store.cut_at(one, Epoch(5), 7, EXTENT_BYTES).await.unwrap();
    assert_eq!((store.sequence(one), size(store, 1)), (7, (100, 100)));
    store.cut(one, Epoch(5), 10).await.unwrap();
    assert_eq!(size(store, 1), (10, 10));
}

/// Fills segments and kills them again, so that what lives in the older ones is moved.
pub(crate) async fn churn(store: &Store) {
    let oldest = store.inner.wal.segments().iter().map(|stat| stat.seq).max().unwrap();
    for round in 0..4000u32 {
        let segments = store.inner.wal.segments();
        let data = bytes(round as u8, 16 << 10);
        if segments.iter().all(|stat| oldest < stat.seq) {
            // One with a single dead record would not be worth emptying next time.
            if segments.last().is_none_or(|stat| stat.bytes < 32 << 10) {
                store.write(extent(99), Epoch(1), 0, data, Stability::Unstable).await.unwrap();
            }
            return;
        }
        store.write(extent(99), Epoch(1), 0, data, Stability::Unstable).await.unwrap();
        store.inner.wake.notify_one();
        tokio::task::yield_now().await;
    }
    panic!("segments up to {oldest} are never emptied: {:?}", store.inner.segment_uses());
}

#[tokio::test]
async fn compaction_moves_the_record_of_an_image_and_not_its_bytes() {
    let mut bed = Bed::new().await;
    bed.write(1, 0, 1, 200_000).await;
    bed.seal(1).await;
    bed.write(1, 1000, 2, 10).await;
    bed.store.cut(extent(1), Epoch(2), 150_000).await.unwrap();
    let expected = [vec![1; 1000], vec![2; 10], vec![1; 148_990], vec![0; 10]].concat();
    let reads = *bed.images.reads.lock();
    for _ in 0..3 {
        churn(&bed.store).await;
        assert_eq!(*bed.images.reads.lock(), reads);
        bed.store.inner.index.check();
        bed.store.flush().await.unwrap();
        bed.crash().await;
    }
    assert!(read_all(&bed.store, extent(1), 0, 150_010).await == expected);
}

/// Readers meet compaction, WRITEs and new images.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_right_while_images_change() {
    let bed = Arc::new(Bed::with_capacity(4 << 20).await);
    bed.write(1, 0, 7, 64 << 10).await;
    let busy = tokio::spawn({
        let bed = bed.clone();
        async move {
            let mut last = None;
            for round in 0..60u32 {
                let (_, image) = bed.seal(1).await;
                if let Some(last) = last.replace(image.image) {
                    bed.images.forget(last);
                }
                for part in 0..8 {
                    bed.write(1, (round + part) % 16 * 4096, 7, 4096).await;
                    bed.write(2, 0, 1, 16 << 10).await;
                }
            }
        }
    });
    while !busy.is_finished() {
        assert!(read_all(&bed.store, extent(1), 0, 64 << 10).await.iter().all(|byte| *byte == 7));
    }
    busy.await.unwrap();
}

#[tokio::test]
async fn an_image_that_cannot_be_read_is_an_error_where_it_shows_and_nowhere_else() {
    let bed = Bed::new().await;
    bed.write(1, 0, 1, 10_000).await;
    let (_, image) = bed.seal(1).await;
    bed.write(1, 0, 2, 5_000).await;
    let read = async |offset, length| bed.store.read(extent(1), Epoch(1), offset, length).await;
    for (refusal, bad_blocks) in [(ImageReadError::Unavailable, 0), (ImageReadError::Damaged, 1)] {
        *bed.images.refuses.lock() = Some(refusal);
        let error = read(4_000, 2_000).await.unwrap_err();
        assert!(
            matches!(error, ReadError::Image { image: one, error } if (one, error) == (image.image, refusal))
        );
        assert_eq!(read(0, 5_000).await.unwrap().bytes, 5_000);
        assert_eq!(bed.store.usage().bad_blocks, bad_blocks, "what is away is not damaged");
    }
    *bed.images.refuses.lock() = None;
    *bed.images.short.lock() = 1;
    let error = read(4_000, 2_000).await.unwrap_err();
    assert!(matches!(error, ReadError::Image { error: ImageReadError::Damaged, .. }), "too few bytes");
}

#[tokio::test]
async fn images_that_cannot_be_are_refused() {
    let bed = Bed::new().await;
    let (store, one) = (&bed.store, extent(1));
    let image = bed.images.put(vec![1; 100]);
    let unknown = store.use_image(one, Epoch(1), 1, &image).await;
    assert!(
        matches!(unknown, Err(ChangeError::Stale { .. })),
        "an extent that was dropped does not come back"
    );
    assert_eq!(store.usage().extents, 0);
    bed.write(1, 0, 2, 100).await;
    store.fence(one, Epoch(4)).await.unwrap();
    let stale = store.use_image(one, Epoch(3), 1, &image).await;
    assert!(matches!(stale, Err(ChangeError::Stale { known: Epoch(4) })));
    let longer = ImageRef { content_bytes: 1 + (64 << 20), ..image };
    for (sequence, image) in [(0, image), (1 << 37, image), (1, longer)] {
        let refused = store.use_image(one, Epoch(4), sequence, &image).await;
        assert!(matches!(refused, Err(ChangeError::Range)));
    }
    store.drop_extent(one, Epoch(5)).await.unwrap();
    store.use_image(one, Epoch(5), 1, &image).await.unwrap();
    assert_eq!((store.imaged(), size(store, 1)), (vec![], (0, 0)), "the DROP is younger");
}

/// A record whose payload names no image: its bytes cannot be read, all else can.
#[tokio::test]
async fn a_record_that_names_no_image_is_an_error_to_the_reader() {
    let bed = Bed::new().await;
    bed.write(1, 0, 1, 10_000).await;
    let (one, sequence) = (extent(1), bed.store.mark(extent(1)).await.unwrap());
    let act = crate::record::Act {
        kind: crate::record::Kind::Image,
        extent: one,
        epoch: Epoch(1),
        sequence,
        offset: 10_000,
        length: EXTENT_BYTES - 10_000,
    };
    let other = bed.images.put(vec![1; 9_999]).encode();
    let record = act.record(vec![Bytes::copy_from_slice(&other)]);
    bed.store.inner.wal.append_durable(record).await.unwrap();
    let mut bed = bed;
    bed.crash().await;
    assert_eq!(size(&bed.store, 1), (10_000, 10_000));
    let error = bed.store.read(one, Epoch(1), 0, 1).await.unwrap_err();
    assert!(matches!(error, ReadError::ImageRecord(_)), "{error}");
    assert!(bed.store.is_image_used(one, ImageId([9; 16])).await.is_err(), "it may be any");
    assert!(bed.store.runs_since(one, 0).await.is_err());
    bed.write(1, 0, 2, 100).await;
    assert_eq!(read_all(&bed.store, one, 0, 100).await, [2; 100]);
}

#[tokio::test]
async fn images_take_room_from_the_journal() {
    let bed = Bed::with_capacity(4 << 20).await;
    let empty = bed.store.usage();
    bed.store.set_images_bytes(1 << 20);
    let usage = bed.store.usage();
    assert_eq!((usage.used_bytes, usage.images_bytes), (1 << 20, 1 << 20));
    let gained = usage.capacity_bytes - empty.capacity_bytes;
    assert_eq!(gained, (1 << 20) / 8, "images need no reserve");
    bed.store.set_images_bytes(4 << 20);
    let full = bed.store.write(extent(1), Epoch(1), 0, bytes(1, 100), Stability::Unstable).await;
    assert!(matches!(full, Err(ChangeError::NoSpace)));
    let usage = bed.store.usage();
    assert!(usage.capacity_bytes <= usage.used_bytes);
    bed.store.set_images_bytes(0);
    assert_eq!(bed.store.usage(), empty);
    bed.write(1, 0, 1, 100).await;
}

/// A store that is full of extents that rest gets its room back by sealing them.
#[tokio::test]
async fn a_full_journal_is_emptied_by_sealing() {
    let bed = Bed::with_capacity(4 << 20).await;
    let mut count = 0;
    loop {
        let written =
            bed.store.write(extent(1 + count), Epoch(1), 0, bytes(1, 32 << 10), Stability::Unstable);
        match written.await {
            Ok(()) => count += 1,
            Err(ChangeError::NoSpace) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(50 < count);
    for ino in 1..=count {
        bed.seal(ino).await;
    }
    let live = bed.store.usage().live_bytes;
    assert!(live < count * 500, "{live} for {count}");
    for ino in 1000..1000 + count / 2 {
        bed.write(ino, 0, 3, 32 << 10).await;
    }
    for ino in 1..=count {
        assert!(read_all(&bed.store, extent(ino), 0, 32 << 10).await == [1; 32 << 10]);
    }
    bed.store.inner.index.check();
}
