//! Pools: shares, turns, and what is given up.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Takes room that is there.
fn take(pool: &Pool, from: u8, proven: bool, bytes: usize) -> Room {
    poll(pin!(pool.take(address(from), proven, bytes))).expect("there is room")
}

#[test]
fn an_address_takes_its_share_and_no_more() {
    let pool = Pool::shared(1000);
    let held = [take(&pool, 1, true, 200), take(&pool, 1, true, 50)];
    let mut more = pin!(pool.take(address(1), true, 1));
    assert!(poll(more.as_mut()).is_none(), "it has used up its share");
    assert!(pool.is_waited_for(address(1)) && !pool.is_waited_for(address(2)));
    drop(take(&pool, 2, true, 250));
    drop(held);
    assert_eq!(poll(more).unwrap().bytes(), 1);
    assert_eq!(pool.used(), 0);
    assert_eq!(take(&pool, 3, true, 5000).bytes(), 250, "what is too large takes all of a share");
}

#[test]
fn those_who_are_not_known_leave_room() {
    let pool = Pool::shared(1000);
    let held: Vec<Room> = (0..5).map(|from| take(&pool, from, false, 50)).collect();
    let mut more = pin!(pool.take(address(9), false, 1));
    assert!(poll(more.as_mut()).is_none());
    drop((take(&pool, 9, true, 1), take(&pool, 8, true, 250)));
    drop(held);
    assert!(poll(more).is_some());
}

#[test]
fn addresses_take_turns_and_nobody_overtakes_one_who_waits_for_all() {
    let pool = Pool::shared(1000);
    let mut held: Vec<Room> = (0..4).map(|from| take(&pool, from, true, 250)).collect();
    let mut first = pin!(pool.take(address(10), true, 200));
    let mut again = pin!(pool.take(address(10), true, 40));
    let mut other = pin!(pool.take(address(11), true, 10));
    assert!(
        poll(first.as_mut()).is_none() && poll(again.as_mut()).is_none() && poll(other.as_mut()).is_none()
    );
    assert!(pool.is_waited_for(address(0)), "all wait for all");
    held[0].shrink(100);
    assert!(
        poll(first.as_mut()).is_none() && poll(other.as_mut()).is_none(),
        "150 are not enough for the first"
    );
    held[1].shrink(200);
    let first = poll(first.as_mut()).unwrap();
    assert!(poll(again.as_mut()).is_none(), "it is the other's turn");
    held.pop();
    let rest = (poll(other.as_mut()).unwrap(), poll(again.as_mut()).unwrap());
    assert_eq!(pool.used(), 100 + 200 + 250 + first.bytes() + rest.0.bytes() + rest.1.bytes());
}

#[test]
fn who_gave_up_keeps_nothing() {
    let pool = Pool::shared(400);
    let held = take(&pool, 1, true, 100);
    {
        let mut waits = pin!(pool.take(address(1), true, 100));
        assert!(poll(waits.as_mut()).is_none());
        let mut late = pin!(pool.take(address(1), true, 100));
        assert!(poll(late.as_mut()).is_none());
        // Granted, and dropped before it was looked at.
        drop(held);
        assert_eq!(pool.used(), 100);
    }
    assert_eq!(pool.used(), 0);
    assert!(pool.lock().accounts.is_empty() && pool.lock().turn.is_empty());
}

#[test]
fn small_records_of_nodes_wait_for_nothing() {
    let limits = Limits { in_flight_bytes_max: 10_000, traffic: Traffic::Nodes, ..Limits::default() };
    let budget = Budget::of(&limits, true);
    let held = poll(pin!(budget.record(address(1), true, 10_000))).unwrap();
    assert!(poll(pin!(budget.record(address(2), true, EXEMPT_BYTES_MAX))).is_some());
    assert!(poll(pin!(budget.record(address(2), false, 100))).is_none());
    assert!(poll(pin!(budget.record(address(2), true, EXEMPT_BYTES_MAX + 1))).is_none());
    drop(held);
    assert_eq!(budget.received.used(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens, the bounds hold, nobody is forgotten, and in the end nothing is taken.
    #[test]
    fn bounds_hold_and_everybody_gets_a_turn(
        acts in prop::collection::vec((0..6_u8, any::<bool>(), 0..400_usize, 0..4_u8), 1..80)
    ) {
        let pool = Pool::shared(1000);
        let (mut held, mut waits) = (Vec::new(), Vec::new());
        for (from, proven, bytes, act) in acts {
            match act {
                0 | 1 => {
                    let pool = pool.clone();
                    let mut take = Box::pin(async move { pool.take(address(from), proven, bytes).await });
                    match poll(take.as_mut()) {
                        Some(room) => held.push(room),
                        None => waits.push(take),
                    }
                }
                2 if !held.is_empty() => drop(held.swap_remove(bytes % held.len())),
                3 if !waits.is_empty() => drop(waits.swap_remove(bytes % waits.len())),
                _ => {}
            }
            waits.retain_mut(|take| match poll(take.as_mut()) {
                Some(room) => {
                    held.push(room);
                    false
                }
                None => true,
            });
            prop_assert_eq!(pool.used(), held.iter().map(Room::bytes).sum::<usize>());
            prop_assert!(pool.used() <= 1000);
            let unproven: usize = held.iter().filter(|room| !room.proven).map(Room::bytes).sum();
            prop_assert!(unproven <= 250);
            for from in 0..6 {
                let of = held.iter().filter(|room| room.from == address(from)).map(Room::bytes).sum::<usize>();
                prop_assert!(of <= 250);
            }
        }
        while !waits.is_empty() {
            let before = waits.len();
            held.clear();
            waits.retain_mut(|take| match poll(take.as_mut()) {
                Some(room) => {
                    held.push(room);
                    false
                }
                None => true,
            });
            prop_assert!(waits.len() < before, "there was room, and somebody waits on");
        }
        held.clear();
        prop_assert_eq!(pool.used(), 0);
        prop_assert!(pool.lock().accounts.is_empty());
    }
}
