//! Power cut at every write and every flush of a script: what was acknowledged is there, what is
//! there is whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ds_image::limits::{FRAME_BYTES, RAW_BLOCK_BYTES};
use ds_image::{ImageId, ImageStore};
use env::Disk;
use env::memory::{Crash, MemoryDisk};

use crate::bed::{DIR, content, file_bytes, id, identity, mixed, noise, open, path, seal, verify};

/// What a script was told, and so what must hold after a crash.
#[derive(Clone, Default, Debug)]
struct Told {
    /// Images that are there, or may be: with their content, and whether the last act on them was
    /// acknowledged.
    images: BTreeMap<ImageId, (Vec<u8>, bool)>,
    /// Acts that were acknowledged.
    acts: usize,
}

/// Does everything a store can do, once; stops at the first error.
async fn script(store: &ImageStore, received: &[u8], told: &mut Told) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Debug| format!("{error:?}");
    // Two at once, so that acts on one meet those on the other in the directory.
    told.images.insert(id(1), (mixed(), false));
    let mut writer = store.create(identity(1)).await.map_err(|error| fail(&error))?;
    let large = noise(8, 35 * FRAME_BYTES);
    told.images.insert(id(2), (large.clone(), false));
    seal(store, 2, &large).await.map_err(|error| fail(&error))?;
    told.images.insert(id(2), (large, true));
    told.acts += 1;
    writer.write(0, vec![Bytes::from(mixed())]).await.map_err(|error| fail(&error))?;
    writer.finish(u32::try_from(mixed().len()).unwrap()).await.map_err(|error| fail(&error))?;
    told.images.insert(id(1), (mixed(), true));
    told.acts += 1;
    // An image of which a frame is given again; it stays there whatever happens.
    let image = store.open_image(id(1)).await.map_err(|error| fail(&error))?;
    let stored = image.stored_frame(2).unwrap();
    let bytes = image.read_raw(stored.offset, stored.stored_bytes).await.map_err(|error| fail(&error))?;
    let given = BTreeMap::from([(2, Bytes::from(bytes.concat()))]);
    store.repair(id(1), &given).await.map_err(|error| fail(&error))?;
    told.acts += 1;
    // One that comes from elsewhere, back to front.
    told.images.insert(id(3), (mixed(), false));
    let mut receiver = store.receive(id(3), received.len() as u64).await.map_err(|error| fail(&error))?;
    let block = usize::try_from(RAW_BLOCK_BYTES).unwrap();
    for (number, piece) in received.chunks(block).enumerate().rev() {
        let data = vec![Bytes::copy_from_slice(piece)];
        receiver.write((number * block) as u64, data).await.map_err(|error| fail(&error))?;
    }
    receiver.finish(None).await.map_err(|error| fail(&error))?;
    told.images.insert(id(3), (mixed(), true));
    told.acts += 1;
    // One that goes: it may be there until that is acknowledged, and not after.
    let gone = told.images[&id(2)].0.clone();
    told.images.insert(id(2), (gone, false));
    store.delete(id(2)).await.map_err(|error| fail(&error))?;
    told.images.remove(&id(2));
    told.acts += 1;
    Ok(())
}

async fn check(disk: &MemoryDisk, told: &Told, what: &str) {
    let store = open(disk).await;
    let names = Disk::list(disk, Path::new(DIR)).await.unwrap();
    assert!(names.iter().all(|name| name.ends_with(".img")), "{what}: {names:?}");
    let listed = store.list(None);
    for entry in &listed {
        let Some((expected, _)) = told.images.get(&entry.image) else {
            panic!("{what}: {entry:?} is there");
        };
        let image = store.open_image(entry.image).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(verify(&image).await, [], "{what}");
        assert!(content(&image).await.unwrap() == *expected, "{what}");
        assert_eq!(image.info().image_bytes, entry.image_bytes);
    }
    for (image, (_, is_acknowledged)) in &told.images {
        let is_there = listed.iter().any(|entry| entry.image == *image);
        assert!(is_there || !is_acknowledged, "{what}: {image} was acknowledged");
    }
    assert_eq!(store.usage().bytes, listed.iter().map(|entry| entry.image_bytes).sum::<u64>(), "{what}");
    // The directory is one that goes on.
    seal(&store, 99, b"afterwards").await.unwrap();
}

/// The bytes of an image with this id and mixed content.
async fn to_receive(number: u8) -> Vec<u8> {
    let disk = MemoryDisk::new();
    seal(&open(&disk).await, number, &mixed()).await.unwrap();
    file_bytes(&disk, &path(number)).await
}

#[tokio::test]
async fn a_power_cut_at_any_step_loses_nothing_acknowledged() {
    let received = to_receive(3).await;
    let (mut cut, mut acts_seen) = (0, Vec::new());
    loop {
        let disk = MemoryDisk::new();
        let dying: Arc<dyn Disk> = Arc::new(disk.mount());
        let store = ImageStore::open(dying, Path::new(DIR)).await.unwrap();
        disk.cut_power_after(cut);
        let mut told = Told::default();
        let done = script(&store, &received, &mut told).await;
        acts_seen.push(told.acts);
        for crash in [Crash::Drop, Crash::Keep, Crash::Tear { seed: cut }, Crash::Tear { seed: !cut }] {
            check(&disk.after_crash(crash), &told, &format!("cut {cut}, {crash:?}, {done:?}")).await;
        }
        if done.is_ok() {
            break;
        }
        cut += 1;
    }
    // Each act has its steps, or the script did not do what it should.
    assert!(acts_seen.is_sorted() && acts_seen.ends_with(&[5]), "{acts_seen:?}");
    assert!((1..5).all(|acts| acts_seen.contains(&acts)), "{acts_seen:?}");
    // Writes: 3, 1, 1 and two blocks; for each of the four the file and the directory are synced,
    // and once for the delete.
    assert_eq!(cut, 3 + 1 + 1 + 2 + 4 * 2 + 1);
}

/// The same with a power cut that comes while the store is opened over what an earlier one left.
#[tokio::test]
async fn a_second_power_cut_while_opening_harms_nothing() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &mixed()).await.unwrap();
    let mut writer = store.create(identity(2)).await.unwrap();
    writer.write(0, vec![Bytes::from(noise(1, 4 << 20))]).await.unwrap();
    disk.sync_dir(Path::new(DIR)).await.unwrap();
    disk.crash(Crash::Drop);
    assert_eq!(Disk::list(&disk, Path::new(DIR)).await.unwrap().len(), 2);
    let told = Told { images: BTreeMap::from([(id(1), (mixed(), true))]), acts: 1 };
    drop(open(&disk).await);
    for crash in [Crash::Drop, Crash::Keep] {
        check(&disk.after_crash(crash), &told, "opened twice").await;
    }
}
