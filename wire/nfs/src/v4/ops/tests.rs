//! Tests of the operations' codecs: golden bytes field by field, round trips, truncation, hostile
//! input.
//!
//! Golden bytes are lists of 32-bit words, one comment for each field, in the order of the RFC's
//! declaration.

use bytes::Bytes;
use proptest::prelude::*;
use wire_xdr::{Decode, Encode, Reader, Writer};

use super::*;
use crate::v4::{
    AttrValues, Bitmap, DeviceId, Fattr4, Filehandle, Nfsstat4, Nfstime4, Op, SessionId, Stateid, Verifier,
    compound::{CompoundHeader, ReplyHeader},
    owner::StateOwner,
};

mod file;
mod layout;
mod session;

/// Bytes of these words.
fn words(list: &[u32]) -> Vec<u8> {
    list.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// One word of text.
fn text(four: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*four)
}

/// Checks that a value has these bytes in both directions, and that no part of them is a value.
#[track_caller]
fn golden<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: &T, list: &[u32]) {
    let bytes = Bytes::from(words(list));
    let mut w = Writer::new();
    value.encode(&mut w);
    assert_eq!(w.into_bytes(), bytes);
    let mut r = Reader::new(bytes.clone());
    assert_eq!(T::decode(&mut r).as_ref(), Ok(value));
    assert_eq!(r.finish(), Ok(()));
    for len in 0..bytes.len() {
        assert!(T::decode(&mut Reader::new(bytes.slice(..len))).is_err(), "{len} of {}", bytes.len());
    }
}

const SESSION: SessionId = SessionId(*b"sessionsessionid");
const SESSION_WORDS: [u32; 4] = [0x7365_7373, 0x696f_6e73, 0x6573_7369, 0x6f6e_6964];
const STATEID: Stateid = Stateid { seqid: 7, other: *b"otherotherot" };
const STATEID_WORDS: [u32; 4] = [7, 0x6f74_6865, 0x726f_7468, 0x6572_6f74];

/// Joins pieces of golden bytes.
fn join(parts: &[&[u32]]) -> Vec<u32> {
    parts.concat()
}

fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn encoded(value: &impl Encode) -> Bytes {
    let mut w = Writer::new();
    value.encode(&mut w);
    w.into_bytes()
}

/// Words that look like a message: small numbers, so that lengths, counts and discriminants are
/// often valid, with some text and some extremes in between.
fn plausible_message() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => 0u32..4,
        3 => 0u32..24,
        1 => any::<u32>(),
        1 => Just(text(b"name")),
        1 => Just(u32::MAX),
    ];
    prop::collection::vec(word, 0..80).prop_map(|list| words(&list))
}

/// What is understood is written in a form that is understood as the same.
fn check_args(op: Op, bytes: Bytes) {
    if let Ok(Some(args)) = AnyArgs::decode(op, &mut Reader::new(bytes)) {
        let once = encoded(&args);
        let mut r = Reader::new(once.clone());
        let again = AnyArgs::decode(op, &mut r).unwrap().unwrap();
        assert_eq!(r.finish(), Ok(()));
        assert_eq!(again.op(), op);
        assert_eq!(encoded(&again), once);
    }
}

fn check_res(op: Op, bytes: Bytes) {
    if let Ok(Some(res)) = AnyResOk::decode(op, &mut Reader::new(bytes)) {
        let once = encoded(&res);
        let again = AnyResOk::decode(op, &mut Reader::new(once.clone())).unwrap().unwrap();
        assert_eq!(encoded(&again), once);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = CompoundHeader::decode(&mut Reader::new(bytes.clone()));
        let _ = ReplyHeader::decode(&mut Reader::new(bytes.clone()));
        for op in Op::ALL {
            check_args(*op, bytes.clone());
            check_res(*op, bytes.clone());
        }
    }

    #[test]
    fn plausible_bytes_round_trip(message in plausible_message()) {
        let bytes = Bytes::from(message);
        for op in AnyArgs::OPS {
            check_args(*op, bytes.clone());
            check_res(*op, bytes.clone());
        }
    }
}

#[test]
fn decode_any_knows_what_has_no_codec() {
    let mut empty = Reader::new(Bytes::new());
    assert_eq!(decode_any(24, &mut empty), Ok(Some(AnyArgs::Putrootfh(putrootfh::Args))));
    assert_eq!(decode_any(60, &mut empty), Ok(None));
    assert_eq!(decode_any(2, &mut empty), Ok(None));
    assert!(decode_any(22, &mut empty).is_err());
    // 73 numbers from 3 to 75, less the 19 that are never served.
    assert_eq!(AnyArgs::OPS.len(), 73 - 19);
}

/// An empty message is either an operation without arguments or an error: no codec makes up a
/// value.
#[test]
fn only_void_operations_accept_nothing() {
    let void: Vec<Op> = AnyArgs::OPS
        .iter()
        .copied()
        .filter(|op| AnyArgs::decode(*op, &mut Reader::new(Bytes::new())).is_ok())
        .collect();
    let expected =
        [Op::Getfh, Op::Lookupp, Op::Putpubfh, Op::Putrootfh, Op::Readlink, Op::Restorefh, Op::Savefh];
    assert_eq!(void, expected);
}
