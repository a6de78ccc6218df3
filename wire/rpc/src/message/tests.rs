//! Golden bytes of both headers, and hostile ones.

use bytes::Bytes;
use proptest::prelude::*;
use wire_xdr::{Encode, Reader, Writer};

use super::{Message, ParseError, parse};
use crate::{AuthStat, AuthSys, CallHeader, Credential, OpaqueAuth, ReplyStatus, call, reply};

fn sys() -> AuthSys {
    AuthSys {
        stamp: 0x01020304,
        machine_name: Bytes::from_static(b"node5"),
        uid: 1000,
        gid: 100,
        gids: vec![4, 24],
    }
}

/// A call of NFS version 3 READ, as a Linux client frames it.
const CALL: &[u8] = b"\x11\x22\x33\x44\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa3\x00\x00\x00\x03\x00\x00\x00\x06\
    \x00\x00\x00\x01\x00\x00\x00\x24\x01\x02\x03\x04\x00\x00\x00\x05node5\x00\x00\x00\x00\x00\x03\xe8\x00\x00\x00\x64\
    \x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x18\x00\x00\x00\x00\x00\x00\x00\x00";

fn parse_call(bytes: &[u8]) -> (CallHeader, Reader) {
    match parse(Bytes::copy_from_slice(bytes)) {
        Ok(Message::Call(header, reader)) => (header, reader),
        other => panic!("{other:?}"),
    }
}

fn parse_reply(writer: Writer) -> (u32, ReplyStatus, Reader) {
    match parse(writer.into_bytes()) {
        Ok(Message::Reply(header, reader)) => (header.xid, header.status, reader),
        other => panic!("{other:?}"),
    }
}

/// Spec: RFC 5531 §9, §14.
#[test]
fn call_has_its_golden_bytes() {
    let writer = call(0x1122_3344, 100_003, 3, 6, &Credential::Sys(sys()));
    assert_eq!(writer.to_bytes(), CALL);
    let mut bytes = CALL.to_vec();
    bytes.extend(b"\x00\x00\x00\x2a");
    let (header, mut args) = parse_call(&bytes);
    let expected = CallHeader {
        xid: 0x1122_3344,
        program: 100_003,
        version: 3,
        procedure: 6,
        credential: Credential::Sys(sys()),
        verifier: OpaqueAuth::default(),
    };
    assert_eq!(header, expected);
    assert_eq!(args.u32(), Ok(42));
    assert_eq!(args.finish(), Ok(()));
}

#[test]
fn call_cut_short_is_garbage_at_every_length() {
    for len in 0..CALL.len() {
        let error = parse(Bytes::copy_from_slice(&CALL[..len])).unwrap_err();
        assert!(matches!(error, ParseError::Garbage(_)), "{len}: {error}");
        assert!(error.answer().is_none());
    }
}

/// Spec: RFC 5531 §9.
#[test]
fn other_rpc_version_is_answered_with_ours() {
    let mut bytes = CALL.to_vec();
    bytes[11] = 3;
    let error = parse(Bytes::from(bytes)).unwrap_err();
    assert_eq!(error, ParseError::RpcMismatch { xid: 0x1122_3344, version: 3 });
    let answer = error.answer().unwrap();
    let golden =
        b"\x11\x22\x33\x44\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x02";
    assert_eq!(answer.to_bytes(), golden.as_slice());
    assert_eq!(parse_reply(answer).1, ReplyStatus::RpcMismatch { low: 2, high: 2 });
}

fn call_with_body(flavor: u32, body: &[u8]) -> Result<Message, ParseError> {
    let mut writer = Writer::new();
    for word in [7, 0, 2, 100_003, 3, 0, flavor] {
        writer.u32(word);
    }
    writer.opaque(body);
    writer.u32(0);
    writer.u32(0);
    parse(writer.into_bytes())
}

/// Spec: RFC 5531 §8.2, §14.
#[test]
fn malformed_credential_is_an_auth_error() {
    let seventeen = AuthSys { gids: vec![0; 16], ..sys() };
    let mut body = Writer::new();
    seventeen.encode(&mut body);
    assert!(call_with_body(1, &body.to_bytes()).is_ok());
    let mut seventeen = body.to_bytes().to_vec();
    let count_at = seventeen.len() - 4 * 17;
    seventeen[count_at + 3] = 17;
    seventeen.extend([0; 4]);
    let bad = ParseError::BadCredential { xid: 7, stat: AuthStat::BADCRED };
    for body in [&seventeen[..], &body.to_bytes()[..20], &[0; 401]] {
        assert_eq!(call_with_body(1, body).unwrap_err(), bad);
    }
    let answer = bad.answer().unwrap();
    let golden = b"\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01";
    assert_eq!(answer.to_bytes(), golden.as_slice());
    assert_eq!(parse_reply(answer).1, ReplyStatus::AuthError(AuthStat::BADCRED));
}

#[test]
fn other_flavor_is_carried() {
    let Ok(Message::Call(header, _)) = call_with_body(6, b"token") else { panic!() };
    let auth = OpaqueAuth { flavor: 6, body: Bytes::from_static(b"token") };
    assert_eq!(header.credential, Credential::Other(auth));
}

/// Spec: RFC 5531 §9.
#[test]
fn replies_have_their_golden_bytes() {
    let mut success = reply::accepted_success(9);
    success.u32(77);
    let golden =
        b"\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
        \x00\x00\x00\x4d";
    assert_eq!(success.to_bytes(), golden.as_slice());
    let (xid, status, mut results) = parse_reply(success);
    assert_eq!((xid, status, results.u32()), (9, ReplyStatus::Success, Ok(77)));

    let mismatch = reply::prog_mismatch(9, 3, 4);
    assert_eq!(mismatch.to_bytes()[20..], *b"\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04");
    assert_eq!(parse_reply(mismatch).1, ReplyStatus::ProgMismatch { low: 3, high: 4 });
    assert_eq!(parse_reply(reply::prog_unavail(9)).1, ReplyStatus::ProgUnavail);
    assert_eq!(parse_reply(reply::proc_unavail(9)).1, ReplyStatus::ProcUnavail);
    assert_eq!(parse_reply(reply::garbage_args(9)).1, ReplyStatus::GarbageArgs);
    assert_eq!(parse_reply(reply::system_err(9)).1, ReplyStatus::SystemErr);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_record_never_panics(words in prop::collection::vec(prop_oneof![0_u32..9, any::<u32>()], 0..24)) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let _ = parse(Bytes::from(bytes));
    }

    #[test]
    fn damaged_call_never_panics(at in 0..CALL.len(), byte in any::<u8>()) {
        let mut bytes = CALL.to_vec();
        bytes[at] = byte;
        let _ = parse(Bytes::from(bytes));
    }

    #[test]
    fn credential_round_trips(
        stamp in any::<u32>(),
        name in prop::collection::vec(any::<u8>(), 0..=255),
        ids in any::<(u32, u32)>(),
        gids in prop::collection::vec(any::<u32>(), 0..=16),
    ) {
        let sys = AuthSys { stamp, machine_name: name.into(), uid: ids.0, gid: ids.1, gids };
        let (header, _) = parse_call(&call(1, 2, 3, 4, &Credential::Sys(sys.clone())).into_bytes());
        prop_assert_eq!(header.credential, Credential::Sys(sys));
    }
}
