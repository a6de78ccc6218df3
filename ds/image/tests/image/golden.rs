//! Bytes that must never change: what is written today, and what was written once must stay
//! readable.

use bytes::Bytes;
use ds_image::ImageSum;
use env::memory::MemoryDisk;

use crate::bed::{self, FRAME, content, file_bytes, id, identity, open, path, put_file, verify};
use crate::forged::Forged;

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
        .collect()
}

/// A hole of a frame, then eleven bytes in a frame of its own.
#[tokio::test]
async fn an_image_has_its_golden_bytes() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let mut writer = store.create(identity(0xab)).await.unwrap();
    writer.write(FRAME, vec![Bytes::from_static(b"hello "), Bytes::from_static(b"image")]).await.unwrap();
    let sealed = writer.finish(FRAME + 11).await.unwrap();
    let bytes = file_bytes(&disk, &path(0xab)).await;
    assert_eq!(hex(&bytes), GOLDEN_RAW);
    assert_eq!(bytes.len() as u64, sealed.info.image_bytes);
    assert_eq!(sealed.sum, ImageSum::of(&bytes));
}

const GOLDEN_RAW: &str = "\
53484f414c494d470001011000000007\n\
abababababababababababababababab\n\
000000000000002a0000000000000003\n\
000000000000006300000000b4b3f2f0\n\
68656c6c6f20696d6167650001010000\n\
00000b5f703723d771787e2c3a65a011\n\
44db9c00cb55f8490f82409b6084bd1f\n\
78aa0b53484f414c454e440001000100\n\
01000b00000000000000b30000000b9e\n\
e1535d66af251715598b672f2df579bf\n\
ff2255fa03ef52b52238ad2632e430a7\n\
647b9a\n\
";

/// The page alone says how an image is made.
#[tokio::test]
async fn an_image_is_what_its_page_says() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await;
    let sealed = bed::noise(9, 100);
    bed::seal(&store, 1, &sealed).await.unwrap();
    let forged = Forged { content_bytes: 100, ..Forged::default() }.with_frame(0, 1, &sealed);
    assert_eq!(file_bytes(&disk, &path(1)).await, forged.bytes());
}

/// A frame that level 1 of zstd 1.5.7 made: 65,536 times the byte 7.
#[tokio::test]
async fn a_compressed_frame_of_the_first_version_can_be_read() {
    let forged = Forged { content_bytes: FRAME, ..Forged::default() }.with_frame(0, 2, GOLDEN_ZSTD);
    let disk = MemoryDisk::new();
    put_file(&disk, &path(1), &forged.bytes()).await;
    let image = open(&disk).await.open_image(id(1)).await.unwrap();
    assert_eq!(content(&image).await.unwrap(), vec![7; FRAME as usize]);
    assert_eq!(verify(&image).await, []);
}

const GOLDEN_ZSTD: &[u8] =
    b"\x28\xb5\x2f\xfd\x60\x00\xff\x55\x00\x00\x10\x07\x07\x01\x00\xfb\x7f\x1d\x60\x01";
