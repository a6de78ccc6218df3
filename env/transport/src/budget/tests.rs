//! Pools: shares, windows, turns, and what is given up.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use env::memory::ManualClock;
use proptest::prelude::*;

use super::*;
use crate::limits::{CUT_STALL_MS_MIN, MESSAGE_STALL_PART, STANDING_STALL_MS_MAX};

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A pool of answers.
fn shared(bytes_max: usize) -> Pool {
    Pool::shared(Direction::Sent, bytes_max)
}

/// A connection.
#[derive(Clone)]
struct Peer {
    place: Arc<Place>,
    activity: Arc<Activity>,
    proven: bool,
}

fn join(pool: &Pool, from: u8, proven: bool) -> Peer {
    let activity = Arc::new(Activity::default());
    Peer { place: pool.join(address(from), Arc::clone(&activity)), activity, proven }
}

impl Peer {
    /// Room that is there, or a wait.
    fn ask(&self, bytes: usize) -> Result<Room, Waiting> {
        self.place.try_take(self.proven, bytes)
    }

    /// Takes room that is there.
    fn take(&self, bytes: usize) -> Room {
        self.ask(bytes).expect("there is room")
    }

    /// Waits for room that is not there.
    fn wait(&self, bytes: usize) -> Asked {
        let waiting = self.ask(bytes).expect_err("there is no room");
        Asked(Box::pin(waiting.room()))
    }

    fn is_cut(&self) -> bool {
        poll(pin!(self.activity.pressed())).is_some()
    }
}

struct Asked(Pin<Box<dyn Future<Output = Room>>>);

impl Asked {
    fn room(&mut self) -> Option<Room> {
        poll(self.0.as_mut())
    }
}

/// Takes room at a connection of its own.
fn take(pool: &Pool, from: u8, proven: bool, bytes: usize) -> Room {
    join(pool, from, proven).take(bytes)
}

fn is_waited_for(pool: &Pool, from: u8) -> bool {
    pool.lock().is_waited_for(address(from))
}

#[test]
fn an_address_takes_its_share_and_no_more() {
    let pool = shared(1000);
    let one = join(&pool, 1, true);
    let held = [one.take(200), one.take(50)];
    let mut more = join(&pool, 1, true).wait(1);
    assert!(more.room().is_none(), "it has used up its share");
    assert!(is_waited_for(&pool, 1) && !is_waited_for(&pool, 2));
    drop(take(&pool, 2, true, 250));
    drop(held);
    assert_eq!(more.room().unwrap().bytes(), 1);
    assert_eq!(pool.used(), 0);
    assert_eq!(take(&pool, 3, true, 5000).bytes(), 250, "what is too large takes all of a share");
}

#[test]
fn those_who_are_not_known_leave_room() {
    let pool = shared(1000);
    let held: Vec<Room> = (0..5).map(|from| take(&pool, from, false, 50)).collect();
    let mut more = join(&pool, 9, false).wait(1);
    assert!(more.room().is_none());
    drop((take(&pool, 9, true, 1), take(&pool, 8, true, 250)));
    drop(held);
    assert!(more.room().is_some());
}

#[test]
fn a_connection_that_is_proven_counts_as_one_at_once() {
    let pool = shared(1000);
    let mut peers: Vec<Peer> = (0..5).map(|from| join(&pool, from, false)).collect();
    let mut held: Vec<Room> = peers.iter().map(|peer| peer.take(50)).collect();
    let mut more = join(&pool, 9, false).wait(50);
    peers[0].proven = true;
    held.push(peers[0].take(1));
    drop(take(&pool, 8, true, 1));
    assert!(more.room().is_some(), "50 of those who are not known came free");
}

#[test]
fn addresses_take_turns_and_none_overtakes_one_that_waits_for_all() {
    let pool = shared(1000);
    let mut held: Vec<Room> = (0..4).map(|from| take(&pool, from, true, 250)).collect();
    let ten = join(&pool, 10, true);
    let (mut first, mut again) = (ten.wait(200), ten.wait(40));
    let mut other = join(&pool, 11, true).wait(10);
    assert!(first.room().is_none() && again.room().is_none() && other.room().is_none());
    assert!(is_waited_for(&pool, 0), "all wait for all");
    held[0].shrink(100);
    assert!(first.room().is_none() && other.room().is_none(), "150 are not enough for the first");
    held[1].shrink(200);
    let first = first.room().unwrap();
    assert!(again.room().is_none(), "it is the other's turn");
    held.pop();
    let rest = (other.room().unwrap(), again.room().unwrap());
    assert_eq!(pool.used(), 100 + 200 + 250 + first.bytes() + rest.0.bytes() + rest.1.bytes());
}

#[test]
fn who_gave_up_keeps_nothing() {
    let pool = shared(400);
    let held = take(&pool, 1, true, 100);
    {
        let peer = join(&pool, 1, true);
        let mut waits = peer.wait(100);
        assert!(waits.room().is_none());
        let mut late = peer.wait(100);
        assert!(late.room().is_none());
        // Granted, and dropped before it was looked at.
        drop(held);
        assert_eq!(pool.used(), 100);
    }
    assert_eq!(pool.used(), 0);
    assert!(pool.lock().accounts.is_empty() && pool.lock().turn.is_empty());
}

#[test]
fn one_that_gives_up_does_not_hold_up_those_behind_it() {
    let pool = shared(400);
    let held = take(&pool, 1, true, 60);
    let large = join(&pool, 1, true).wait(100);
    let mut small = join(&pool, 1, true).wait(10);
    assert!(small.room().is_none(), "the large one is before it");
    drop(large);
    assert!(small.room().is_some());
    drop(held);
}

#[test]
fn small_records_of_nodes_wait_for_nothing() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(0));
    let limits = Limits { in_flight_bytes_max: 10_000, traffic: Traffic::Nodes, ..Limits::default() };
    let budget = Budget::of(&limits, true);
    let places = |from| budget.join(address(from), &Arc::default());
    let (one, two) = (places(1), places(2));
    let held = poll(pin!(one.record(true, 10_000, &clock))).unwrap();
    assert!(poll(pin!(two.record(true, EXEMPT_BYTES_MAX, &clock))).is_some());
    assert!(poll(pin!(two.record(false, 100, &clock))).is_none());
    assert!(poll(pin!(two.record(true, EXEMPT_BYTES_MAX + 1, &clock))).is_none());
    drop(held);
    assert_eq!(budget.received.used(), 0);
}

/// Shares of 800: 400 beyond windows, 600 with what is the first; windows of 0 to 200.
const WINDOWS: usize = 3200;

#[test]
fn a_connection_alone_on_its_address_has_the_share() {
    let pool = shared(WINDOWS);
    let one = join(&pool, 1, true);
    let held: Vec<Room> = (0..8).map(|_| one.take(100)).collect();
    let mut more = one.wait(1);
    assert!(more.room().is_none());
    drop(held);
    assert!(more.room().is_some());
}

#[test]
fn connections_that_take_what_they_asked_for_have_the_share_together() {
    let pool = shared(WINDOWS);
    let peers = [join(&pool, 1, true), join(&pool, 1, true)];
    for peer in &peers {
        (0..20).for_each(|_| peer.take(100).complete());
    }
    let held: Vec<Room> = (0..8).map(|at| peers[at % 2].take(100)).collect();
    assert_eq!(pool.used(), 800);
    drop(held);
}

#[test]
fn what_is_beyond_windows_leaves_half_of_the_share_and_turns_go_round_connections() {
    let pool = shared(WINDOWS);
    let (greedy, other) = (join(&pool, 1, true), join(&pool, 1, true));
    let kept = other.take(25);
    let mut held: Vec<Room> = (0..3).map(|_| greedy.take(100)).collect();
    held.push(greedy.take(75));
    let mut waits: Vec<Asked> = (0..64).map(|_| greedy.wait(100)).collect();
    assert!(waits.iter_mut().all(|wait| wait.room().is_none()));
    // Others do not stand behind it.
    let third = join(&pool, 1, true);
    let fourth = third.take(100);
    drop(kept);
    drop(other.take(90));
    // Nor behind 64 calls when they need what it needs.
    let mut single = third.wait(50);
    held.remove(0);
    let granted = waits[0].room();
    assert!(granted.is_none(), "475 are taken beyond windows");
    held.remove(0);
    let granted = waits[0].room();
    assert!(granted.is_some() && single.room().is_none(), "it came first");
    held.remove(0);
    let single = single.room();
    assert!(single.is_some(), "then it is the turn of the other connection");
    assert!(waits[1].room().is_none());
    drop((held, fourth, granted));
    assert!(waits[1].room().is_some());
}

#[test]
fn what_is_not_taken_earns_no_window() {
    let pool = shared(WINDOWS);
    let peers: Vec<Peer> = (0..2).map(|_| join(&pool, 1, true)).collect();
    for _ in 0..20 {
        drop(peers[0].take(100));
        peers[1].take(100).complete();
    }
    let _full: Vec<Room> = {
        let hog = join(&pool, 1, true);
        (0..4).map(|_| hog.take(100)).collect()
    };
    let _first = peers[0].take(100);
    assert!(peers[0].ask(100).is_err(), "one answer at a time");
    let _newcomer = take(&pool, 1, true, 100);
    assert!(join(&pool, 1, true).ask(100).is_err(), "nor may newcomers have all");
    let _earned = [peers[1].take(100), peers[1].take(100)];
}

#[test]
fn one_that_stands_still_loses_its_window_and_is_cut_when_others_need_it() {
    let pool = shared(WINDOWS);
    let peers: Vec<Peer> = (0..5).map(|_| join(&pool, 1, true)).collect();
    for peer in &peers {
        (0..20).for_each(|_| peer.take(100).complete());
    }
    let mut held: Vec<Room> = (0..8).map(|at| peers[at % 4].take(100)).collect();
    for (at, peer) in peers.iter().enumerate().take(4) {
        // The third goes on taking bytes.
        peer.activity.writes(if at == 2 { 1_400 } else { 1_000 + at as u64 });
    }
    assert!(!pool.review(address(1), 1_400), "no call waits");
    let mut waits = peers[4].wait(100);
    assert!(pool.review(address(1), 999 + STANDING_STALL_MS_MAX));
    assert!(!peers.iter().any(Peer::is_cut));
    // They hold 600 beyond their windows, which are gone: 400 are the bound, so one goes, which
    // stands still longest.
    assert!(pool.review(address(1), 1_003 + CUT_STALL_MS_MIN));
    assert!(pool.review(address(1), 1_004 + CUT_STALL_MS_MIN), "it is on its way: no other one goes for it");
    let cut: Vec<bool> = peers.iter().map(Peer::is_cut).collect();
    assert_eq!(cut, [true, false, false, false, false]);
    assert!(waits.room().is_none());
    held.swap_remove(0);
    assert!(waits.room().is_some());
}

#[test]
fn if_all_stand_still_none_is_cut() {
    let pool = shared(WINDOWS);
    let peers: Vec<Peer> = (0..4).map(|_| join(&pool, 1, true)).collect();
    for peer in &peers {
        (0..20).for_each(|_| peer.take(100).complete());
    }
    let _held: Vec<Room> = (0..8).map(|at| peers[at % 4].take(100)).collect();
    peers.iter().for_each(|peer| peer.activity.writes(1_000));
    let _waits = peers[0].wait(100);
    assert!(pool.review(address(1), 9_000));
    assert!(!peers.iter().any(Peer::is_cut), "who waits takes nothing either");
}

#[test]
fn a_message_byte_by_byte_keeps_no_window() {
    let activity = Activity::default();
    let last_ms = 10 + MESSAGE_STALL_PART * STANDING_STALL_MS_MAX;
    (10..=last_ms).for_each(|now_ms| activity.writes(now_ms));
    assert_eq!(activity.stall_ms(Direction::Sent, last_ms), STANDING_STALL_MS_MAX);
    activity.message_written();
    assert_eq!(activity.stall_ms(Direction::Sent, last_ms + 7), 7);
    activity.writes_not();
    assert_eq!(activity.stall_ms(Direction::Sent, last_ms + 7), 0);
    activity.reads(false, last_ms);
    assert_eq!(activity.stall_ms(Direction::Received, last_ms + 7), 7);
    activity.reads(true, last_ms);
    assert_eq!(activity.stall_ms(Direction::Received, last_ms + 7), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens, the bounds hold, no waiter is forgotten, and in the end nothing is taken.
    #[test]
    fn bounds_hold_and_everybody_gets_a_turn(
        acts in prop::collection::vec((0..12_u8, any::<bool>(), 0..400_usize, 0..7_u8), 1..80)
    ) {
        let pool = shared(1000);
        let mut peers: Vec<Peer> = (0..12).map(|number| join(&pool, number / 2, false)).collect();
        let mut held: Vec<(u8, Room)> = Vec::new();
        let mut waits: Vec<(u8, Asked)> = Vec::new();
        let collect = |held: &mut Vec<(u8, Room)>, waits: &mut Vec<(u8, Asked)>| {
            waits.retain_mut(|(number, asked)| match asked.room() {
                Some(room) => {
                    held.push((*number, room));
                    false
                }
                None => true,
            });
        };
        for (now_ms, (number, proven, bytes, act)) in (1_000_u64..).step_by(90).zip(acts) {
            let peer = &mut peers[usize::from(number)];
            match act {
                0 | 1 => {
                    peer.proven |= proven;
                    match peer.ask(bytes) {
                        Ok(room) => held.push((number, room)),
                        Err(waiting) => waits.push((number, Asked(Box::pin(waiting.room())))),
                    }
                }
                2 if !held.is_empty() => held.swap_remove(bytes % held.len()).1.complete(),
                3 if !held.is_empty() => drop(held.swap_remove(bytes % held.len())),
                4 if !waits.is_empty() => drop(waits.swap_remove(bytes % waits.len())),
                5 => peer.activity.writes(now_ms),
                6 => drop(pool.review(address(number / 2), now_ms)),
                _ => {}
            }
            collect(&mut held, &mut waits);
            prop_assert_eq!(pool.used(), held.iter().map(|(_, room)| room.bytes()).sum::<usize>());
            prop_assert!(pool.used() <= 1000);
            let sum = |is: &dyn Fn(u8) -> bool| {
                held.iter().filter(|(number, _)| is(*number)).map(|(_, room)| room.bytes()).sum::<usize>()
            };
            prop_assert!(sum(&|number| !peers[usize::from(number)].proven) <= 250);
            for from in 0..6 {
                prop_assert!(sum(&|number| number / 2 == from) <= 250);
            }
            pool.lock().assert_sums();
        }
        while !waits.is_empty() {
            let before = waits.len();
            held.clear();
            collect(&mut held, &mut waits);
            prop_assert!(waits.len() < before, "there was room, and a call waits on");
        }
        held.clear();
        prop_assert_eq!(pool.used(), 0);
        pool.lock().assert_sums();
        peers.clear();
        prop_assert!(pool.lock().accounts.is_empty() && pool.lock().turn.is_empty());
    }
}
