//! Pools: shares, turns, and what is given up.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
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
    assert_eq!(take(&pool, 1, false, 5000).bytes(), 62, "what is too large takes all of such a share");
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
    assert_forgotten(&pool);
}

/// Nothing is left of rooms and waiters.
fn assert_forgotten(pool: &Pool) {
    let state = pool.lock();
    assert!(state.accounts.is_empty() && state.turns.iter().all(BTreeMap::is_empty));
    assert!(!state.is_short && !state.is_unproven_short);
    assert_eq!((state.used, state.unproven_used), (0, 0));
}

#[test]
fn a_waiter_that_gives_up_passes_its_turn_on() {
    let pool = Pool::shared(1000);
    let held: Vec<Room> = (0..4).map(|from| take(&pool, from, true, 240)).collect();
    let mut large = Box::pin(pool.take(address(10), true, 200));
    let mut behind = pin!(pool.take(address(10), true, 10));
    let mut other = pin!(pool.take(address(11), true, 10));
    assert!(poll(large.as_mut()).is_none());
    assert!(poll(behind.as_mut()).is_none() && poll(other.as_mut()).is_none());
    drop(large);
    // From what is free: nothing was given back.
    drop((poll(behind).unwrap(), poll(other).unwrap()));
    assert!(!pool.is_waited_for(address(0)));
    // The same within an address, which has used up its share.
    let mut large = Box::pin(pool.take(address(1), true, 200));
    let mut behind = pin!(pool.take(address(1), true, 10));
    assert!(poll(large.as_mut()).is_none() && poll(behind.as_mut()).is_none());
    drop(large);
    drop(poll(behind).unwrap());
    drop(held);
    assert_forgotten(&pool);
}

#[test]
fn room_that_becomes_proven_is_given_to_unproven_waiters() {
    let pool = Pool::shared(1600);
    let first = take(&pool, 1, false, 100);
    let mut other = pin!(pool.take(address(1), false, 100));
    assert!(poll(other.as_mut()).is_none());
    let both = first.and(take(&pool, 1, true, 50));
    assert_eq!((both.bytes(), pool.used()), (150, 250));
    let other = poll(other).unwrap();
    assert_eq!(pool.lock().unproven_used, 100);
    drop(take(&pool, 1, true, 100).and(other));
    drop(both);
    assert_forgotten(&pool);
}

#[test]
fn unproven_waiters_wait_for_unproven_holders() {
    let pool = Pool::shared(1600);
    let _known = take(&pool, 9, true, 100);
    let held: Vec<Room> = (0..4).map(|from| take(&pool, from, false, 100)).collect();
    assert!(!pool.is_waited_for(address(0)));
    let mut more = Box::pin(pool.take(address(5), false, 50));
    assert!(poll(more.as_mut()).is_none());
    assert!(pool.is_waited_for(address(0)) && !pool.is_waited_for(address(9)));
    let mut late = pin!(pool.take(address(6), false, 100));
    assert!(poll(late.as_mut()).is_none());
    drop(more);
    assert!(pool.is_waited_for(address(0)), "another one waits");
    drop(held);
    assert!(poll(late).is_some());
    assert!(!pool.is_waited_for(address(0)));
}

/// Proven waiters do not keep unproven ones out for ever, nor the other way round.
#[test]
fn proven_and_unproven_waiters_get_room_alternately() {
    let pool = Pool::shared(1600);
    let mut held: Vec<Room> = (0..4).map(|from| take(&pool, from, true, 400)).collect();
    let mut waits: Vec<_> = (10..16)
        .map(|from| (from % 2 == 0, Box::pin(pool.take(address(from), from % 2 == 0, 100))))
        .collect();
    assert!(waits.iter_mut().all(|(_, wait)| poll(wait.as_mut()).is_none()));
    let mut granted = Vec::new();
    while !waits.is_empty() {
        let Some(room) = held.first_mut() else { panic!("there was room for all") };
        room.shrink(room.bytes() - 100);
        if room.bytes() == 100 {
            held.remove(0);
        }
        waits.retain_mut(|(proven, wait)| match poll(wait.as_mut()) {
            Some(room) => {
                granted.push((*proven, room));
                false
            }
            None => true,
        });
    }
    let order: Vec<bool> = granted.iter().map(|(proven, _)| *proven).collect();
    assert!(order.windows(2).all(|two| two[0] != two[1]), "{order:?}");
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

/// One that waits, and for what.
struct Waiter {
    from: u8,
    proven: bool,
    bytes: usize,
    take: Pin<Box<dyn Future<Output = Room>>>,
}

/// Those who have room now are moved to what is held.
fn collect(waits: &mut Vec<Waiter>, held: &mut Vec<Room>) {
    waits.retain_mut(|wait| match poll(wait.take.as_mut()) {
        Some(room) => {
            held.push(room);
            false
        }
        None => true,
    });
}

/// Whether one waits that has room and that nothing precedes, reckoned from what is held.
fn is_one_forgotten(waits: &[Waiter], held: &[Room]) -> bool {
    let sum = |is_of: &dyn Fn(&Room) -> bool| held.iter().filter(|room| is_of(room)).map(Room::bytes).sum();
    let (all, unproven): (usize, usize) = (sum(&|_| true), sum(&|room| !room.proven));
    let mut seen = Vec::new();
    let first = |wait: &&Waiter| {
        let peer = (wait.from, wait.proven);
        let is_first = !seen.contains(&peer);
        seen.push(peer);
        is_first
    };
    let firsts: Vec<&Waiter> = waits.iter().filter(first).collect();
    let has_share = |wait: &Waiter| {
        let of: usize = sum(&|room| room.from == address(wait.from));
        let unproven_of: usize = sum(&|room| room.from == address(wait.from) && !room.proven);
        let bytes = wait.bytes.clamp(1, if wait.proven { 250 } else { 62 });
        of + bytes <= 250 && (wait.proven || unproven_of + bytes <= 62)
    };
    let fits = |wait: &Waiter, used: usize, max: usize| {
        used + wait.bytes.clamp(1, if wait.proven { 250 } else { 62 }) <= max
    };
    let in_turn = firsts.into_iter().filter(|wait| has_share(wait));
    let (known, others): (Vec<&Waiter>, Vec<&Waiter>) = in_turn.partition(|wait| wait.proven);
    // One that waits for the others' part precedes others, and one that waits for all precedes all.
    let others_wait = others.iter().any(|wait| !fits(wait, unproven, 250));
    let others: Vec<&Waiter> = if others_wait { vec![] } else { others };
    let mut ready = known.iter().chain(&others).peekable();
    ready.peek().is_some() && ready.all(|wait| fits(wait, all, 1000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens, the bounds hold, nobody is forgotten, and in the end nothing is taken.
    #[test]
    fn bounds_hold_and_everybody_gets_a_turn(
        acts in prop::collection::vec((0..6_u8, any::<bool>(), 0..400_usize, 0..6_u8), 1..80)
    ) {
        let pool = Pool::shared(1000);
        let (mut held, mut waits) = (Vec::<Room>::new(), Vec::<Waiter>::new());
        for (from, proven, bytes, act) in acts {
            match act {
                0 | 1 => {
                    let pool = pool.clone();
                    let take = Box::pin(async move { pool.take(address(from), proven, bytes).await });
                    waits.push(Waiter { from, proven, bytes, take });
                }
                2 if !held.is_empty() => drop(held.swap_remove(bytes % held.len())),
                3 if !waits.is_empty() => drop(waits.remove(bytes % waits.len())),
                4 if !held.is_empty() => {
                    let one = bytes % held.len();
                    held[one].shrink(bytes / 2);
                }
                5 if 1 < held.len() => {
                    let one = held.swap_remove(bytes % held.len());
                    match held.iter().position(|other| other.from == one.from) {
                        Some(other) => {
                            let other = held.swap_remove(other);
                            held.push(other.and(one));
                        }
                        None => held.push(one),
                    }
                }
                _ => {}
            }
            collect(&mut waits, &mut held);
            prop_assert!(!is_one_forgotten(&waits, &held));
            prop_assert!(pool.lock().next().is_none());
            prop_assert_eq!(pool.used(), held.iter().map(Room::bytes).sum::<usize>());
            prop_assert!(pool.used() <= 1000);
            let unproven: usize = held.iter().filter(|room| !room.proven).map(Room::bytes).sum();
            prop_assert!(unproven <= 250);
            for from in 0..6 {
                let of = |proven: bool| {
                    let is_of = |room: &&Room| room.from == address(from) && room.proven == proven;
                    held.iter().filter(is_of).map(Room::bytes).sum::<usize>()
                };
                prop_assert!(of(false) <= 62);
                prop_assert!(of(true) + of(false) <= 250);
            }
        }
        while !waits.is_empty() {
            let before = waits.len();
            held.clear();
            collect(&mut waits, &mut held);
            prop_assert!(waits.len() < before, "there was room, and somebody waits on");
        }
        held.clear();
        assert_forgotten(&pool);
    }
}
