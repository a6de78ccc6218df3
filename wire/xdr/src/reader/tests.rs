//! Golden bytes and hostile input for the reader.

use bytes::Bytes;
use proptest::prelude::*;

use super::Reader;
use crate::XdrError;

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

/// Spec: RFC 4506 §4.1, §4.2, §4.4, §4.5.
#[test]
fn integers_are_big_endian() {
    let mut reader = reader(
        b"\x00\x00\x00\x07\xff\xff\xff\xfe\x01\x02\x03\x04\x05\x06\x07\x08\
                              \xff\xff\xff\xff\xff\xff\xff\xfd\x00\x00\x00\x01\x00\x00\x00\x00",
    );
    assert_eq!(reader.u32(), Ok(7));
    assert_eq!(reader.i32(), Ok(-2));
    assert_eq!(reader.u64(), Ok(0x0102_0304_0506_0708));
    assert_eq!(reader.i64(), Ok(-3));
    assert_eq!(reader.bool(), Ok(true));
    assert_eq!(reader.bool(), Ok(false));
    assert_eq!((reader.position(), reader.remaining()), (32, 0));
    assert_eq!(reader.finish(), Ok(()));
}

/// Spec: RFC 4506 §4.9, §4.10.
#[test]
fn opaque_shares_the_message_and_steps_over_padding() {
    let message = Bytes::from_static(b"\x00\x00\x00\x05hello\x00\x00\x00abc\x00\x00\x00\x00\x09");
    let mut reader = Reader::new(message.clone());
    let hello = reader.opaque(5).unwrap();
    assert_eq!(hello, "hello");
    assert_eq!(hello.as_ptr(), message[4..].as_ptr());
    assert_eq!(reader.fixed::<3>(), Ok(*b"abc"));
    assert_eq!(reader.u32(), Ok(9));
}

#[test]
fn refuses_what_is_malformed() {
    assert_eq!(reader(b"\x00\x00\x00").u32(), Err(XdrError::Short { needed: 4, left: 3 }));
    assert_eq!(reader(b"\x00\x00\x00\x02").bool(), Err(XdrError::BadBool));
    assert_eq!(
        reader(b"\x00\x00\x00\x06abcdef\x00\x00").opaque(5),
        Err(XdrError::TooLong { len: 6, max: 5 })
    );
    // The padding must be there, and must be zero.
    assert_eq!(reader(b"\x00\x00\x00\x01a\x00\x00").opaque(9), Err(XdrError::Short { needed: 4, left: 3 }));
    assert_eq!(reader(b"\x00\x00\x00\x01a\x00\x00\x01").opaque(9), Err(XdrError::BadPadding));
    let huge = usize::try_from(u32::MAX).unwrap();
    assert!(matches!(reader(b"\xff\xff\xff\xff").opaque(huge), Err(XdrError::Short { left: 0, .. })));
    assert_eq!(reader(b"\x00\x00\x00\x00").finish(), Err(XdrError::Trailing));
}

#[test]
fn count_must_fit_the_message() {
    assert_eq!(reader(b"\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00").count(2), Ok(2));
    assert_eq!(reader(b"\x00\x00\x00\x02").count(1), Err(XdrError::TooLong { len: 2, max: 1 }));
    assert_eq!(
        reader(b"\x00\x00\x00\x02\x00\x00\x00\x00").count(9),
        Err(XdrError::Short { needed: 8, left: 4 })
    );
}

#[test]
fn rest_takes_what_is_left() {
    let mut reader = reader(b"\x00\x00\x00\x02xyz");
    assert_eq!(reader.u32(), Ok(2));
    assert_eq!(reader.rest(), "xyz");
    assert_eq!(reader.rest(), "");
    assert_eq!(reader.finish(), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any sequence of reads over any bytes ends in values or errors, never past the end.
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..96), acts in prop::collection::vec(0_u8..9, 0..32)) {
        let mut reader = reader(&bytes);
        for act in acts {
            match act {
                0 => drop(reader.u32()),
                1 => drop(reader.i64()),
                2 => drop(reader.bool()),
                3 => drop(reader.fixed::<5>()),
                4 => drop(reader.opaque(usize::MAX)),
                5 => drop(reader.opaque(7)),
                6 => drop(reader.count(usize::MAX)),
                7 => drop(reader.string(64)),
                _ => drop(reader.clone().rest()),
            }
            prop_assert_eq!(reader.position() + reader.remaining(), bytes.len());
        }
    }
}
