//! Tests of the backchannel: slots, outcomes, and the bytes of a callback.

use wire_nfs::v4::{
    Filehandle, Stateid,
    attr::LayoutType,
    callback::layoutrecall::{Args, RecallFile, RecallScope},
    layout::Iomode,
};

use super::*;
use crate::limits::BACK_REQUEST_BYTES_MIN;

const SESSION: SessionId = SessionId([0xab; 16]);
const HOME: ConnectionId = ConnectionId(1);

fn backchannel(slots: u32) -> Backchannel {
    let attrs = ChannelAttrs { operations_max: 2, requests_max: slots, ..ChannelAttrs::default() };
    let mut backchannel = Backchannel::new(&attrs, 0x4000_0000, Some(CallbackSec::None), 1);
    backchannel.bind(HOME);
    backchannel
}

fn sequence_of(backchannel: &mut Backchannel) -> u32 {
    let call = backchannel.begin(SESSION).unwrap();
    backchannel.finish(call.token, CallbackOutcome::Answered(Nfsstat4::Ok));
    call.sequence.sequenceid
}

/// QUIRK(linux): CB_SEQUENCE that is to be kept is refused, so it never is.
#[test]
fn a_call_and_its_answer() {
    let mut backchannel = backchannel(2);
    let one = backchannel.begin(SESSION).unwrap();
    let two = backchannel.begin(SESSION).unwrap();
    assert_eq!(backchannel.begin(SESSION), None);
    assert_eq!((one.sequence.slotid, one.sequence.sequenceid, one.sequence.highest_slotid), (0, 1, 0));
    assert_eq!((two.sequence.slotid, two.sequence.sequenceid, two.sequence.highest_slotid), (1, 1, 1));
    assert!(!one.sequence.cache_this);
    assert_eq!((one.connection, one.program), (HOME, 0x4000_0000));
    let verdict = backchannel.finish(one.token, CallbackOutcome::Answered(Nfsstat4::NomatchingLayout));
    assert_eq!(verdict, CallbackVerdict::Answered(Nfsstat4::NomatchingLayout));
    let next = backchannel.begin(SESSION).unwrap();
    assert_eq!((next.sequence.slotid, next.sequence.sequenceid), (0, 2));
}

/// A client that has seen a call whose answer was lost says so, and the next number is taken.
#[test]
fn a_lost_call_keeps_its_number_until_the_client_tells() {
    let mut backchannel = backchannel(1);
    let call = backchannel.begin(SESSION).unwrap();
    assert_eq!(backchannel.finish(call.token, CallbackOutcome::Lost), CallbackVerdict::Again);
    assert!(!backchannel.has_path());
    assert_eq!(backchannel.begin(SESSION), None, "the connection is not used again");
    assert_eq!(backchannel.status_flags(), status_flags::CB_PATH_DOWN_SESSION);
    backchannel.bind(ConnectionId(2));
    for outcome in [
        CallbackOutcome::Sequence(Nfsstat4::Delay),
        CallbackOutcome::Sequence(Nfsstat4::RetryUncachedRep),
        CallbackOutcome::Answered(Nfsstat4::RetryUncachedRep),
    ] {
        let again = backchannel.begin(SESSION).unwrap();
        let expected = if outcome == CallbackOutcome::Answered(Nfsstat4::RetryUncachedRep) { 2 } else { 1 };
        assert_eq!((again.connection, again.sequence.sequenceid), (ConnectionId(2), expected));
        assert_eq!(backchannel.finish(again.token, outcome), CallbackVerdict::Again);
    }
    assert_eq!(sequence_of(&mut backchannel), 3);
}

#[test]
fn a_broken_backchannel_is_told_and_left_alone() {
    for status in [Nfsstat4::SeqMisordered, Nfsstat4::Badsession, Nfsstat4::Badslot, Nfsstat4::OpNotInSession]
    {
        let mut backchannel = backchannel(1);
        let call = backchannel.begin(SESSION).unwrap();
        assert_eq!(
            backchannel.finish(call.token, CallbackOutcome::Sequence(status)),
            CallbackVerdict::Broken
        );
        assert_eq!(backchannel.status_flags(), status_flags::BACKCHANNEL_FAULT);
        assert!(!backchannel.has_path());
        assert_eq!(backchannel.begin(SESSION), None);
    }
}

#[test]
fn the_last_connection_bound_is_used() {
    let mut backchannel = backchannel(1);
    backchannel.bind(ConnectionId(2));
    backchannel.bind(HOME);
    assert_eq!(backchannel.connections(), [ConnectionId(2), HOME]);
    backchannel.unbind(HOME);
    assert_eq!(backchannel.begin(SESSION).unwrap().connection, ConnectionId(2));
    for number in 10..200 {
        backchannel.bind(ConnectionId(number));
    }
    assert_eq!(backchannel.connections().len(), CONNECTIONS_PER_SESSION_MAX);
}

#[test]
fn no_slots_or_credential_no_calls() {
    let mut none = backchannel(0);
    assert_eq!(none.begin(SESSION), None);
    let mut gss_only = backchannel(1);
    gss_only.set_program(7, None);
    assert_eq!(gss_only.begin(SESSION), None);
    assert!(!gss_only.has_path());
    gss_only.set_program(7, Some(CallbackSec::None));
    assert_eq!(gss_only.begin(SESSION).unwrap().program, 7);
}

/// Spec: RFC 8881 §19.2, §20.9, §20.3: tag, minor version, ident, two operations.
#[test]
fn callback_golden_bytes() {
    let mut backchannel = backchannel(1);
    let call = backchannel.begin(SESSION).unwrap();
    let recall = Args {
        layout_type: LayoutType::FLEX_FILES,
        iomode: Iomode::Any,
        changed: false,
        scope: RecallScope::File(RecallFile {
            filehandle: Filehandle::new(bytes::Bytes::from_static(&[0xfe; 24])).unwrap(),
            offset: 0,
            length: u64::MAX,
            stateid: Stateid { seqid: 2, other: [0xcd; 12] },
        }),
    };
    let mut w = Writer::new();
    encode_callback(&mut w, &call, CbOp::Layoutrecall, &recall);
    let hex: String = w.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "00000000",                         // tag
        "00000001",                         // minor version
        "00000000",                         // callback_ident
        "00000002",                         // operations
        "0000000b",                         // CB_SEQUENCE
        "abababababababababababababababab", // session
        "00000001",                         // sequence
        "00000000",                         // slot
        "00000000",                         // highest slot
        "00000000",                         // cachethis
        "00000000",                         // referring calls
        "00000005",                         // CB_LAYOUTRECALL
        "00000004",                         // LAYOUT4_FLEX_FILES
        "00000003",                         // ANY
        "00000000",                         // changed
        "00000001",                         // FILE
        "00000018",                         // handle
        "fefefefefefefefefefefefefefefefefefefefefefefefe",
        "0000000000000000",         // offset
        "ffffffffffffffff",         // length
        "00000002",                 // stateid
        "cdcdcdcdcdcdcdcdcdcdcdcd", // its other part
    ];
    assert_eq!(hex, expected.concat());
    // With an AUTH_NONE header it fits the smallest backchannel that is taken.
    assert!(hex.len() / 2 + 40 <= BACK_REQUEST_BYTES_MIN as usize);
}
