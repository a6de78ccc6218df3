//! Streams cut in every way must give the same records.

use bytes::Bytes;
use proptest::prelude::*;

use super::{RecordAssembler, RecordError, mark};
use crate::READ_AHEAD_BYTES;

/// Feeds `stream` in reads of at most `read_bytes_max`, as a driver would.
fn feed(
    assembler: &mut RecordAssembler,
    mut stream: &[u8],
    read_bytes_max: usize,
) -> Result<Vec<Bytes>, RecordError> {
    let mut records = Vec::new();
    loop {
        while let Some(record) = assembler.next_record()? {
            records.push(record);
        }
        if stream.is_empty() {
            return Ok(records);
        }
        let (buffer, wanted) = assembler.wanted();
        assert!(0 < wanted);
        assert!(wanted <= buffer.capacity() - buffer.len());
        let (now, later) = stream.split_at(wanted.min(read_bytes_max).min(stream.len()));
        buffer.extend_from_slice(now);
        stream = later;
    }
}

/// Spec: RFC 5531 §11.
#[test]
fn fragments_join_into_a_record() {
    let stream = b"\x80\x00\x00\x04abcd\x00\x00\x00\x02xy\x00\x00\x00\x01z\x80\x00\x00\x00\x80\x00\x00\x00";
    for read_bytes_max in 1..stream.len() {
        let mut assembler = RecordAssembler::new(4);
        assert!(assembler.is_between_records());
        assert_eq!(feed(&mut assembler, stream, read_bytes_max).unwrap(), ["abcd", "xyz", ""]);
        assert!(assembler.is_between_records());
    }
    let mut assembler = RecordAssembler::new(4);
    assert!(feed(&mut assembler, b"\x80\x00\x00\x04ab", 99).unwrap().is_empty());
    assert!(!assembler.is_between_records());
}

#[test]
fn mark_is_one_last_fragment() {
    assert_eq!(mark(&[Bytes::from_static(b"ab"), Bytes::from_static(b"cde")]), *b"\x80\x00\x00\x05");
}

#[test]
fn long_record_is_refused_before_it_is_buffered() {
    let over = RecordError::TooLong { bytes: 0x7fff_ffff, max: 8 };
    assert_eq!(feed(&mut RecordAssembler::new(8), b"\xff\xff\xff\xff", 4), Err(over));
    let over = RecordError::TooLong { bytes: 9, max: 8 };
    assert_eq!(
        feed(&mut RecordAssembler::new(8), b"\x00\x00\x00\x08abcdefgh\x80\x00\x00\x01", 99),
        Err(over)
    );
    assert_eq!(feed(&mut RecordAssembler::new(8), b"\x00\x00\x00\x00", 4), Err(RecordError::EmptyFragment));
}

#[test]
fn large_record_stays_where_it_was_read() {
    const PAYLOAD_BYTES: usize = 1 << 20;
    let mut assembler = RecordAssembler::new(PAYLOAD_BYTES);
    let (buffer, _) = assembler.wanted();
    buffer.extend_from_slice(b"\x80\x10\x00\x00head");
    assert_eq!(assembler.next_record(), Ok(None));
    let (buffer, wanted) = assembler.wanted();
    assert_eq!(wanted, PAYLOAD_BYTES - 4);
    let place = buffer.as_ptr();
    buffer.extend_from_slice(&vec![7; wanted]);
    let record = assembler.next_record().unwrap().unwrap();
    assert_eq!((record.as_ptr(), record.len()), (place, PAYLOAD_BYTES));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_cut_gives_the_same_records(
        lens in prop::collection::vec(prop_oneof![1_usize..64, 1000_usize..5000, 20_000_usize..40_000], 1..8),
        read_bytes_max in prop_oneof![1_usize..99, 1_usize..65_536],
    ) {
        let mut stream = Vec::new();
        let mut sent = Vec::new();
        for (index, len) in lens.iter().enumerate() {
            let record = Bytes::from(vec![u8::try_from(index).unwrap(); *len]);
            stream.extend(mark(std::slice::from_ref(&record)));
            stream.extend(&record);
            sent.push(record);
        }
        let mut assembler = RecordAssembler::new(40_000);
        prop_assert_eq!(feed(&mut assembler, &stream, read_bytes_max).unwrap(), sent);
        prop_assert!(assembler.is_between_records());
    }

    #[test]
    fn arbitrary_stream_never_panics_nor_grows(stream in prop::collection::vec(any::<u8>(), 0..400), high in any::<bool>()) {
        // Mostly small lengths, so that more than the first header is reached.
        let stream: Vec<u8> = stream.into_iter().map(|byte| if high { byte } else { byte & 0x83 }).collect();
        let mut assembler = RecordAssembler::new(64);
        let _ = feed(&mut assembler, &stream, 7);
        prop_assert!(assembler.earlier.len() <= 64);
        prop_assert!(assembler.buffer.capacity() <= 4 * READ_AHEAD_BYTES);
    }
}
