//! What sealing and reading images costs, beside what hashing and compressing alone do.
//!
//! `cargo bench -p ds-image [-- DIR]`. Prints one line per measure, in MB (10^6 bytes) of content
//! per second. Reads come from the page cache unless the machine is short of memory: they measure
//! the path, not the device. Writes are measured until the image is durable.

#![allow(clippy::disallowed_methods, reason = "a bench measures wall-clock time")]
#![allow(clippy::unwrap_used, reason = "a failed bench has nothing better to do")]

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ds_image::limits::{CONTENT_BYTES_MAX, FRAME_BYTES, ZSTD_LEVEL};
use ds_image::{Identity, Image, ImageId, ImageStore};
use env::os::{Preference, open_disk};
use layout::{Epoch, ExtentId};

const EXTENT: usize = CONTENT_BYTES_MAX as usize;
/// Bytes of one write to a writer, and of one read.
const STEP: usize = 1 << 20;
const ROUNDS: u32 = 5;
const RANDOM_READS: u32 = 4000;

fn main() {
    let base = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let base = tempfile::tempdir_in(base.unwrap_or_else(|| ".".into())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (name, content) in [("noise", noise()), ("text", text())] {
        limits(name, &content, base.path());
        for preference in [Preference::Uring, Preference::Blocking] {
            let dir = base.path().join(format!("{name}-{preference:?}"));
            runtime.block_on(run(name, &dir, preference, &content));
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
}

fn report(name: &str, what: &str, value: f64, unit: &str) {
    println!("{name:<16} {what:<44} {value:>9.1} {unit}");
}

/// The best of some rounds: others use the machine too.
fn best(bytes: usize, mut round: impl FnMut() -> Duration) -> f64 {
    let shortest = (0..ROUNDS).map(|_| round()).min().unwrap();
    bytes as f64 / 1e6 / shortest.as_secs_f64()
}

fn timed(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

fn hashed(frame: &[u8]) {
    black_box(blake3::hash(frame));
}

fn noise() -> Bytes {
    let mut bytes = vec![0; EXTENT];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// Lines as a log has them: they shrink to about a third.
fn text() -> Bytes {
    let mut text = String::with_capacity(EXTENT + 200);
    let mut number = 1_u64;
    while text.len() < EXTENT {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (a, b, c) = (number >> 56, number >> 40 & 0xffff, number >> 16 & 0x00ff_ffff);
        text += &format!("10.0.{}.{a} GET /data/{b:04x}/part-{c:06x} 200 {} ms\n", a / 3, c % 1000);
    }
    text.truncate(EXTENT);
    text.into()
}

/// One core over frames in memory, and a file written and synced: nothing that does this work can
/// be faster.
fn limits(name: &str, content: &Bytes, dir: &Path) {
    let frames = || content.chunks(FRAME_BYTES);
    let hash = best(EXTENT, || timed(|| frames().for_each(hashed)));
    report(name, "limit: BLAKE3 of each frame", hash, "MB/s");
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).unwrap();
    let mut scratch = Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_BYTES));
    let compress = best(EXTENT, || {
        timed(|| {
            for frame in frames() {
                compressor.compress_to_buffer(frame, &mut scratch).unwrap();
            }
        })
    });
    report(name, "limit: zstd of each frame", compress, "MB/s");
    let packed: Vec<Vec<u8>> = frames().map(|frame| compressor.compress(frame).unwrap()).collect();
    let packed_bytes: usize = packed.iter().map(Vec::len).sum();
    report(name, "zstd of each frame", packed_bytes as f64 * 100.0 / EXTENT as f64, "% left");
    let mut decompressor = zstd::bulk::Decompressor::new().unwrap();
    let decompress = best(EXTENT, || {
        timed(|| {
            for frame in &packed {
                decompressor.decompress_to_buffer(frame, &mut scratch).unwrap();
            }
        })
    });
    report(name, "limit: decompressing each frame", decompress, "MB/s");
    let raw = best(EXTENT, || {
        let path = dir.join("raw");
        let spent = timed(|| {
            let mut file = std::fs::File::create(&path).unwrap();
            content.chunks(STEP).for_each(|step| file.write_all(step).unwrap());
            file.sync_all().unwrap();
        });
        std::fs::remove_file(&path).unwrap();
        spent
    });
    report(name, "limit: a raw file, written and synced", raw, "MB/s");
}

async fn run(name: &str, dir: &Path, preference: Preference, content: &Bytes) {
    let name = format!("{name} {preference:?}");
    let (disk, _) = open_disk("bench", preference).unwrap();
    let store = ImageStore::open(disk, dir).await.unwrap();
    let (mut fed, mut durable) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        let (one, other) = seal(&store, round, content).await;
        (fed, durable) = (fed.min(one), durable.min(other));
    }
    report(&name, "write, not synced", EXTENT as f64 / 1e6 / fed.as_secs_f64(), "MB/s");
    report(&name, "write, durable", EXTENT as f64 / 1e6 / durable.as_secs_f64(), "MB/s");
    let image = store.open_image(id(0)).await.unwrap();
    let mut shortest = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        for (kind, shortest) in shortest.iter_mut().enumerate() {
            let began = Instant::now();
            match kind {
                0 => read_all(&image).await,
                1 => read_raw(&image).await,
                _ => drop(image.verify(|_| std::future::ready(())).await.unwrap()),
            }
            *shortest = began.elapsed().min(*shortest);
        }
    }
    let image_bytes = image.info().image_bytes as f64;
    for (what, bytes, spent) in [
        ("read, 1 MiB at a time", EXTENT as f64, shortest[0]),
        ("raw read, 1 MiB at a time (MB of the file)", image_bytes, shortest[1]),
        ("verify", EXTENT as f64, shortest[2]),
    ] {
        report(&name, what, bytes / 1e6 / spent.as_secs_f64(), "MB/s");
    }
    random_reads(&name, &image).await;
    let began = Instant::now();
    for _ in 0..1000 {
        black_box(store.open_image(id(0)).await.unwrap());
    }
    report(&name, "open", began.elapsed().as_secs_f64() * 1e3, "us");
}

fn id(round: u32) -> ImageId {
    ImageId(u128::from(round + 1).to_be_bytes())
}

/// How long it took to take the content, and until the image was durable.
async fn seal(store: &ImageStore, round: u32, content: &Bytes) -> (Duration, Duration) {
    let extent = ExtentId { ino: 1, index: 0 };
    let identity = Identity { image: id(round), extent, epoch: Epoch(1), sequence: 1 };
    let began = Instant::now();
    let mut writer = store.create(identity).await.unwrap();
    for at in (0..EXTENT).step_by(STEP) {
        writer.write(u32::try_from(at).unwrap(), vec![content.slice(at..at + STEP)]).await.unwrap();
    }
    let fed = began.elapsed();
    writer.finish(CONTENT_BYTES_MAX).await.unwrap();
    (fed, began.elapsed())
}

async fn read_all(image: &Image) {
    for at in (0..CONTENT_BYTES_MAX).step_by(STEP) {
        black_box(image.read(at, STEP as u32).await.unwrap());
    }
}

async fn read_raw(image: &Image) {
    let bytes = image.info().image_bytes;
    for at in (0..bytes).step_by(STEP) {
        let length = u32::try_from((bytes - at).min(STEP as u64)).unwrap();
        black_box(image.read_raw(at, length).await.unwrap());
    }
}

async fn random_reads(name: &str, image: &Image) {
    let (began, mut number) = (Instant::now(), 1_u64);
    for _ in 0..RANDOM_READS {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let block = u32::try_from(number >> 33).unwrap() % (CONTENT_BYTES_MAX / 4096);
        black_box(image.read(block * 4096, 4096).await.unwrap());
    }
    report(
        name,
        "4 KiB random reads, 1 at a time",
        f64::from(RANDOM_READS) / began.elapsed().as_secs_f64(),
        "/s",
    );
}
