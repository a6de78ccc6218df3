//! Damage behind the store's back: always noticed, told by frame, and repaired from stored frames.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use ds_image::limits::FRAME_BYTES;
use ds_image::{
    FormatError, FrameFault, ImageStore, ImageSum, OpenError, ReadError, RepairError, Sealed, StoredFrame,
    VerifyError,
};
use env::memory::MemoryDisk;

use crate::bed::{FRAME, content, file_bytes, id, mixed, noise, open, path, put_file, raw, read, seal};
use crate::bed::{small, verify};

/// The frame that a byte of the file belongs to.
async fn frame_at(store: &ImageStore, at: u64) -> Option<u16> {
    let image = store.open_image(id(1)).await.unwrap();
    let of =
        |stored: &StoredFrame| (stored.offset..stored.offset + u64::from(stored.stored_bytes)).contains(&at);
    image.stored_frames().find(of).map(|stored| stored.frame)
}

/// Each bit of a small image, on its own: in a frame it is that frame which is bad, elsewhere
/// nothing opens.
#[tokio::test]
async fn every_changed_bit_is_noticed() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let info = seal(&store, 1, &small()).await.unwrap();
    assert_eq!(info.frames, 2);
    let before = store.open_image(id(1)).await.unwrap();
    let mut in_frames = 0;
    for at in 0..info.image_bytes {
        let frame = frame_at(&store, at).await;
        for bit in 0..8 {
            disk.corrupt(&path(1), at, 1 << bit);
            match (frame, store.open_image(id(1)).await) {
                (None, Err(OpenError::Format(_))) => {
                    let walked = before.verify(|_| std::future::ready(())).await;
                    assert!(matches!(walked, Err(VerifyError::Format(_))), "{at} {bit}: {walked:?}");
                }
                (Some(frame), Ok(image)) => {
                    let bad = verify(&image).await;
                    assert_eq!(bad.len(), 1, "{at} {bit}");
                    assert_eq!((bad[0].frame, bad[0].fault), (frame, FrameFault::Hash));
                    let start = u32::from(frame) * FRAME;
                    let error = read(&image, start, 1).await.unwrap_err();
                    assert!(matches!(error, ReadError::Damaged { frame: told, .. } if told == frame));
                    let error = image.read_raw(0, info.image_bytes as u32).await.unwrap_err();
                    assert!(matches!(error, ReadError::Damaged { frame: told, .. } if told == frame));
                    in_frames += 1;
                }
                (frame, opened) => panic!("{at} {bit}: {frame:?} {opened:?}"),
            }
            disk.corrupt(&path(1), at, 1 << bit);
        }
    }
    assert_eq!(in_frames, info.stored_bytes * 8);
    assert_eq!(content(&before).await.unwrap(), small());
}

#[tokio::test]
async fn a_file_of_another_length_is_no_image() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &small()).await.unwrap();
    let whole = file_bytes(&disk, &path(1)).await;
    for length in 0..whole.len() {
        put_file(&disk, &path(1), &whole[..length]).await;
        let error = store.open_image(id(1)).await.unwrap_err();
        assert!(matches!(error, OpenError::Format(_)), "{length}: {error:?}");
    }
    for added in [1, 40, 64, 4096] {
        put_file(&disk, &path(1), &[&whole[..], &vec![0; added]].concat()).await;
        assert!(store.open_image(id(1)).await.is_err(), "{added}");
        // Longer at its front or in its midst, with the footer where it belongs.
        for at in [0, 64, 100, whole.len() - 64] {
            let longer = [&whole[..at], &vec![0; added], &whole[at..]].concat();
            put_file(&disk, &path(1), &longer).await;
            let error = store.open_image(id(1)).await.unwrap_err();
            assert!(matches!(error, OpenError::Format(FormatError::Cut { .. })), "{added} {at}: {error:?}");
        }
    }
    put_file(&disk, &path(1), &whole).await;
    assert!(store.open_image(id(1)).await.is_ok());
}

/// An image that loses its end while it is open.
#[tokio::test]
async fn a_file_cut_while_it_is_open_gives_errors() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &mixed()).await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    let second = image.stored_frame(2).unwrap();
    let whole = file_bytes(&disk, &path(1)).await;
    // In place, so that the open file is cut too.
    let cut = usize::try_from(second.offset).unwrap() + 10;
    put_file(&disk, &path(1), &whole[..cut]).await;
    assert_eq!(read(&image, 0, 2 * FRAME).await.unwrap(), mixed()[..2 * FRAME_BYTES]);
    for (frame, offset) in [(2, 2 * FRAME), (3, 3 * FRAME)] {
        let error = read(&image, offset, 100).await.unwrap_err();
        assert!(
            matches!(error, ReadError::Damaged { frame: told, fault: FrameFault::Short } if told == frame),
            "{error:?}"
        );
    }
    assert!(image.verify(|_| std::future::ready(())).await.is_err());
}

#[tokio::test]
async fn another_image_under_the_name_is_refused() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, b"one").await.unwrap();
    seal(&store, 2, b"two").await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    put_file(&disk, &path(1), &file_bytes(&disk, &path(2)).await).await;
    let error = store.open_image(id(1)).await.unwrap_err();
    assert!(matches!(error, OpenError::Format(FormatError::Foreign { found }) if found == id(2)));
    // Who had the first one open notices when it walks.
    let walked = image.verify(|_| std::future::ready(())).await;
    assert!(matches!(walked, Err(VerifyError::Format(FormatError::Root { .. }))), "{walked:?}");
}

/// A disk that refuses a part of what is asked for gives the rest.
#[tokio::test]
async fn an_unreadable_frame_hides_no_other() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &mixed()).await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    // The read of the whole range fails, then that of its first frame.
    disk.fail_read(0, io::ErrorKind::InvalidData);
    disk.fail_read(1, io::ErrorKind::InvalidData);
    let error = content(&image).await.unwrap_err();
    assert!(matches!(error, ReadError::Damaged { frame: 1, fault: FrameFault::Unreadable }), "{error:?}");
    // Two reads open it, one reads the frames together, the next three one by one.
    disk.fail_read(2, io::ErrorKind::InvalidData);
    disk.fail_read(4, io::ErrorKind::InvalidData);
    let bad = verify(&image).await;
    assert_eq!(
        bad.iter().map(|bad| (bad.frame, bad.fault)).collect::<Vec<_>>(),
        [(2, FrameFault::Unreadable)]
    );
}

#[tokio::test]
async fn a_repaired_image_is_the_same_bytes() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let sealed = [mixed(), noise(5, 40 * FRAME_BYTES)].concat();
    let info = seal(&store, 1, &sealed).await.unwrap();
    let whole = file_bytes(&disk, &path(1)).await;
    let image = store.open_image(id(1)).await.unwrap();
    let frames: Vec<StoredFrame> = [1, 2, 40].map(|frame| image.stored_frame(frame).unwrap()).to_vec();
    for stored in &frames {
        disk.corrupt(&path(1), stored.offset + 3, 0x10);
    }
    let bad: Vec<u16> = verify(&image).await.iter().map(|bad| bad.frame).collect();
    assert_eq!(bad, [1, 2, 40]);
    // As a group gives them back: ranges of the file's bytes.
    let given: BTreeMap<u16, Bytes> = frames
        .iter()
        .map(|stored| {
            let at = usize::try_from(stored.offset).unwrap();
            (stored.frame, Bytes::copy_from_slice(&whole[at..at + stored.stored_bytes as usize]))
        })
        .collect();
    assert_eq!(store.repair(id(1), &given).await.unwrap(), Sealed { info, sum: ImageSum::of(&whole) });
    assert_eq!(verify(&image).await.len(), 3, "the old file is as it was");
    let repaired = store.open_image(id(1)).await.unwrap();
    assert_eq!(verify(&repaired).await, []);
    assert!(raw(&repaired).await == whole);
    assert!(content(&repaired).await.unwrap() == sealed);
    assert_eq!(store.usage().bytes, info.image_bytes);
}

#[tokio::test]
async fn a_repair_that_cannot_be_whole_changes_nothing() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    seal(&store, 1, &mixed()).await.unwrap();
    let image = store.open_image(id(1)).await.unwrap();
    let [one, two] = [1, 2].map(|frame| image.stored_frame(frame).unwrap());
    let good = image.read_raw(one.offset, one.stored_bytes).await.unwrap().concat();
    disk.corrupt(&path(1), one.offset, 1);
    disk.corrupt(&path(1), two.offset, 1);
    let damaged = file_bytes(&disk, &path(1)).await;
    let given = |frame: u16, bytes: &[u8]| BTreeMap::from([(frame, Bytes::copy_from_slice(bytes))]);
    let refused = [
        store.repair(id(1), &given(1, &good)).await.unwrap_err(),
        store.repair(id(1), &given(1, &good[1..])).await.unwrap_err(),
        store.repair(id(1), &given(2, &good)).await.unwrap_err(),
        store.repair(id(1), &given(0, &good)).await.unwrap_err(),
        store.repair(id(1), &given(700, &good)).await.unwrap_err(),
        store.repair(id(9), &given(1, &good)).await.unwrap_err(),
    ];
    assert!(
        matches!(
            refused,
            [
                RepairError::Damaged { frame: 2, fault: FrameFault::Hash },
                RepairError::Given { frame: 1, fault: FrameFault::Short },
                RepairError::Given { frame: 2, .. },
                RepairError::NotStored { frame: 0 },
                RepairError::NotStored { frame: 700 },
                RepairError::Open(OpenError::Absent),
            ]
        ),
        "{refused:?}"
    );
    assert_eq!(file_bytes(&disk, &path(1)).await, damaged);
    let names = env::Disk::list(&disk, std::path::Path::new(crate::bed::DIR)).await.unwrap();
    assert_eq!(names.len(), 1, "no draft is left: {names:?}");
}
