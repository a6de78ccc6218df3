//! Peers that send what they should not, or stop doing what they should.

use std::sync::Arc;

use env::memory::ManualClock;
use env_transport::{Limits, RECORD_STALL_MS_MAX, WRITE_STALL_MS_MAX};
use proptest::prelude::*;
use wire_rpc::{Credential, Message, ReplyStatus, parse};

use crate::bed::{Bed, ECHO, PROGRAM, ZEROS, call, pass_ms, settle, words};

fn echo(xid: u32) -> Vec<u8> {
    let mut message = wire_rpc::call(xid, PROGRAM, 1, ECHO, &Credential::None);
    message.u32(xid);
    message.into_bytes().to_vec()
}

#[tokio::test]
async fn long_record_is_cut() {
    let bed = Bed::new(Limits { record_bytes_max: 4096, ..Limits::default() }).await;
    let mut raw = bed.raw().await;
    raw.send(&wire_rpc::mark_bytes(4097)).await;
    assert!(raw.is_cut().await);
    settle().await;
    assert_eq!(bed.service.closed(), 1);
}

/// A peer that has not shown that it is of use has less room: a long record of it is cut when its
/// length is read.
#[tokio::test]
async fn a_record_is_short_until_the_peer_is_proven() {
    let limits = Limits { unproven_record_bytes_max: 100, record_bytes_max: 4096, ..Limits::default() };
    let bed = Bed::new(limits).await;
    let mut raw = bed.raw().await;
    raw.send(&wire_rpc::mark_bytes(101)).await;
    assert!(raw.is_cut().await);
    // ECHO proves. Each time the long record comes right behind its answer.
    for round in 0..50 {
        let client = bed.client();
        assert!(call(&client, ECHO, words(&[round])).await.is_ok());
        let long = call(&client, ECHO, words(&[round; 500])).await;
        assert!(long.is_ok(), "{round}: {long:?}");
        let longer = call(&client, ECHO, words(&[round; 2000])).await;
        assert!(longer.is_err(), "{round}");
    }
}

#[tokio::test]
async fn garbage_is_cut_and_others_go_on() {
    let bed = Bed::new(Limits::default()).await;
    let client = bed.client();
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    let mut raw = bed.raw().await;
    raw.send_record(b"GET / HTTP/1.1\r\n").await;
    assert!(raw.is_cut().await);
    let mut raw = bed.raw().await;
    raw.send_record(&echo(1)[..20]).await;
    assert!(raw.is_cut().await);
    assert!(call(&client, ECHO, words(&[])).await.is_ok());
    settle().await;
    assert_eq!((bed.service.started(), bed.service.closed()), (2, 2));
}

/// Another RPC version and a bad credential are answered, and the connection goes on; a reply to
/// nothing is ignored.
/// Spec: RFC 5531 §9.
#[tokio::test]
async fn wrong_but_answerable_messages_keep_the_connection() {
    let bed = Bed::new(Limits::default()).await;
    let mut raw = bed.raw().await;
    let (mut version, mut credential) = (echo(1), echo(2));
    version[11] = 3;
    credential[27] = 1;
    raw.send_record(&version).await;
    raw.send_record(&credential).await;
    raw.send_record(&wire_rpc::accepted_success(77).into_bytes()).await;
    raw.send_record(&echo(3)).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        match parse(raw.record().await.unwrap()).unwrap() {
            Message::Reply(header, _) => statuses.push((header.xid, header.status)),
            Message::Call(header, _) => panic!("{header:?}"),
        }
    }
    assert_eq!(statuses[0], (1, ReplyStatus::RpcMismatch { low: 2, high: 2 }));
    assert_eq!(statuses[1], (2, ReplyStatus::AuthError(wire_rpc::AuthStat::BADCRED)));
    assert_eq!(statuses[2], (3, ReplyStatus::Success));
}

#[tokio::test]
async fn peer_that_takes_no_replies_is_cut() {
    let clock = Arc::new(ManualClock::new(0));
    let limits = Limits { write_queue_bytes_max: 1 << 20, ..Limits::default() };
    let bed = Bed::with_clock(limits, clock.clone()).await;
    let mut raw = bed.raw().await;
    for xid in 0..100 {
        let mut message = wire_rpc::call(xid, PROGRAM, 1, ZEROS, &Credential::None);
        message.u32(500_000);
        raw.send_record(&message.into_bytes()).await;
    }
    pass_ms(&clock, WRITE_STALL_MS_MAX / 2).await;
    assert_eq!(bed.service.closed(), 0);
    // A peer that takes something, however little, is not dead yet.
    let mut buffer = bytes::BytesMut::with_capacity(64);
    assert_eq!(raw.stream.read.read(&mut buffer, 64).await.unwrap(), 64);
    pass_ms(&clock, WRITE_STALL_MS_MAX * 3 / 4).await;
    assert_eq!(bed.service.closed(), 0);
    pass_ms(&clock, WRITE_STALL_MS_MAX).await;
    assert_eq!(bed.service.closed(), 1);
}

#[tokio::test]
async fn peer_that_never_ends_its_record_is_cut() {
    let clock = Arc::new(ManualClock::new(0));
    let bed = Bed::with_clock(Limits { idle_ms_max: 0, ..Limits::default() }, clock.clone()).await;
    let (mut quiet, mut stuck) = (bed.raw().await, bed.raw().await);
    stuck.send(&echo(1)[..9]).await;
    settle().await;
    pass_ms(&clock, 2 * RECORD_STALL_MS_MAX).await;
    assert!(stuck.is_cut().await);
    assert_eq!(bed.service.closed(), 1);
    quiet.send_record(&echo(2)).await;
    assert!(quiet.record().await.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever arrives, the server neither dies nor stops serving others.
    #[test]
    fn arbitrary_bytes_harm_no_other(
        damage in prop::collection::vec((0_usize..64, any::<u8>()), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bed = Bed::new(Limits { record_bytes_max: 4096, ..Limits::default() }).await;
            let mut raw = bed.raw().await;
            let mut bytes = [&wire_rpc::mark_bytes(44)[..], &echo(1)].concat();
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            raw.send(&bytes).await;
            raw.send(&tail).await;
            settle().await;
            drop(raw);
            assert!(call(&bed.client(), ECHO, words(&[5])).await.is_ok());
        });
    }
}
