//! A session that goes from one server to another.
//!
//! Spec: docs/protocol/sessions.md §3.

#![allow(missing_docs, reason = "a test binary")]

use bytes::Bytes;
use wire_nfs::v4::ops::create_session::{self, ChannelAttrs, flags};
use wire_nfs::v4::ops::sequence::{self, status_flags};
use wire_nfs::v4::{Nfsstat4, callback_sec::CallbackSec};
use wire_session::server::channel::negotiate;
use wire_session::server::{
    Admitted, Arrival, ConnectionId, CreateError, Past, SessionRecord, Sessions, SlotSeen, Verdict,
};

const CLIENT: u64 = 11;
const HOME: ConnectionId = ConnectionId(1);
const REPLY: Bytes = Bytes::from_static(b"reply");

fn record() -> SessionRecord {
    let attrs = ChannelAttrs {
        header_pad_bytes: 0,
        request_bytes_max: 4096,
        response_bytes_max: 4096,
        response_cached_bytes_max: 4096,
        operations_max: 8,
        requests_max: 8,
        rdma_ird: Vec::new(),
    };
    let args = create_session::Args {
        clientid: CLIENT,
        sequence: 3,
        flags: flags::CONN_BACK_CHAN,
        fore: attrs.clone(),
        back: attrs,
        cb_program: 0x4000_0000,
        sec_parms: vec![CallbackSec::None],
    };
    SessionRecord::new(&args, &negotiate(&args).expect("fair bounds"), 2, 0x0102_0304)
}

fn send(sessions: &mut Sessions, slot: u32, sequence: u32, fingerprint: u64) -> Verdict {
    let args = sequence::Args {
        session: record().session(),
        sequenceid: sequence,
        slotid: slot,
        highest_slotid: slot,
        cache_this: true,
    };
    let arrival = Arrival { connection: HOME, record_bytes: 200, op_count: 3, minor_version: 2, fingerprint };
    sessions.sequence(&args, &arrival, 0)
}

fn admitted(verdict: Verdict) -> Admitted {
    match verdict {
        Verdict::Execute(admitted) => admitted,
        other => panic!("not admitted: {other:?}"),
    }
}

#[test]
fn a_name_tells_client_and_sequence() {
    assert_eq!(record().id, *b"\0\0\0\0\0\0\0\x0b\0\0\0\x03\x01\x02\x03\x04");
}

#[test]
fn slots_begin_where_the_state_says() {
    let mut sessions = Sessions::new(90_000);
    assert_eq!(send(&mut sessions, 2, 41, 5), Verdict::Unknown);
    let seen = [
        SlotSeen { slot: 2, sequence: 41, fingerprint: 5 },
        SlotSeen { slot: 99, sequence: 1, fingerprint: 1 },
    ];
    sessions.put(&record(), 4, Past::Elsewhere(&seen), 0).unwrap();
    // Nothing of it was carried out here, perhaps elsewhere.
    let again = admitted(send(&mut sessions, 2, 41, 5));
    assert!(again.again);
    assert_eq!(again.token.tenure, 4);
    // The server does not know how far the slots of the backchannel are, and tells the client so.
    let down = status_flags::CB_PATH_DOWN | status_flags::CB_PATH_DOWN_SESSION;
    assert_eq!(again.result.status_flags, down | status_flags::BACKCHANNEL_FAULT);
    assert_eq!(sessions.begin_callback(CLIENT), None);
    sessions.complete(again.token, Some(REPLY));
    assert_eq!(send(&mut sessions, 2, 41, 5), Verdict::Replay(REPLY));
    // Of this slot nothing is known: requests that changed nothing leave nothing.
    let later = admitted(send(&mut sessions, 3, 1000, 5));
    assert!(!later.again);
    // What came first may have been an old copy; once requests follow one another nothing may be
    // left out.
    for sequence in [43, 44] {
        let later = admitted(send(&mut sessions, 2, sequence, 5));
        sessions.complete(later.token, Some(REPLY));
    }
    assert_eq!(send(&mut sessions, 2, 46, 5), Verdict::Reject(Nfsstat4::SeqMisordered));
}

#[test]
fn a_request_of_an_older_tenure_completes_nothing() {
    let mut sessions = Sessions::new(90_000);
    sessions.put(&record(), 1, Past::None, 0).unwrap();
    let old = admitted(send(&mut sessions, 0, 1, 5));
    sessions.disown(old.token);
    assert_eq!(send(&mut sessions, 0, 1, 5), Verdict::Unknown);
    sessions.put(&record(), 2, Past::Elsewhere(&[]), 0).unwrap();
    let new = admitted(send(&mut sessions, 0, 1, 5));
    sessions.complete(old.token, Some(REPLY));
    sessions.disown(old.token);
    assert_eq!(send(&mut sessions, 0, 1, 5), Verdict::Reject(Nfsstat4::Delay), "it is still being executed");
    sessions.complete(new.token, Some(REPLY));
    assert_eq!(send(&mut sessions, 0, 1, 5), Verdict::Replay(REPLY));
    // Who comes late with an older tenure changes nothing.
    sessions.put(&record(), 1, Past::None, 0).unwrap();
    assert_eq!(send(&mut sessions, 0, 1, 5), Verdict::Replay(REPLY));
    sessions.keep_only(|_, tenure| tenure == 2);
    assert_eq!(sessions.len(), 1);
    sessions.keep_only(|_, tenure| tenure == 3);
    assert!(sessions.is_empty());
    assert_eq!(sessions.expired(u64::MAX), [CLIENT], "its request does not count any more");
    assert_eq!(sessions.memory_bytes(), 0);
}

#[test]
fn bounds_that_are_never_negotiated_are_refused() {
    let mut sessions = Sessions::new(90_000);
    let bends: [fn(&mut SessionRecord); 4] = [
        |record| record.fore.requests_max = 0,
        |record| record.fore.requests_max = u32::MAX,
        |record| record.back.requests_max = u32::MAX,
        |record| record.client += 1,
    ];
    for bend in bends {
        let mut record = record();
        bend(&mut record);
        assert_eq!(sessions.put(&record, 1, Past::None, 0), Err(CreateError::Unsound));
    }
}
