//! What one pool has given to each address, and which waiter gets room next.
//!
//! Decides only; `budget.rs` wakes the waiters. A waiter waits for one of three: the share of its address, the part of all
//! unproven connections, or the whole pool. The first holds up only its own address. The second holds up the unproven waiters
//! behind it, and the third all waiters, so that no large request waits for ever behind small ones.
//!
//! INVARIANT: an account is there as long as its peer holds room or waits; a peer that waits has one turn.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use tokio::sync::oneshot;

use super::Room;
use crate::limits::ADDRESS_SHARE;

/// An address, and whether its connection is proven: the unproven ones of an address do not hold up the others.
pub(super) type Peer = (IpAddr, bool);

/// A waiter that gets room: of which peer, how many bytes, and the way to it.
pub(super) type Next = (Peer, usize, oneshot::Sender<Room>);

#[derive(Debug)]
pub(super) struct State {
    bytes_max: usize,
    address_bytes_max: usize,
    unproven_bytes_max: usize,
    pub(super) used: usize,
    pub(super) unproven_used: usize,
    pub(super) accounts: BTreeMap<Peer, Account>,
    /// Addresses that wait, in their order: unproven connections, and proven ones.
    pub(super) turns: [BTreeMap<u64, IpAddr>; 2],
    /// Numbers turns and waiters.
    ticket_next: u64,
    /// The waiter that got room last was proven: then an unproven one is next.
    proven_was_last: bool,
    /// The next in turn waits for the whole pool.
    pub(super) is_short: bool,
    /// The next unproven one in turn waits for the part of all unproven ones.
    pub(super) is_unproven_short: bool,
}

#[derive(Debug, Default)]
pub(super) struct Account {
    used: usize,
    /// By ascending tickets. At most one for each call under way, and one for each connection.
    waiting: VecDeque<Waiting>,
    /// Its number in `turns` while it waits.
    turn: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    bytes: usize,
    /// Gets the room once it is taken.
    granted: oneshot::Sender<Room>,
}

/// Why something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// All together have taken too much.
    Pool,
    /// All unproven ones together have.
    Unproven,
    /// Its address has.
    Share,
}

impl State {
    pub(super) fn new(bytes_max: usize, address_bytes_max: usize, unproven_bytes_max: usize) -> Self {
        Self {
            bytes_max,
            address_bytes_max,
            unproven_bytes_max,
            used: 0,
            unproven_used: 0,
            accounts: BTreeMap::new(),
            turns: [BTreeMap::new(), BTreeMap::new()],
            ticket_next: 0,
            proven_was_last: false,
            is_short: false,
            is_unproven_short: false,
        }
    }

    /// The unproven bytes that one address may have.
    fn unproven_share_bytes(&self) -> usize {
        self.address_bytes_max.min(self.unproven_bytes_max / ADDRESS_SHARE).max(1)
    }

    /// What a request counts: at most all that its address may have, and never nothing.
    pub(super) fn cost(&self, proven: bool, bytes: usize) -> usize {
        let most = if proven { self.address_bytes_max } else { self.unproven_share_bytes() };
        bytes.clamp(1, most.max(1))
    }

    /// Takes room if there is some and no waiter precedes; notes what is short if not.
    pub(super) fn enters(&mut self, peer: Peer, bytes: usize) -> bool {
        let is_behind_own = self.accounts.get(&peer).is_some_and(|account| !account.waiting.is_empty());
        let (_, proven) = peer;
        if self.is_short || (self.is_unproven_short && !proven) || is_behind_own {
            return false;
        }
        let lacks = self.lacks(peer, bytes);
        match lacks {
            None => self.enter(peer, bytes),
            Some(Lacks::Pool) => self.is_short = true,
            Some(Lacks::Unproven) => self.is_unproven_short = true,
            Some(Lacks::Share) => {}
        }
        lacks.is_none()
    }

    /// Whether others wait for what a connection of this address has.
    pub(super) fn is_waited_for(&self, from: IpAddr) -> bool {
        let of = |proven| self.accounts.get(&(from, proven));
        let waits = |proven| of(proven).is_some_and(|account| !account.waiting.is_empty());
        let holds_unproven = of(false).is_some_and(|account| account.used != 0);
        self.is_short || (self.is_unproven_short && holds_unproven) || waits(true) || waits(false)
    }

    fn lacks(&self, (from, proven): Peer, bytes: usize) -> Option<Lacks> {
        let used = |proven| self.accounts.get(&(from, proven)).map_or(0, |account| account.used);
        let exceeds = |used: usize, max: usize| max < used.saturating_add(bytes);
        if exceeds(used(true) + used(false), self.address_bytes_max)
            || (!proven && exceeds(used(false), self.unproven_share_bytes()))
        {
            return Some(Lacks::Share);
        }
        if !proven && exceeds(self.unproven_used, self.unproven_bytes_max) {
            return Some(Lacks::Unproven);
        }
        exceeds(self.used, self.bytes_max).then_some(Lacks::Pool)
    }

    pub(super) fn enter(&mut self, peer: Peer, bytes: usize) {
        self.used += bytes;
        self.unproven_used += if peer.1 { 0 } else { bytes };
        self.accounts.entry(peer).or_default().used += bytes;
    }

    pub(super) fn leave(&mut self, peer: Peer, bytes: usize) {
        self.used -= bytes;
        self.unproven_used -= if peer.1 { 0 } else { bytes };
        let account = self.accounts.get_mut(&peer).expect("a peer that holds room has an account");
        account.used -= bytes;
        self.forget_if_done(peer);
    }

    /// What an unproven connection took counts as that of a proven one.
    pub(super) fn prove(&mut self, from: IpAddr, bytes: usize) {
        self.leave((from, false), bytes);
        self.enter((from, true), bytes);
    }

    /// Queues a waiter; its ticket.
    pub(super) fn wait(&mut self, peer: Peer, bytes: usize, granted: oneshot::Sender<Room>) -> u64 {
        let ticket = self.ticket();
        let account = self.accounts.entry(peer).or_default();
        account.waiting.push_back(Waiting { ticket, bytes, granted });
        if account.waiting.len() == 1 {
            self.queue(peer);
        }
        ticket
    }

    /// A waiter is gone. One that was granted room meanwhile is not in the queue.
    pub(super) fn give_up(&mut self, peer: Peer, ticket: u64) {
        let Some(account) = self.accounts.get_mut(&peer) else { return };
        let Ok(place) = account.waiting.binary_search_by_key(&ticket, |one| one.ticket) else { return };
        account.waiting.remove(place);
        if account.waiting.is_empty() {
            let turn = account.turn;
            self.turns[usize::from(peer.1)].remove(&turn);
            self.forget_if_done(peer);
        }
    }

    /// Takes room for all waiters that have some. Until the next change no newcomer overtakes those that are left.
    pub(super) fn grant(&mut self) -> Vec<Next> {
        let mut granted = Vec::new();
        while let Some(next) = self.next() {
            self.enter(next.0, next.1);
            granted.push(next);
        }
        granted
    }

    /// Takes out the next waiter that has room: a proven one and an unproven one alternately, if both have.
    pub(super) fn next(&mut self) -> Option<Next> {
        (self.is_short, self.is_unproven_short) = (false, false);
        for proven in [!self.proven_was_last, self.proven_was_last] {
            let Some((turn, peer, lacks)) = self.first_in_turn(proven) else { continue };
            match lacks {
                None => return Some(self.take_out(turn, peer)),
                Some(Lacks::Pool) => {
                    self.is_short = true;
                    return None;
                }
                Some(Lacks::Unproven) => self.is_unproven_short = true,
                Some(Lacks::Share) => unreachable!("an address without room of its own is passed over"),
            }
        }
        None
    }

    /// The first whose address has room, and what it lacks beside.
    fn first_in_turn(&self, proven: bool) -> Option<(u64, Peer, Option<Lacks>)> {
        self.turns[usize::from(proven)].iter().find_map(|(turn, from)| {
            let peer = (*from, proven);
            let first = self.accounts[&peer].waiting.front().expect("a peer in turn waits");
            let lacks = self.lacks(peer, first.bytes);
            (lacks != Some(Lacks::Share)).then_some((*turn, peer, lacks))
        })
    }

    fn take_out(&mut self, turn: u64, peer: Peer) -> Next {
        self.turns[usize::from(peer.1)].remove(&turn);
        let account = self.accounts.get_mut(&peer).expect("a peer in turn has an account");
        let Waiting { bytes, granted, .. } = account.waiting.pop_front().expect("a peer in turn waits");
        if !account.waiting.is_empty() {
            self.queue(peer);
        }
        self.proven_was_last = peer.1;
        (peer, bytes, granted)
    }

    /// Gives a peer the last turn.
    fn queue(&mut self, peer: Peer) {
        let turn = self.ticket();
        self.accounts.get_mut(&peer).expect("a peer that waits has an account").turn = turn;
        self.turns[usize::from(peer.1)].insert(turn, peer.0);
    }

    fn ticket(&mut self) -> u64 {
        self.ticket_next += 1;
        self.ticket_next
    }

    fn forget_if_done(&mut self, peer: Peer) {
        if self.accounts.get(&peer).is_some_and(|account| account.used == 0 && account.waiting.is_empty()) {
            self.accounts.remove(&peer);
        }
    }
}
