//! Golden bytes of header, index and footer, and every field of them out of its bounds.

use layout::ec::ImageId;
use layout::{Epoch, ExtentId};

use super::footer::Footer;
use super::{FormatError, Part, header, index, sum};
use crate::frame::Form;
use crate::identity::Identity;
use crate::limits::{CONTENT_BYTES_MAX, FOOTER_BYTES, FRAME_BYTES, HEADER_BYTES, IMAGE_BYTES_MAX};

fn identity() -> Identity {
    Identity {
        image: ImageId([0x11; 16]),
        extent: ExtentId { ino: 0x2222, index: 0x33 },
        epoch: Epoch(0x44),
        sequence: 0x55,
    }
}

#[test]
fn the_header_has_its_golden_bytes() {
    let bytes = header::encode(&identity());
    let golden = *b"SHOALIMG\0\x01\x01\x10\0\0\0\x33\
        \x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\
        \0\0\0\0\0\0\x22\x22\0\0\0\0\0\0\0\x44\
        \0\0\0\0\0\0\0\x55\0\0\0\0";
    assert_eq!(bytes[..60], golden);
    assert_eq!(super::crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    assert_eq!(header::decode(&bytes), Ok(identity()));
}

#[test]
fn every_changed_bit_of_a_header_is_noticed() {
    let bytes = header::encode(&identity());
    for bit in 0..HEADER_BYTES * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(header::decode(&changed).is_err(), "{bit}");
    }
}

#[test]
fn a_header_that_means_something_else_is_refused() {
    let changed = |at: usize, value: u8| {
        let mut bytes = header::encode(&identity());
        bytes[at] = value;
        sum(&mut bytes);
        header::decode(&bytes)
    };
    let field = |field| Err(FormatError::Field { part: Part::Header, field });
    assert_eq!(changed(9, 2), Err(FormatError::Version { part: Part::Header, version: 2 }));
    assert_eq!(changed(10, 2), field("kind"));
    assert_eq!(changed(11, 17), field("frame size"));
    assert_eq!(changed(59, 1), field("zero"));
    assert_eq!(changed(0, 0), Err(FormatError::Magic { part: Part::Header }));
    assert!(changed(15, 0).is_ok(), "another extent");
}

fn empty_footer(content_bytes: u32) -> (Footer, [u8; FOOTER_BYTES]) {
    Footer::seal(&header::encode(&identity()), &[], content_bytes, 0)
}

#[test]
fn the_footer_has_its_golden_bytes() {
    let entry = index::encode(0, Form::Raw, 5, &[0x66; 32]);
    assert_eq!(entry[..8], *b"\0\0\x01\0\0\0\0\x05");
    assert_eq!(entry[8..], [0x66; 32]);
    assert_eq!(index::encode(0x102, Form::Zstd, 0x304, &[0; 32])[..8], *b"\x01\x02\x02\0\0\0\x03\x04");
    let (footer, bytes) = Footer::seal(&header::encode(&identity()), &entry, 5, 5);
    // T = 128 + 5 + 40.
    assert_eq!(bytes[..28], *b"SHOALEND\0\x01\0\x01\0\0\0\x05\0\0\0\0\0\0\0\xad\0\0\0\x05");
    assert_eq!(bytes[28..60], footer.root.0);
    let header = header::encode(&identity());
    assert_eq!(footer.root.0, *blake3::hash(&[&header, &entry[..], &bytes[..28]].concat()).as_bytes());
    assert_eq!(Footer::decode(&bytes, 0xad), Ok(footer));
}

#[test]
fn every_changed_bit_of_a_footer_is_noticed() {
    let (_, bytes) = empty_footer(9);
    for bit in 0..FOOTER_BYTES * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Footer::decode(&changed, 128).is_err(), "{bit}");
    }
}

#[test]
fn lengths_of_a_footer_are_bounded() {
    // Checksums are right, whatever the lengths are.
    let said = |entries: u16, content: u32, image: u64, stored: u32, file: u64| {
        let (_, mut bytes) = empty_footer(0);
        bytes[10..12].copy_from_slice(&entries.to_be_bytes());
        bytes[12..16].copy_from_slice(&content.to_be_bytes());
        bytes[16..24].copy_from_slice(&image.to_be_bytes());
        bytes[24..28].copy_from_slice(&stored.to_be_bytes());
        sum(&mut bytes);
        Footer::decode(&bytes, file).map(|footer| footer.image_bytes())
    };
    let field = |field| Err(FormatError::Field { part: Part::Footer, field });
    let max = CONTENT_BYTES_MAX;
    assert_eq!(said(1024, max, IMAGE_BYTES_MAX, max, IMAGE_BYTES_MAX), Ok(IMAGE_BYTES_MAX));
    assert_eq!(said(1025, max, 128 + 41_000, 0, 128 + 41_000), field("entries"));
    assert_eq!(said(u16::MAX, max, 128, 0, 128), field("entries"));
    assert_eq!(said(0, max + 1, 128, 0, 128), field("content bytes"));
    assert_eq!(said(0, 0, 128, max + 1, 128), field("stored bytes"));
    assert_eq!(said(0, 0, 128, u32::MAX, 128), field("stored bytes"));
    assert_eq!(said(1, 9, 128, 0, 128), field("bytes of the file"));
    assert_eq!(said(0, 0, u64::MAX, 0, 128), field("bytes of the file"));
    assert_eq!(said(0, 0, 128, 0, 129), Err(FormatError::Cut { said: 128, bytes: 129 }));
    for file in [0, 127, IMAGE_BYTES_MAX + 1, u64::MAX] {
        assert_eq!(said(0, 0, 128, 0, file), Err(FormatError::Length { bytes: file }));
    }
}

#[test]
fn an_index_leaves_no_choice() {
    const FULL: u32 = FRAME_BYTES as u32;
    let decode = |entries: &[(u16, Form, u32)], content: u32, stored: u32| {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|&(frame, form, length)| index::encode(frame, form, length, &[0; 32]))
            .collect();
        index::decode(&bytes, content, stored).map(|places| places.last().map(index::Place::end))
    };
    let entry = |entry, field| Err(FormatError::Entry { entry, field });
    let (raw, zstd) = (Form::Raw, Form::Zstd);
    let half = FULL / 2;
    assert_eq!(decode(&[(0, raw, FULL), (2, zstd, 9)], 3 * FULL, FULL + 9), Ok(Some(64 + FULL + 9)));
    assert_eq!(decode(&[], 0, 0), Ok(None));
    assert_eq!(decode(&[(1, raw, FULL), (0, raw, FULL)], 2 * FULL, 2 * FULL), entry(1, "frame number"));
    assert_eq!(decode(&[(1, raw, FULL), (1, raw, FULL)], 2 * FULL, 2 * FULL), entry(1, "frame number"));
    assert_eq!(decode(&[(2, raw, FULL)], 2 * FULL, FULL), entry(0, "frame number"));
    assert_eq!(decode(&[(u16::MAX, raw, FULL)], 2 * FULL, FULL), entry(0, "frame number"));
    assert_eq!(decode(&[(0, raw, half)], FULL, half), entry(0, "stored bytes"));
    assert_eq!(decode(&[(0, raw, FULL)], half, FULL), entry(0, "stored bytes"));
    assert_eq!(decode(&[(0, zstd, 0)], FULL, 0), entry(0, "stored bytes"));
    assert_eq!(decode(&[(0, zstd, FULL)], FULL, FULL), entry(0, "stored bytes"));
    assert_eq!(decode(&[(0, zstd, 9)], 10, 9), entry(0, "stored bytes"));
    // What would reach into the next frame, the index, or around the end of the numbers.
    assert_eq!(decode(&[(0, zstd, 10)], FULL, 9), entry(0, "stored bytes"));
    assert_eq!(decode(&[(0, raw, FULL), (1, raw, FULL)], 2 * FULL, FULL + 9), entry(1, "stored bytes"));
    assert_eq!(decode(&[(0, zstd, u32::MAX)], FULL, 9), entry(0, "stored bytes"));
    let sum = Err(FormatError::Field { part: Part::Footer, field: "stored bytes" });
    assert_eq!(decode(&[(0, zstd, 9)], FULL, 10), sum);
    assert_eq!(decode(&[], FULL, 1), sum);
    for (at, value, field) in [(2, 0, "form"), (2, 3, "form"), (3, 1, "zero")] {
        let mut bytes = index::encode(0, raw, FULL, &[0; 32]);
        bytes[at] = value;
        assert_eq!(index::decode(&bytes, FULL, FULL), Err(FormatError::Entry { entry: 0, field }));
    }
}
