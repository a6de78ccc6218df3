//! The directory: names, claims, listings, what is left of what was given up, a full or failing
//! disk.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use ds_image::limits::{CONTENT_BYTES_MAX, DRAFTS_MAX, FRAME_BYTES, LIST_MAX};
use ds_image::{
    CreateError, DeleteError, FinishError, Identity, ImageEntry, ImageId, ImageUsage, OpenError, RepairError,
    WriteError,
};
use env::Disk;
use env::memory::MemoryDisk;

use crate::bed::{DIR, content, id, identity, noise, open, put_file, seal};

async fn names(disk: &MemoryDisk) -> Vec<String> {
    Disk::list(disk, Path::new(DIR)).await.unwrap()
}

#[tokio::test]
async fn images_are_listed_opened_and_deleted() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let mut entries = Vec::new();
    for number in 1..=3 {
        let info = seal(&store, number, &noise(number, 1000 * usize::from(number))).await.unwrap();
        entries.push(ImageEntry { image: id(number), image_bytes: info.image_bytes });
    }
    let bytes = entries.iter().map(|entry| entry.image_bytes).sum();
    for store in [store, open(&disk).await] {
        assert_eq!(store.list(None), entries);
        assert_eq!(store.list(Some(id(1))), entries[1..]);
        assert_eq!(store.list(Some(id(3))), []);
        assert_eq!(store.usage(), ImageUsage { images: 3, bytes });
    }
    let store = open(&disk).await;
    store.delete(id(2)).await.unwrap();
    assert!(matches!(store.delete(id(2)).await, Err(DeleteError::Absent)));
    assert!(matches!(store.open_image(id(2)).await, Err(OpenError::Absent)));
    let left = ImageUsage { images: 2, bytes: bytes - entries[1].image_bytes };
    for store in [store, open(&disk).await] {
        assert_eq!(store.usage(), left);
        assert_eq!(content(&store.open_image(id(3)).await.unwrap()).await.unwrap(), noise(3, 3000));
    }
}

#[tokio::test]
async fn a_long_listing_comes_in_parts() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    for number in 1..=LIST_MAX as u128 + 1 {
        let image = ImageId(number.to_be_bytes());
        let writer = store.create(Identity { image, ..identity(0) }).await.unwrap();
        writer.finish(0).await.unwrap();
    }
    let first = store.list(None);
    assert_eq!(first.len(), LIST_MAX);
    let rest = store.list(Some(first[LIST_MAX - 1].image));
    assert_eq!(rest.len(), 1);
    assert_eq!(open(&disk).await.usage(), store.usage());
}

#[tokio::test]
async fn an_id_has_one_worker_and_one_image() {
    let store = open(&MemoryDisk::new()).await;
    let mut writer = store.create(identity(1)).await.unwrap();
    assert!(matches!(store.create(identity(1)).await, Err(CreateError::Busy)));
    assert!(matches!(store.receive(id(1), 128).await, Err(CreateError::Busy)));
    assert!(matches!(store.create(identity(0)).await, Err(CreateError::Format(_))), "zeros are no image");
    assert!(matches!(store.receive(id(0), 128).await, Err(CreateError::Format(_))));
    assert!(matches!(store.delete(id(1)).await, Err(DeleteError::Busy)));
    assert!(matches!(store.open_image(id(1)).await, Err(OpenError::Absent)), "not before it is finished");
    writer.write(0, vec![Bytes::from_static(b"x")]).await.unwrap();
    writer.finish(1).await.unwrap();
    assert!(matches!(store.create(identity(1)).await, Err(CreateError::Exists)));
    assert!(matches!(store.receive(id(1), 128).await, Err(CreateError::Exists)));
    store.repair(id(1), &BTreeMap::new()).await.unwrap();
    store.delete(id(1)).await.unwrap();
    seal(&store, 1, b"again").await.unwrap();
}

#[tokio::test]
async fn writers_are_bounded() {
    let store = open(&MemoryDisk::new()).await;
    let mut writers = Vec::new();
    for number in 1..=DRAFTS_MAX {
        let image = ImageId((number as u128).to_be_bytes());
        writers.push(store.create(Identity { image, ..identity(0) }).await.unwrap());
    }
    assert!(matches!(store.create(identity(9)).await, Err(CreateError::TooMany)));
    writers.pop();
    store.create(identity(9)).await.unwrap();
}

#[tokio::test]
async fn what_is_given_up_is_removed() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let mut writer = store.create(identity(1)).await.unwrap();
    writer.write(0, vec![Bytes::from(noise(1, 3 << 20))]).await.unwrap();
    writer.abandon().await;
    assert_eq!(names(&disk).await, Vec::<String>::new());
    let given_up = (store.create(identity(1)).await.unwrap(), store.receive(id(2), 128).await.unwrap());
    drop(given_up);
    assert_eq!(names(&disk).await.len(), 2, "a drop cannot wait");
    let writer = store.create(identity(1)).await.unwrap();
    assert_eq!(names(&disk).await.len(), 1, "the next one removes them");
    drop(writer);
    for other in ["notes.txt", "0123.img", "lost+found.new"] {
        put_file(&disk, &Path::new(DIR).join(other), b"not ours").await;
    }
    let store = open(&disk).await;
    assert_eq!(store.usage(), ImageUsage::default());
    assert_eq!(names(&disk).await, ["0123.img", "lost+found.new", "notes.txt"], "what is not ours stays");
}

#[tokio::test]
async fn content_out_of_order_is_refused_and_harms_no_other() {
    let store = open(&MemoryDisk::new()).await;
    let mut writer = store.create(identity(1)).await.unwrap();
    writer.write(10, vec![Bytes::from_static(b"abc")]).await.unwrap();
    let refused = writer.write(12, vec![Bytes::from_static(b"d")]).await;
    assert!(matches!(refused, Err(WriteError::Order { offset: 12, position: 13 })));
    let refused = writer.write(CONTENT_BYTES_MAX - 1, vec![Bytes::from_static(b"de")]).await;
    assert!(matches!(refused, Err(WriteError::Range { .. })));
    writer.write(13, vec![Bytes::from_static(b"d")]).await.unwrap();
    writer.finish(14).await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    assert_eq!(content(&image).await.unwrap(), b"\0\0\0\0\0\0\0\0\0\0abcd");
    for end in [3, CONTENT_BYTES_MAX + 1] {
        let mut writer = store.create(identity(2)).await.unwrap();
        writer.write(0, vec![Bytes::from_static(b"abcd")]).await.unwrap();
        assert!(matches!(writer.finish(end).await, Err(FinishError::Write(_))), "{end}");
    }
}

/// A write or a sync that fails, each of them in turn: no image, and the next attempt succeeds.
#[tokio::test]
async fn a_failing_disk_leaves_no_image() {
    let bytes = noise(1, 40 * FRAME_BYTES);
    for step in 0..6 {
        let disk = MemoryDisk::new();
        let store = open(&disk).await;
        match step {
            0..4 => disk.fail_write(step, ErrorKind::StorageFull),
            _ => disk.fail_sync(step - 4, ErrorKind::Other),
        }
        let failed = seal(&store, 1, &bytes).await;
        // 40 frames and the header take three writes, then come two syncs.
        assert_eq!(failed.is_err(), step != 3, "{step}: {failed:?}");
        if step == 3 {
            continue;
        }
        assert_eq!(store.usage(), ImageUsage::default());
        assert!(matches!(store.open_image(id(1)).await, Err(OpenError::Absent)));
        seal(&store, 1, &bytes).await.unwrap();
        assert_eq!(names(&disk).await.len(), 1);
        assert!(content(&store.open_image(id(1)).await.unwrap()).await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn a_writer_that_failed_takes_nothing_more() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let mut writer = store.create(identity(1)).await.unwrap();
    disk.fail_write(0, ErrorKind::StorageFull);
    let data = || vec![Bytes::from(noise(1, 2 << 20))];
    assert!(matches!(writer.write(0, data()).await, Err(WriteError::Io(_))));
    assert!(matches!(writer.write(2 << 20, data()).await, Err(WriteError::Broken)));
    assert!(matches!(writer.finish(4 << 20).await, Err(FinishError::Write(WriteError::Broken))));
    // A write that was not waited for may have reached the file or not.
    let mut writer = store.create(identity(1)).await.unwrap();
    disk.set_turns(5, 5);
    let mut write = Box::pin(writer.write(0, data()));
    assert!(futures_util::poll!(write.as_mut()).is_pending());
    drop(write);
    assert!(matches!(writer.write(2 << 20, data()).await, Err(WriteError::Broken)));
}

#[tokio::test]
async fn a_full_disk_gets_its_room_back() {
    let disk = MemoryDisk::with_capacity(3 << 20);
    let store = open(&disk).await;
    seal(&store, 1, &noise(1, 1 << 20)).await.unwrap();
    let free = disk.capacity(Path::new(DIR)).await.unwrap().free_bytes;
    let mut writer = store.create(identity(2)).await.unwrap();
    let full = writer.write(0, vec![Bytes::from(noise(2, 4 << 20))]).await;
    assert!(matches!(full, Err(WriteError::Io(error)) if error.kind() == ErrorKind::StorageFull));
    writer.abandon().await;
    assert_eq!(disk.capacity(Path::new(DIR)).await.unwrap().free_bytes, free);
    assert!(matches!(store.repair(id(2), &BTreeMap::new()).await, Err(RepairError::Open(OpenError::Absent))));
    seal(&store, 2, &noise(2, 1 << 20)).await.unwrap();
}
