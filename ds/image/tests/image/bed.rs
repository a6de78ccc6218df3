//! What the tests share: a store over a disk in memory, content to seal, and the ways to look at an
//! image.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ds_image::limits::{FRAME_BYTES, READ_BYTES_MAX};
use ds_image::{BadFrame, FinishError, Identity, Image, ImageId, ImageInfo, ImageStore, ReadError};
use env::memory::MemoryDisk;
use env::{Disk, OpenMode};
use layout::{Epoch, ExtentId};

pub(crate) const DIR: &str = "/images";
pub(crate) const FRAME: u32 = FRAME_BYTES as u32;

pub(crate) fn id(number: u8) -> ImageId {
    ImageId([number; 16])
}

pub(crate) fn identity(number: u8) -> Identity {
    let extent = ExtentId { ino: 42, index: 7 };
    Identity { image: id(number), extent, epoch: Epoch(3), sequence: 99 }
}

pub(crate) fn path(number: u8) -> PathBuf {
    Path::new(DIR).join(format!("{}.img", id(number)))
}

pub(crate) async fn open(disk: &MemoryDisk) -> ImageStore {
    ImageStore::open(Arc::new(disk.clone()), Path::new(DIR)).await.unwrap()
}

/// Bytes that do not compress, the same for each seed.
pub(crate) fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// Bytes that compress well.
pub(crate) fn words(seed: u8, length: usize) -> Vec<u8> {
    let words = [&b"extent "[..], b"image ", b"frame ", b"group ", b"epoch "];
    let picks = noise(seed, length / 5 + 1);
    let mut bytes: Vec<u8> = picks.iter().flat_map(|pick| words[usize::from(pick % 5)]).copied().collect();
    bytes.truncate(length);
    bytes
}

/// Seals content in one go.
pub(crate) async fn seal(store: &ImageStore, number: u8, content: &[u8]) -> Result<ImageInfo, FinishError> {
    let mut writer = store.create(identity(number)).await.unwrap();
    writer.write(0, vec![Bytes::copy_from_slice(content)]).await?;
    let sealed = writer.finish(u32::try_from(content.len()).unwrap()).await?;
    Ok(sealed.info)
}

/// Content in which each form occurs: a hole, words, noise, a short frame at the end.
pub(crate) fn mixed() -> Vec<u8> {
    [vec![0; FRAME_BYTES], words(1, FRAME_BYTES), noise(2, FRAME_BYTES), words(3, 5000)].concat()
}

/// A small image in which each form occurs: 2 frames stored, a few hundred bytes.
pub(crate) fn small() -> Vec<u8> {
    let mut content = vec![0; 2 * FRAME_BYTES];
    content[FRAME_BYTES + 5] = 7;
    content.extend(noise(4, 90));
    content
}

pub(crate) async fn read(image: &Image, offset: u32, length: u32) -> Result<Vec<u8>, ReadError> {
    Ok(image.read(offset, length).await?.concat())
}

/// The whole content, as long reads give it.
pub(crate) async fn content(image: &Image) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    while all.len() < image.info().content_bytes as usize {
        let at = u32::try_from(all.len()).unwrap();
        all.extend(read(image, at, READ_BYTES_MAX.min(layout::EXTENT_BYTES as u32 - at)).await?);
    }
    Ok(all)
}

/// The whole file, as raw reads give it.
pub(crate) async fn raw(image: &Image) -> Vec<u8> {
    let (mut all, bytes) = (Vec::new(), image.info().image_bytes);
    while (all.len() as u64) < bytes {
        let at = all.len() as u64;
        let length = u32::try_from((bytes - at).min(u64::from(READ_BYTES_MAX))).unwrap();
        all.extend(image.read_raw(at, length).await.unwrap().concat());
    }
    all
}

pub(crate) async fn verify(image: &Image) -> Vec<BadFrame> {
    image.verify(|_| std::future::ready(())).await.unwrap()
}

/// A file's bytes, behind the store's back.
pub(crate) async fn file_bytes(disk: &MemoryDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::READ).await.unwrap();
    let length = usize::try_from(file.len().await.unwrap()).unwrap();
    file.read_at(0, length).await.unwrap().to_vec()
}

/// Puts a file where an image would be, behind the store's back.
pub(crate) async fn put_file(disk: &MemoryDisk, path: &Path, bytes: &[u8]) {
    disk.create_dir_all(path.parent().unwrap()).await.unwrap();
    let mode = OpenMode { truncate: true, ..OpenMode::CREATE };
    let file = disk.open(path, mode).await.unwrap();
    file.write_at_and_sync(vec![Bytes::copy_from_slice(bytes)], 0).await.unwrap();
    disk.sync_dir(path.parent().unwrap()).await.unwrap();
}
