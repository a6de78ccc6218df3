//! What was sealed is what is read, whatever it is and however it came.

use bytes::Bytes;
use ds_image::limits::{CONTENT_BYTES_MAX, FRAME_BYTES, IMAGE_BYTES_MAX, IMAGE_BYTES_MIN, READ_BYTES_MAX};
use ds_image::{Form, ImageInfo, ImageSum, ReadError, Sealed};
use env::Disk;
use env::memory::MemoryDisk;
use env::os::{Preference, open_disk};
use proptest::prelude::*;

use crate::bed::{DIR, FRAME, content, file_bytes, id, identity, mixed, noise, open, path, raw, read, seal};
use crate::bed::{verify, words};

/// A stretch of content.
#[derive(Clone, Debug)]
enum Stretch {
    /// Not written.
    Hole(usize),
    /// Written, and zero.
    Zeros(usize),
    Words(usize, u8),
    Noise(usize, u8),
}

impl Stretch {
    fn bytes(&self) -> Vec<u8> {
        match *self {
            Self::Hole(length) | Self::Zeros(length) => vec![0; length],
            Self::Words(length, seed) => words(seed, length),
            Self::Noise(length, seed) => noise(seed, length),
        }
    }
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..300_usize, 0..4 * FRAME_BYTES, Just(FRAME_BYTES), Just(2 * FRAME_BYTES)]
}

fn stretch() -> impl Strategy<Value = Stretch> {
    prop_oneof![
        length().prop_map(Stretch::Hole),
        length().prop_map(Stretch::Zeros),
        (length(), any::<u8>()).prop_map(|(length, seed)| Stretch::Words(length, seed)),
        (length(), any::<u8>()).prop_map(|(length, seed)| Stretch::Noise(length, seed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_written_is_read(
        stretches in prop::collection::vec(stretch(), 0..8),
        chunk in 1..200_000_usize,
        reads in prop::collection::vec((any::<u32>(), any::<u32>()), 8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&stretches, chunk, &reads));
    }
}

async fn check(stretches: &[Stretch], chunk: usize, reads: &[(u32, u32)]) {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let mut writer = store.create(identity(1)).await.unwrap();
    let mut model = Vec::new();
    for stretch in stretches {
        let bytes = stretch.bytes();
        let at = model.len();
        model.extend_from_slice(&bytes);
        if matches!(stretch, Stretch::Hole(_)) {
            continue;
        }
        for (number, piece) in bytes.chunks(chunk).enumerate() {
            let offset = u32::try_from(at + number * chunk).unwrap();
            let (one, other) = piece.split_at(piece.len() / 3);
            let pieces = [one, other].map(Bytes::copy_from_slice).to_vec();
            writer.write(offset, pieces).await.unwrap();
        }
    }
    let size = u32::try_from(model.len()).unwrap();
    let Sealed { info, sum } = writer.finish(size).await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    assert_eq!(*image.info(), info);
    assert!(content(&image).await.unwrap() == model);
    let file = file_bytes(&disk, &path(1)).await;
    assert!(raw(&image).await == file);
    assert_eq!((image.sum().await.unwrap(), sum), (ImageSum::of(&file), ImageSum::of(&file)));
    assert_eq!(verify(&image).await, []);
    for &(at, length) in reads {
        let offset = at % (size + 1000);
        let length = length % 300_000;
        let end = (offset as usize + length as usize).min(model.len());
        let expected = model.get(offset as usize..end).unwrap_or(&[]);
        assert!(read(&image, offset, length).await.unwrap() == expected, "{offset} {length}");
        let offset = u64::from(at) % info.image_bytes;
        let length = u64::from(length).min(info.image_bytes - offset);
        let bytes = image.read_raw(offset, u32::try_from(length).unwrap()).await.unwrap().concat();
        let offset = usize::try_from(offset).unwrap();
        assert!(bytes == file[offset..offset + bytes.len()] && bytes.len() as u64 == length);
    }
}

#[tokio::test]
async fn an_empty_extent_is_an_image() {
    let store = open(&MemoryDisk::new()).await;
    for (number, content_bytes) in [(1, 0), (2, 5 * FRAME + 1), (3, CONTENT_BYTES_MAX)] {
        let writer = store.create(identity(number)).await.unwrap();
        let info = writer.finish(content_bytes).await.unwrap().info;
        assert_eq!((info.image_bytes, info.frames), (IMAGE_BYTES_MIN, 0));
        let image = store.open_image(id(number)).await.unwrap();
        let all = content(&image).await.unwrap();
        assert!(all.len() == content_bytes as usize && all.iter().all(|byte| *byte == 0));
        assert_eq!(verify(&image).await, []);
    }
}

#[tokio::test]
async fn each_form_is_used_where_it_should_be() {
    let store = open(&MemoryDisk::new()).await;
    seal(&store, 1, &mixed()).await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    let forms: Vec<_> = image.stored_frames().map(|stored| (stored.frame, stored.form)).collect();
    assert_eq!(forms, [(1, Form::Zstd), (2, Form::Raw), (3, Form::Zstd)]);
    assert_eq!(image.stored_frame(0), None);
    assert_eq!(image.stored_frame(2).unwrap().stored_bytes, FRAME);
    assert!(content(&image).await.unwrap() == mixed());
}

/// 64 MiB, of which nothing compresses and of which half does.
#[tokio::test]
async fn a_full_extent_is_an_image() {
    let store = open(&MemoryDisk::new()).await;
    let full = noise(1, CONTENT_BYTES_MAX as usize);
    let ImageInfo { image_bytes, frames, .. } = seal(&store, 1, &full).await.unwrap();
    assert_eq!((image_bytes, frames), (IMAGE_BYTES_MAX, 1024));
    let image = store.open_image(id(1)).await.unwrap();
    assert!(content(&image).await.unwrap() == full);
    assert_eq!(verify(&image).await, []);
    let mut half = full;
    for frame in half.chunks_mut(2 * FRAME_BYTES) {
        let text = words(frame[FRAME_BYTES], FRAME_BYTES);
        frame[..FRAME_BYTES].copy_from_slice(&text);
    }
    let info = seal(&store, 2, &half).await.unwrap();
    assert!(info.stored_bytes < CONTENT_BYTES_MAX * 3 / 4, "{info:?}");
    let image = store.open_image(id(2)).await.unwrap();
    assert!(content(&image).await.unwrap() == half);
    assert_eq!(store.usage().bytes, IMAGE_BYTES_MAX + info.image_bytes);
}

#[tokio::test]
async fn ranges_outside_are_refused() {
    let store = open(&MemoryDisk::new()).await;
    let info = seal(&store, 1, b"short").await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    assert_eq!(read(&image, 3, 1000).await.unwrap(), b"rt");
    assert_eq!(read(&image, 5, 1000).await.unwrap(), b"");
    assert_eq!(read(&image, CONTENT_BYTES_MAX, 0).await.unwrap(), b"");
    for (offset, length) in [(CONTENT_BYTES_MAX, 1), (0, READ_BYTES_MAX + 1), (u32::MAX, u32::MAX)] {
        let error = image.read(offset, length).await.unwrap_err();
        assert!(matches!(error, ReadError::Range { .. }), "{offset} {length}");
    }
    for (offset, length) in [(info.image_bytes, 1), (0, info.image_bytes as u32 + 1), (u64::MAX, 2)] {
        let error = image.read_raw(offset, length).await.unwrap_err();
        assert!(matches!(error, ReadError::Range { .. }), "{offset} {length}");
    }
    assert_eq!(image.read_raw(info.image_bytes, 0).await.unwrap().concat(), b"");
}

/// A walk tells how far it is, and waits for who listens.
#[tokio::test]
async fn a_walk_tells_its_progress() {
    let store = open(&MemoryDisk::new()).await;
    let info = seal(&store, 1, &noise(1, 50 * FRAME_BYTES)).await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    let mut told = Vec::new();
    let bad = image.verify(|progress| {
        told.push(progress.bytes_done);
        assert_eq!((progress.bytes, progress.bad_frames), (info.image_bytes, 0));
        tokio::task::yield_now()
    });
    assert_eq!(bad.await.unwrap(), []);
    assert_eq!((told.len(), told.last()), (1 + 50_usize.div_ceil(16), Some(&info.image_bytes)));
    assert!(told.is_sorted());
}

#[tokio::test]
async fn a_real_disk_holds_images() {
    for preference in [Preference::Auto, Preference::Blocking] {
        let dir = tempfile::tempdir().unwrap();
        let disk: std::sync::Arc<dyn Disk> = open_disk("image", preference).unwrap().0;
        let images = dir.path().join(DIR.trim_start_matches('/'));
        let store = ds_image::ImageStore::open(disk.clone(), &images).await.unwrap();
        let all = [mixed(), noise(7, 40 * FRAME_BYTES)].concat();
        let info = seal(&store, 1, &all).await.unwrap();
        std::fs::write(images.join(format!("{}-0.new", id(2))), b"unfinished").unwrap();
        let store = ds_image::ImageStore::open(disk, &images).await.unwrap();
        assert_eq!(store.usage().bytes, info.image_bytes);
        let image = store.open_image(id(1)).await.unwrap();
        assert!(content(&image).await.unwrap() == all);
        assert_eq!(verify(&image).await, []);
        store.delete(id(1)).await.unwrap();
        assert_eq!(std::fs::read_dir(&images).unwrap().count(), 0);
        assert!(content(&image).await.unwrap() == all, "who has it open can read on");
    }
}
