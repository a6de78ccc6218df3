//! Opening, reading, verifying, repairing and receiving whatever lies under the name of a sealed
//! image.
//!
//! A model that knows the page, and none of the crate's code, says which frames are good and what
//! they read as; everything the crate answers must agree with it, and an image must be the same
//! from a disk and over the wire.
//!
//! Input: a byte of settings, then either raw bytes as the file, or a script for a forged image
//! with right checksums.
//! Spec: docs/formats/image.md.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ds_image::limits::{FRAME_BYTES, RAW_BLOCK_BYTES, READ_BYTES_MAX};
use ds_image::{Form, Image, ImageId, ImageStore, ReadError, StoredFrame};
use env::memory::MemoryDisk;
use env::{Disk, OpenMode};

use super::forged_image::{ID, forge, steps};
use super::row::{MemoryBound, Shape, Target};
use super::wal_open::runtime;

pub(super) const TARGET: Target = Target {
    name: "image_open",
    about: "sealed images: raw bytes and forged headers, frames, indexes, footers; reading, repairing, receiving",
    run,
    seeds,
    shape: Shape::Bytes,
    // A script builds a file of up to 9 frames; two disks in memory hold it twice each, a read, the
    // model and a receiver once.
    bound: MemoryBound {
        single_bytes_per_byte: 0,
        single_bytes: 1 << 20,
        live_bytes_per_byte: 0,
        live_bytes: 8 << 20,
    },
    input_bytes_max: 4096,
};

const DIR: &str = "/images";
const IMAGE: ImageId = ImageId(ID);
/// Where in the content a hole is looked at, and how much of it.
const LOOKS: u32 = 8;
const LOOK_BYTES: u32 = 100_000;

fn run(input: &[u8]) -> usize {
    let Some((settings, bytes)) = input.split_first() else { return 0 };
    let file = if settings & 1 == 0 { forge(bytes) } else { bytes.to_vec() };
    runtime().block_on(check(file.into()))
}

fn path() -> PathBuf {
    Path::new(DIR).join(format!("{IMAGE}.img"))
}

async fn store_over(disk: &MemoryDisk) -> ImageStore {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    ImageStore::open(disk, Path::new(DIR)).await.expect("a disk in memory does not fail")
}

async fn check(file: Bytes) -> usize {
    let disk = MemoryDisk::new();
    disk.create_dir_all(Path::new(DIR)).await.expect("a disk in memory does not fail");
    let written = disk.open(&path(), OpenMode::CREATE_NEW).await.expect("a disk in memory does not fail");
    written.write_at_and_sync(vec![file.clone()], 0).await.expect("a disk in memory does not fail");
    let store = store_over(&disk).await;
    let Ok(image) = store.open_image(IMAGE).await else {
        assert!(!receive(&file).await, "what cannot be opened is not received");
        return 0;
    };
    let frames: Vec<Modelled> =
        image.stored_frames().map(|stored| Modelled::of(&image, stored, &file)).collect();
    check_lengths(&image, &file, &frames);
    check_reads(&image, &frames).await;
    check_raw(&image, &file, &frames).await;
    check_walk(&image, &frames).await;
    let is_whole = frames.iter().all(|frame| frame.is_stored);
    assert_eq!(store.repair(IMAGE, &BTreeMap::new()).await.is_ok(), is_whole, "a repair needs what is bad");
    let again = store.open_image(IMAGE).await.expect("what was opened opens again");
    assert_eq!(again.info(), image.info());
    check_raw(&again, &file, &frames).await;
    let is_right = frames.iter().all(|frame| frame.content.is_some());
    assert_eq!(receive(&file).await, is_right, "an image is received if it is whole");
    1 + frames.len()
}

/// What the page says of one stored frame.
struct Modelled {
    stored: StoredFrame,
    /// Its bytes are those that the index has the hash of,
    is_stored: bool,
    /// and become this.
    content: Option<Vec<u8>>,
}

impl Modelled {
    fn of(image: &Image, stored: StoredFrame, file: &Bytes) -> Self {
        let start = usize::try_from(stored.offset).expect("in memory");
        let bytes = &file[start..start + stored.stored_bytes as usize];
        let is_stored = *blake3::hash(bytes).as_bytes() == stored.hash;
        let behind = image.info().content_bytes as usize - usize::from(stored.frame) * FRAME_BYTES;
        let length = behind.min(FRAME_BYTES);
        let content = match stored.form {
            Form::Raw => Some(bytes.to_vec()),
            // One byte more than there should be, so that what is too long shows.
            Form::Zstd => zstd::bulk::decompress(bytes, length + 1).ok(),
        };
        let content = content.filter(|content| is_stored && content.len() == length);
        Self { stored, is_stored, content }
    }
}

fn check_lengths(image: &Image, file: &Bytes, frames: &[Modelled]) {
    let info = image.info();
    assert_eq!(info.image_bytes, file.len() as u64);
    assert_eq!(info.identity.image, IMAGE);
    assert!(u64::from(info.content_bytes) <= layout::EXTENT_BYTES);
    let mut end = 64;
    for frame in frames {
        assert_eq!(frame.stored.offset, end, "frames lie one behind the other");
        end += u64::from(frame.stored.stored_bytes);
    }
    assert_eq!(end + 40 * frames.len() as u64 + 64, info.image_bytes);
}

/// Each stored frame on its own, and ranges over several frames and holes.
async fn check_reads(image: &Image, frames: &[Modelled]) {
    let frame_bytes = u32::try_from(FRAME_BYTES).expect("64 KiB");
    for frame in frames {
        check_read(image, frames, u32::from(frame.stored.frame) * frame_bytes, frame_bytes).await;
    }
    let content_bytes = image.info().content_bytes;
    for look in 0..LOOKS {
        check_read(image, frames, content_bytes / LOOKS * look, LOOK_BYTES).await;
    }
    check_read(image, frames, content_bytes.saturating_sub(9), 9).await;
    check_read(image, frames, content_bytes, 0).await;
}

async fn check_read(image: &Image, frames: &[Modelled], offset: u32, length: u32) {
    let (start, end) = (offset as usize, (offset + length).min(image.info().content_bytes) as usize);
    let read = match image.read(offset, length).await {
        Ok(pieces) => Ok(pieces.concat()),
        // The last look may begin so near to the extent's end that it would leave it.
        Err(ReadError::Range { .. }) => {
            assert!(layout::EXTENT_BYTES < u64::from(offset) + u64::from(length));
            return;
        }
        Err(ReadError::Damaged { frame, .. }) => Err(frame),
    };
    let mut model = vec![0; end.saturating_sub(start)];
    for frame in frames {
        let first = usize::from(frame.stored.frame) * FRAME_BYTES;
        let (from, to) = (first.max(start), (first + FRAME_BYTES).min(end));
        if to <= from {
            continue;
        }
        let Some(content) = &frame.content else {
            assert_eq!(read, Err(frame.stored.frame), "the first bad frame is told");
            return;
        };
        model[from - start..to - start].copy_from_slice(&content[from - first..to - first]);
    }
    assert!(read == Ok(model), "{offset} {length}");
}

async fn check_raw(image: &Image, file: &Bytes, frames: &[Modelled]) {
    let length = u32::try_from(file.len()).expect("in memory").min(READ_BYTES_MAX);
    match image.read_raw(0, length).await {
        Ok(pieces) => {
            assert!(frames.iter().all(|frame| frame.is_stored));
            assert!(pieces.concat() == file[..length as usize]);
        }
        Err(ReadError::Damaged { frame, .. }) => {
            let bad = frames.iter().find(|frame| !frame.is_stored).expect("something is bad");
            assert_eq!(bad.stored.frame, frame);
        }
        Err(error) => panic!("{error}"),
    }
}

async fn check_walk(image: &Image, frames: &[Modelled]) {
    let walked = image.verify(|_| std::future::ready(())).await.expect("what was opened is as it was");
    let walked: Vec<u16> = walked.iter().map(|bad| bad.frame).collect();
    let bad = frames.iter().filter(|frame| frame.content.is_none()).map(|frame| frame.stored.frame);
    assert_eq!(walked, bad.collect::<Vec<_>>());
}

/// Sends the file to another directory, last block first. Whether it was taken.
async fn receive(file: &Bytes) -> bool {
    let store = store_over(&MemoryDisk::new()).await;
    let Ok(mut receiver) = store.receive(IMAGE, file.len() as u64).await else { return false };
    let block = usize::try_from(RAW_BLOCK_BYTES).expect("64 KiB");
    for at in (0..file.len()).step_by(block).collect::<Vec<_>>().into_iter().rev() {
        let data = vec![file.slice(at..file.len().min(at + block))];
        receiver.write(at as u64, data).await.expect("whole blocks are taken");
    }
    receiver.finish(None).await.is_ok()
}

fn seeds() -> Vec<Vec<u8>> {
    let content = ([0, 2, 0x80, 0], &b""[..]);
    let raw = ([1, 0, 7, 1], &b""[..]);
    let packed = ([2, 1, 9, 0], &b""[..]);
    let last = ([1, 2, 3, 5], &b""[..]);
    let few = ([0, 0, 0, 5], &b""[..]);
    let own = ([3, 0, 1, 5], &b"bytes"[..]);
    let wrong_hash = ([4, 2, 0, 1], &b""[..]);
    let too_long = ([2, 1, 9, 1], &b""[..]);
    let scripts = [
        steps(&[]),
        steps(&[content]),
        steps(&[content, raw, packed, last]),
        steps(&[few, own]),
        steps(&[content, packed, wrong_hash, last]),
        steps(&[content, raw, too_long]),
    ];
    let mut seeds: Vec<Vec<u8>> = scripts.iter().map(|script| [&[0][..], script].concat()).collect();
    // The file itself, small enough to be changed anywhere.
    seeds.push([&[1][..], &forge(&steps(&[few, own]))].concat());
    seeds
}
