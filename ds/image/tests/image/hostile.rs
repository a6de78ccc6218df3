//! Images that were not written by mistake: every checksum right, the rest not.

use ds_image::limits::FRAMES_MAX;
use ds_image::{FormatError, FrameFault, Image, OpenError, Part, ReadError};
use env::memory::MemoryDisk;

use crate::bed::{FRAME, content, id, noise, open, path, put_file, read, verify};
use crate::forged::Forged;

async fn opened(forged: &Forged) -> Result<Image, OpenError> {
    let disk = MemoryDisk::new();
    put_file(&disk, &path(1), &forged.bytes()).await;
    open(&disk).await.open_image(id(1)).await
}

async fn refused(forged: Forged) -> FormatError {
    match opened(&forged).await {
        Err(OpenError::Format(error)) => error,
        other => panic!("{forged:?}: {other:?}"),
    }
}

/// One short frame.
fn right() -> Forged {
    Forged { content_bytes: 100, ..Forged::default() }.with_frame(0, 1, &noise(1, 100))
}

#[tokio::test]
async fn what_is_right_opens() {
    let image = opened(&right()).await.unwrap();
    assert_eq!(content(&image).await.unwrap(), noise(1, 100));
    assert!(opened(&Forged::default()).await.is_ok());
}

#[tokio::test]
async fn fields_without_a_meaning_are_refused() {
    let header = |field| FormatError::Field { part: Part::Header, field };
    let version = |part| FormatError::Version { part, version: 2 };
    assert_eq!(refused(Forged { header_version: 2, ..right() }).await, version(Part::Header));
    assert_eq!(refused(Forged { footer_version: 2, ..right() }).await, version(Part::Footer));
    assert_eq!(refused(Forged { kind: 0, ..right() }).await, header("kind"));
    assert_eq!(refused(Forged { frame_bytes_log2: 12, ..right() }).await, header("frame size"));
    assert_eq!(refused(Forged { header_zero: 1, ..right() }).await, header("zero"));
    assert_eq!(refused(Forged { image: [0; 16], ..right() }).await, header("image id"));
    let magic = FormatError::Magic { part: Part::Header };
    assert_eq!(refused(Forged { header_magic: *b"SHOALWAL", ..right() }).await, magic);
    assert_eq!(refused(Forged { image: [9; 16], ..right() }).await, FormatError::Foreign { found: id(9) });
}

/// Lengths that would make a reader allocate, or look outside the file.
#[tokio::test]
async fn lengths_are_not_believed() {
    let footer = |field| FormatError::Field { part: Part::Footer, field };
    let count = Some(u16::MAX);
    assert_eq!(refused(Forged { count, ..right() }).await, footer("entries"));
    assert_eq!(refused(Forged { content_bytes: u32::MAX, ..right() }).await, footer("content bytes"));
    let stored_bytes = Some(u32::MAX);
    assert_eq!(refused(Forged { stored_bytes, ..right() }).await, footer("stored bytes"));
    let image_bytes = Some(u64::MAX);
    assert_eq!(refused(Forged { image_bytes, ..right() }).await, footer("bytes of the file"));
    // Each adds up, and not to what the file has.
    for count in [0, 2, FRAMES_MAX as u16] {
        let error = refused(Forged { count: Some(count), ..right() }).await;
        assert!(matches!(error, FormatError::Cut { .. }), "{count}: {error:?}");
    }
    let error = refused(Forged { stored_bytes: Some(64 << 20), ..right() }).await;
    assert!(matches!(error, FormatError::Cut { .. }), "{error:?}");
    // The file's length is right, and the border between frames and index is elsewhere.
    let moved = Forged { count: Some(0), stored_bytes: Some(140), ..right() };
    assert_eq!(moved.bytes().len(), 128 + 140);
    assert!(matches!(refused(moved).await, FormatError::Root { .. }));
}

#[tokio::test]
async fn frames_that_contradict_the_lengths_are_refused() {
    let entry = |entry, field| FormatError::Entry { entry, field };
    let two = |content_bytes, one: u16, other: u16| {
        let empty = Forged { content_bytes, ..Forged::default() };
        empty.with_frame(one, 2, &[1; 30]).with_frame(other, 2, &[2; 30])
    };
    assert!(opened(&two(2 * FRAME, 0, 1)).await.is_ok());
    assert_eq!(refused(two(2 * FRAME, 1, 0)).await, entry(1, "frame number"));
    assert_eq!(refused(two(2 * FRAME, 1, 1)).await, entry(1, "frame number"));
    assert_eq!(refused(two(FRAME, 0, 1)).await, entry(1, "frame number"));
    assert_eq!(refused(two(0, 0, 1)).await, entry(0, "frame number"));
    // The first frame claims bytes of the second, of the index, of nothing.
    for (claimed, field) in [(31, entry(1, "stored bytes")), (61, entry(0, "stored bytes"))] {
        let mut overlapping = two(2 * FRAME, 0, 1);
        overlapping.entries[0].stored_bytes = claimed;
        assert_eq!(refused(overlapping).await, field, "{claimed}");
    }
    let mut gap = two(2 * FRAME, 0, 1);
    gap.entries[0].stored_bytes = 29;
    assert_eq!(refused(gap).await, FormatError::Field { part: Part::Footer, field: "stored bytes" });
}

/// What is behind the hash is not believed either.
#[tokio::test]
async fn a_frame_that_does_not_become_its_content_is_bad() {
    let compressed = |length: usize| zstd::bulk::compress(&vec![7; length], 1).unwrap();
    let full = FRAME as usize;
    let stored = [
        noise(1, 500),
        compressed(full - 1),
        compressed(full + 1),
        compressed(full * 1000),
        compressed(full)[1..].to_vec(),
        compressed(full)[..10].to_vec(),
        [compressed(full), vec![0]].concat(),
    ];
    for (number, stored) in stored.iter().enumerate() {
        let forged = Forged { content_bytes: FRAME, ..Forged::default() }.with_frame(0, 2, stored);
        let image = opened(&forged).await.unwrap();
        let error = read(&image, 0, FRAME).await.unwrap_err();
        let content = FrameFault::Content;
        assert!(matches!(error, ReadError::Damaged { frame: 0, fault } if fault == content), "{number}");
        assert_eq!(verify(&image).await[0].fault, FrameFault::Content, "{number}");
        // As raw bytes they are what they are.
        assert_eq!(image.read_raw(64, stored.len() as u32).await.unwrap().concat(), *stored);
    }
    let right = Forged { content_bytes: FRAME, ..Forged::default() }.with_frame(0, 2, &compressed(full));
    assert_eq!(content(&opened(&right).await.unwrap()).await.unwrap(), vec![7; full]);
}
