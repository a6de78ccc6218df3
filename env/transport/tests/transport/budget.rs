//! Bytes in flight: of records that do not end, and of answers that are not taken.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use env::memory::ManualClock;
use env_transport::{ADDRESS_SHARE, Limits, PRESSED_STALL_MS_MAX, Traffic};
use wire_rpc::{Credential, Message, ReplyStatus, parse};

use crate::bed::{Bed, ECHO, PROGRAM, RESERVED, Raw, pass_ms, settle};

const ANSWER_BYTES: u32 = 1 << 16;
const ANSWERS_BYTES_MAX: usize = 8 << 20;
const RECORDS_BYTES_MAX: usize = 4 << 20;

fn limits() -> Limits {
    Limits {
        traffic: Traffic::Data,
        answer_bytes_max: ANSWERS_BYTES_MAX,
        in_flight_bytes_max: RECORDS_BYTES_MAX,
        ..Limits::default()
    }
}

async fn bed() -> (Bed, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_000));
    (Bed::with_clock(limits(), clock.clone()).await, clock)
}

fn read(xid: u32) -> Vec<u8> {
    let mut message = wire_rpc::call(xid, PROGRAM, 1, RESERVED, &Credential::None);
    message.u32(ANSWER_BYTES);
    message.into_bytes().to_vec()
}

fn echo(xid: u32) -> Vec<u8> {
    wire_rpc::call(xid, PROGRAM, 1, ECHO, &Credential::None).into_bytes().to_vec()
}

/// Calls, and waits for the answer.
async fn is_answered(raw: &mut Raw, record: &[u8]) -> bool {
    raw.send_record(record).await;
    let Some(reply) = raw.record().await else { return false };
    matches!(parse(reply), Ok(Message::Reply(header, _)) if header.status == ReplyStatus::Success)
}

/// Connections from these addresses, each of which is known, asks for so much, and takes nothing.
async fn greedy(bed: &Bed, addresses: impl IntoIterator<Item = u8>, calls: u32) -> Vec<Raw> {
    let mut connections = Vec::new();
    for from in addresses {
        let mut raw = bed.raw_from(from).await;
        assert!(is_answered(&mut raw, &echo(0)).await);
        connections.push(raw);
    }
    for raw in &mut connections {
        for xid in 1..=calls {
            raw.send_record(&read(xid)).await;
        }
        settle().await;
    }
    connections
}

/// 5,000 calls of one address whose answers are not taken: no more than its share is in memory, and
/// others do not wait.
#[tokio::test]
async fn answers_that_are_not_taken_are_an_address_s_share_at_most() {
    let (bed, _) = bed().await;
    let mut connections = greedy(&bed, [2; 20], 250).await;
    let made = || bed.service.0.made_bytes.load(Ordering::SeqCst);
    assert_eq!(bed.service.started(), 5_020);
    assert!((1 << 20..=ANSWERS_BYTES_MAX / ADDRESS_SHARE).contains(&made()), "{} bytes", made());
    let mut other = bed.raw_from(3).await;
    for xid in 0..50 {
        assert!(is_answered(&mut other, &echo(xid)).await);
        assert!(is_answered(&mut other, &read(xid)).await);
    }
    // Those of the address who take their answers get on when the others are gone.
    let mut last = connections.pop().unwrap();
    drop(connections);
    for _ in 0..250 {
        assert!(last.record().await.is_some());
    }
    settle().await;
    assert_eq!(made(), 0);
}

/// Addresses that have taken all of it together are cut when they stand still, and who waits goes
/// on.
#[tokio::test]
async fn who_takes_nothing_is_cut_when_others_wait() {
    let (bed, clock) = bed().await;
    let _greedy = greedy(&bed, 2..8, 100).await;
    assert!(bed.service.0.made_bytes.load(Ordering::SeqCst) <= ANSWERS_BYTES_MAX);
    let mut other = bed.raw_from(9).await;
    other.send_record(&read(1)).await;
    settle().await;
    assert_eq!(bed.service.closed(), 0);
    pass_ms(&clock, 2 * PRESSED_STALL_MS_MAX).await;
    assert!(other.record().await.is_some());
    assert!(0 < bed.service.closed());
}

/// Where no other peer waits, a peer may take its time.
#[tokio::test]
async fn a_peer_that_is_in_no_other_s_way_is_not_cut() {
    let (bed, clock) = bed().await;
    let mut slow = greedy(&bed, [2], 10).await.remove(0);
    settle().await;
    pass_ms(&clock, 2 * PRESSED_STALL_MS_MAX).await;
    for _ in 0..10 {
        assert!(slow.record().await.is_some());
    }
}

/// Records that are announced and do not come: what is not known takes a part of the room, and who
/// is known goes on.
#[tokio::test]
async fn unfinished_records_keep_within_the_bound() {
    let (bed, clock) = bed().await;
    let mut known = bed.raw_from(9).await;
    assert!(is_answered(&mut known, &echo(0)).await);
    let mut unfinished = Vec::new();
    for number in 0..100_u8 {
        let mut raw = bed.raw_from(number % 50 + 10).await;
        raw.send(&wire_rpc::mark_bytes(1 << 20)).await;
        raw.send(&[0; 20_000]).await;
        unfinished.push(raw);
        settle().await;
    }
    for xid in 1..50 {
        assert!(is_answered(&mut known, &echo(xid)).await);
    }
    let mut large = wire_rpc::call(60, PROGRAM, 1, ECHO, &Credential::None);
    large.raw_bytes(vec![0; 900_000].into());
    let large = large.into_bytes();
    known.send_record(&large).await;
    assert!(known.record().await.is_some());
    assert_eq!(bed.service.closed(), 0);
    // Those that have room and send nothing are cut, as others wait for it.
    pass_ms(&clock, 2 * PRESSED_STALL_MS_MAX).await;
    assert!(0 < bed.service.closed());
    assert!(is_answered(&mut known, &echo(99)).await);
}

/// What comes of a future while time moves on by so much, in steps of 50 ms.
async fn within_ms<T>(clock: &ManualClock, ms: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..=ms / 50 {
        tokio::select! {
            biased;
            output = &mut future => return Some(output),
            () = settle() => clock.advance_ms(50),
        }
    }
    None
}

/// Connections of an address that take no answers do not keep the others of that address waiting:
/// not at all those that took some before, and newcomers for two seconds at most, as so many come
/// at a time.
#[tokio::test]
async fn answers_that_are_not_taken_leave_room_for_others_of_the_address() {
    let (bed, clock) = bed().await;
    let mut known = bed.raw_from(2).await;
    assert!(is_answered(&mut known, &echo(0)).await);
    for xid in 1..=20 {
        assert!(is_answered(&mut known, &read(xid)).await);
    }
    let _greedy = greedy(&bed, [2; 40], 250).await;
    for xid in 0..50 {
        assert_eq!(within_ms(&clock, 0, is_answered(&mut known, &read(xid))).await, Some(true));
        assert_eq!(within_ms(&clock, 0, is_answered(&mut known, &echo(xid))).await, Some(true));
    }
    assert_eq!(bed.service.closed(), 0);
    let mut other = bed.raw_from(2).await;
    assert!(is_answered(&mut other, &echo(0)).await);
    for xid in 1..50 {
        assert_eq!(within_ms(&clock, 2_000, is_answered(&mut other, &read(xid))).await, Some(true));
    }
    let closed = bed.service.closed();
    assert!((1..40).contains(&closed), "{closed} of 40 are cut");
    assert!(bed.service.0.made_bytes.load(Ordering::SeqCst) <= ANSWERS_BYTES_MAX / ADDRESS_SHARE);
}

/// A connection that is slow, and holds no more than may be held so, is not cut while others of its
/// address are busy.
#[tokio::test]
async fn a_slow_connection_is_not_cut_for_busy_ones_of_its_address() {
    let (bed, clock) = bed().await;
    let mut slow = greedy(&bed, [2], 10).await.remove(0);
    let mut busy = [bed.raw_from(2).await, bed.raw_from(2).await];
    for xid in 1..=100 {
        for raw in &mut busy {
            // Some of these wait for their own answers.
            for _ in 0..4 {
                raw.send_record(&read(xid)).await;
            }
            settle().await;
            clock.advance_ms(50);
            for _ in 0..4 {
                assert!(within_ms(&clock, 0, raw.record()).await.is_some_and(|record| record.is_some()));
            }
        }
    }
    assert_eq!(bed.service.closed(), 0);
    for _ in 0..10 {
        assert!(slow.record().await.is_some());
    }
}

/// Records that are announced and do not come: the same.
#[tokio::test]
async fn unfinished_records_leave_room_for_others_of_the_address() {
    let (bed, clock) = bed().await;
    let mut large = wire_rpc::call(2, PROGRAM, 1, ECHO, &Credential::None);
    large.raw_bytes(vec![0; 200_000].into());
    let large = large.into_bytes();
    let mut known = bed.raw_from(2).await;
    for _ in 0..20 {
        assert!(is_answered(&mut known, &large).await);
    }
    let mut unfinished = greedy(&bed, [2; 10], 0).await;
    for raw in &mut unfinished {
        raw.send(&wire_rpc::mark_bytes(300_000)).await;
        raw.send(&[0; 20_000]).await;
        settle().await;
    }
    for xid in 0..20 {
        assert_eq!(within_ms(&clock, 0, is_answered(&mut known, &large)).await, Some(true));
        assert_eq!(within_ms(&clock, 0, is_answered(&mut known, &echo(xid))).await, Some(true));
    }
    let mut other = bed.raw_from(2).await;
    assert_eq!(within_ms(&clock, 0, is_answered(&mut other, &echo(1))).await, Some(true));
    // It has its turn after ten others, two of which have room at a time.
    assert_eq!(within_ms(&clock, 4_000, is_answered(&mut other, &large)).await, Some(true));
    assert!(0 < bed.service.closed());
}
