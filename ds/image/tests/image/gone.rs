//! Images whose file is damaged beyond reading, or gone: what the disk says, and making them
//! again in their place.
//!
//! Spec: docs/formats/image.md §6.

use std::io::ErrorKind;

use bytes::Bytes;
use ds_image::limits::RAW_BLOCK_BYTES;
use ds_image::{CreateError, ImageStore, ImageSum, ImageUsage, OpenError, ReceiveError, Received};
use env::memory::{Crash, MemoryDisk};
use env::{Disk, OpenMode};

use crate::bed::{content, file_bytes, id, mixed, noise, open, path, seal};

async fn replace(store: &ImageStore, number: u8, file: &[u8], sum: ImageSum) -> Result<(), ReceiveError> {
    let mut receiver = store.replace(id(number), file.len() as u64).await.unwrap();
    for (at, block) in file.chunks(usize::try_from(RAW_BLOCK_BYTES).unwrap()).enumerate() {
        receiver.write(at as u64 * RAW_BLOCK_BYTES, vec![Bytes::copy_from_slice(block)]).await.unwrap();
    }
    receiver.finish_any(Some(sum)).await.map(|received| assert!(matches!(received, Received::Extent(_))))
}

#[tokio::test]
async fn the_disk_is_asked_and_not_the_directory() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let bytes = seal(&store, 1, &mixed()).await.unwrap().image_bytes;
    assert_eq!(store.on_disk(id(1)).await.unwrap(), Some(bytes));
    assert_eq!(store.on_disk(id(2)).await.unwrap(), None);
    Disk::remove(&disk, &path(1)).await.unwrap();
    assert!(store.contains(id(1)), "the directory was not told");
    assert_eq!(store.on_disk(id(1)).await.unwrap(), None);
    assert!(
        matches!(store.open_any(id(1)).await, Err(OpenError::Io(error)) if error.kind() == ErrorKind::NotFound)
    );
    store.delete(id(1)).await.unwrap();
    assert_eq!(store.usage(), ImageUsage::default());
}

#[tokio::test]
async fn what_is_damaged_or_gone_is_made_again_in_its_place() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &mixed()).await.unwrap();
    let whole = file_bytes(&disk, &path(1)).await;
    let sum = ImageSum::of(&whole);
    let usage = store.usage();
    for damage in 0..4 {
        let file = disk.open(&path(1), OpenMode::WRITE).await.unwrap();
        match damage {
            0 => disk.corrupt(&path(1), 20, 1),
            1 => disk.corrupt(&path(1), whole.len() as u64 - 100, 1),
            2 => file.set_len(70).await.unwrap(),
            _ => Disk::remove(&disk, &path(1)).await.unwrap(),
        }
        assert!(store.open_any(id(1)).await.is_err(), "{damage}");
        replace(&store, 1, &whole, sum).await.unwrap();
        assert_eq!(file_bytes(&disk, &path(1)).await, whole, "{damage}");
        assert_eq!(store.usage(), usage);
        let after = open(&disk.after_crash(Crash::Drop)).await;
        assert!(content(&after.open_image(id(1)).await.unwrap()).await.unwrap() == mixed(), "{damage}");
    }
}

#[tokio::test]
async fn what_is_not_the_image_takes_no_place() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &mixed()).await.unwrap();
    seal(&store, 2, &noise(8, 70_000)).await.unwrap();
    let (whole, other) = (file_bytes(&disk, &path(1)).await, file_bytes(&disk, &path(2)).await);
    disk.corrupt(&path(1), 70, 4);
    let damaged = file_bytes(&disk, &path(1)).await;
    let mut bent = whole.clone();
    bent[66] ^= 1;
    for (file, sum) in
        [(&other, ImageSum::of(&other)), (&bent, ImageSum::of(&bent)), (&whole, ImageSum([0; 32]))]
    {
        assert!(replace(&store, 1, file, sum).await.is_err());
        assert_eq!(file_bytes(&disk, &path(1)).await, damaged, "what is left of it stays");
    }
    assert!(store.contains(id(1)));
    assert!(matches!(store.replace(id(3), 1_000).await, Err(CreateError::Busy)), "there is none");
    let claim = store.replace(id(1), whole.len() as u64).await.unwrap();
    assert!(store.is_claimed(id(1)) && !store.is_claimed(id(2)));
    assert!(matches!(store.replace(id(1), whole.len() as u64).await, Err(CreateError::Busy)));
    drop(claim);
    replace(&store, 1, &whole, ImageSum::of(&whole)).await.unwrap();
}
