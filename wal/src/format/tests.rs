//! The three structures, byte for byte. The hex was computed by another program from
//! docs/formats/record.md.

use bytes::Bytes;

use super::footer::{TRAILER_BYTES, Trailer, decode_trailer, encode, footer_bytes};
use super::header::{Decoded, SegmentHeader};
use super::record::{Span, StoredHeader};
use super::{checksum, u32_at};
use crate::record::RecordHeader;

const SEQ: u64 = 0x1122_3344_5566_7788;

const SEGMENT_HEADER: &str = "53484f414c57414c0001000000000000000102030405060708090a0b0c0d0e0f \
     11223344556677880000000004000000112233445566778700004321c889c316";
const RECORD_HEADER: &str = "5752454301abcd01010203040506070811121314151617182122232425262728 \
     1122334455667788a1a2a3a4000013880000020000000001f929f25ed19dec27";
const TABLE: &str = "ed96b643591a2676";
const TRAILER: &str = "574654520001000011223344556677880000000100000004c1933a8f00000000 \
     00000000000000000000000000000000000000000000000000000000ed77449d";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn payload() -> Vec<u8> {
    (0..5000_u32).map(|index| (index * 7 + 3) as u8).collect()
}

fn segment_header() -> SegmentHeader {
    SegmentHeader {
        store_id: std::array::from_fn(|index| index as u8),
        seq: SEQ,
        segment_bytes: 64 << 20,
        previous_seq: SEQ - 1,
        previous_end_blocks: 0x4321,
    }
}

fn record_header() -> StoredHeader {
    StoredHeader {
        user: RecordHeader {
            kind: 0xab,
            role: 0xcd,
            stream: 0x0102_0304_0506_0708,
            sub: 0xa1a2_a3a4,
            epoch: 0x1112_1314_1516_1718,
            position: 0x2122_2324_2526_2728,
            payload_len: 5000,
        },
        segment: SEQ,
        offset: 4096,
        earlier_durable: true,
        durable_blocks: 1,
        table_crc: checksum::crc32c(&bytes(TABLE)),
    }
}

#[test]
fn segment_header_bytes() {
    let encoded = segment_header().encode();
    assert_eq!(encoded[..64], bytes(SEGMENT_HEADER));
    assert!(encoded.len() == 4096 && encoded[64..].iter().all(|byte| *byte == 0));
    assert_eq!(SegmentHeader::decode(&encoded), Decoded::Header(segment_header()));
    assert_eq!(SegmentHeader::decode(&[0; 4096]), Decoded::Blank);
    assert_eq!(SegmentHeader::decode(&encoded[..63]), Decoded::Bad);
    for bit in 0..512 {
        let mut flipped = encoded.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&flipped), Decoded::Bad, "bit {bit}");
    }
    let mut later = encoded[..60].to_vec();
    later[9] = 2;
    later.extend_from_slice(&checksum::crc32c(&later).to_be_bytes());
    assert_eq!(SegmentHeader::decode(&later), Decoded::Version(2));
}

#[test]
fn record_header_bytes() {
    let encoded = record_header().encode();
    assert_eq!(encoded[..], bytes(RECORD_HEADER));
    assert_eq!(StoredHeader::decode(&encoded, SEQ), Some(record_header()));
    assert_eq!(StoredHeader::decode(&encoded, SEQ + 1), None);
    assert_eq!(StoredHeader::decode(&encoded[..63], SEQ), None);
    for bit in 0..512 {
        let mut flipped = encoded;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(StoredHeader::decode(&flipped, SEQ), None, "bit {bit}");
    }
}

#[test]
fn record_length_is_bounded_even_when_its_sum_is_right() {
    let mut encoded = record_header().encode();
    encoded[44..48].copy_from_slice(&((16_u32 << 20) + 1).to_be_bytes());
    let crc = checksum::crc32c(&encoded[..60]);
    encoded[60..].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(StoredHeader::decode(&encoded, SEQ), None);
}

#[test]
fn footer_bytes_of_one_record() {
    let entries = record_header().encode();
    let encoded = encode(SEQ, &entries, 4);
    assert_eq!(encoded.len(), 4096);
    assert_eq!(encoded[..64], entries);
    assert!(encoded[64..4096 - 64].iter().all(|byte| *byte == 0));
    let trailer = &encoded[4096 - TRAILER_BYTES..];
    assert_eq!(*trailer, bytes(TRAILER));
    let expected = Trailer { records: 1, end_blocks: 4, entries_crc: checksum::crc32c(&entries) };
    assert_eq!(decode_trailer(trailer, SEQ, 64 << 20), Some(expected));
    assert_eq!(decode_trailer(trailer, SEQ - 1, 64 << 20), None);
    assert_eq!(decode_trailer(trailer, SEQ, 4 * 4096), None, "no room for the footer itself");
    for bit in 0..512 {
        let mut flipped = trailer.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode_trailer(&flipped, SEQ, 64 << 20), None, "bit {bit}");
    }
    assert_eq!([footer_bytes(0), footer_bytes(63), footer_bytes(64)], [4096, 4096, 8192]);
}

#[test]
fn tables_do_not_depend_on_how_the_payload_is_cut() {
    let whole = Bytes::from(payload());
    assert_eq!(checksum::table(std::slice::from_ref(&whole)), bytes(TABLE));
    for cut in [0, 1, 100, 4095, 4096, 4097, 4999, 5000] {
        let parts = [whole.slice(..cut), Bytes::new(), whole.slice(cut..)];
        assert_eq!(checksum::table(&parts), bytes(TABLE), "cut at {cut}");
    }
    assert_eq!(checksum::table(&[]), Vec::<u8>::new());
    assert_eq!(checksum::bad_block(&whole, &bytes(TABLE)), None);
    let mut damaged = payload();
    damaged[4999] ^= 0x80;
    assert_eq!(checksum::bad_block(&damaged, &bytes(TABLE)), Some(1));
    assert_eq!(u32_at(&bytes(TABLE), 0), checksum::crc32c(&whole[..4096]));
}

#[test]
fn parts_of_a_record() {
    let small = Span { start: 4096, table: 4160, table_bytes: 8, payload: 4168, end: 9168 };
    assert_eq!(Span::of(4096, 5000), small);
    let aligned = Span { start: 4104, table: 4168, table_bytes: 32, payload: 8192, end: 8192 + 32768 };
    assert_eq!(Span::of(4104, 32768), aligned);
    let empty = Span { start: 4096, table: 4160, table_bytes: 0, payload: 4160, end: 4160 };
    assert_eq!(Span::of(4096, 0), empty);
}
