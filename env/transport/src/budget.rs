//! Bytes in flight: of records from the moment that they are announced until their calls are answered, and of answers from
//! before they are made until the socket has taken them.
//!
//! A pool counts the bytes of one direction. An address has a share of it, and those who have not shown that they are of
//! use have one together, so none of them keeps the others out. Those who wait get their turn address by address.
//!
//! INVARIANT: what is taken is given back when its [`Room`] is dropped, also if whoever waited for it is gone.
//! INVARIANT: who holds room for a record may wait for room for an answer, and never the other way round: what an
//! answer waits for is its peer, which is cut if it takes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;

use crate::Limits;
use crate::limits::{
    ADDRESS_SHARE, DATA_BYTES_MAX, EXEMPT_BYTES_MAX, METADATA_BYTES_MAX, Traffic, UNPROVEN_SHARE,
};

/// The two pools that a server's connections take from.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Records and their calls.
    pub(crate) received: Pool,
    /// Answers.
    pub(crate) sent: Pool,
    /// Small records of those who are known take nothing: what keeps the cluster alive waits for no data.
    exempt_bytes: usize,
}

/// One direction. Clones are the same pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    state: Arc<Mutex<State>>,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Room {
    pool: Option<Pool>,
    from: IpAddr,
    proven: bool,
    bytes: usize,
}

#[derive(Debug)]
struct State {
    bytes_max: usize,
    address_bytes_max: usize,
    unproven_bytes_max: usize,
    used: usize,
    unproven_used: usize,
    accounts: BTreeMap<Peer, Account>,
    /// Those who wait, each once.
    turn: VecDeque<Peer>,
    /// The next in turn waits for what all others have, not for its own share.
    is_short: bool,
}

/// An address, and whether it is known: those of an address who are not do not hold up the others.
type Peer = (IpAddr, bool);

#[derive(Debug, Default)]
struct Account {
    used: usize,
    /// At most one for each call under way, and one for each connection.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: usize,
    /// Gets the room once it is taken.
    granted: oneshot::Sender<Room>,
}

/// Why something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// All together have taken too much.
    Pool,
    /// Its address has, or those who are not known have.
    Share,
}

impl Budget {
    /// The budget of a server: that of the process for what clients send, where all servers use the machine's network.
    pub(crate) fn of(limits: &Limits, is_machine: bool) -> Self {
        static METADATA: OnceLock<Budget> = OnceLock::new();
        static DATA: OnceLock<Budget> = OnceLock::new();
        let of_process = |bytes_max: usize| Self {
            received: Pool::shared(bytes_max),
            sent: Pool::shared(bytes_max),
            exempt_bytes: 0,
        };
        match limits.traffic {
            Traffic::Metadata if is_machine => {
                METADATA.get_or_init(|| of_process(METADATA_BYTES_MAX)).clone()
            }
            Traffic::Data if is_machine => DATA.get_or_init(|| of_process(DATA_BYTES_MAX)).clone(),
            Traffic::Metadata | Traffic::Data => Self {
                received: Pool::shared(limits.in_flight_bytes_max),
                sent: Pool::shared(limits.answer_bytes_max),
                exempt_bytes: 0,
            },
            Traffic::Nodes => Self {
                received: Pool::unshared(limits.in_flight_bytes_max),
                sent: Pool::unshared(usize::MAX),
                exempt_bytes: EXEMPT_BYTES_MAX,
            },
        }
    }

    /// Room for a record, once there is.
    pub(crate) async fn record(&self, from: IpAddr, proven: bool, bytes: usize) -> Room {
        if proven && bytes <= self.exempt_bytes {
            return Room { pool: None, from, proven, bytes };
        }
        self.received.take(from, proven, bytes).await
    }
}

impl Pool {
    /// A pool that many addresses share.
    pub(crate) fn shared(bytes_max: usize) -> Self {
        Self::new(bytes_max, bytes_max / ADDRESS_SHARE, bytes_max / UNPROVEN_SHARE)
    }

    /// A pool that one address may use up, if it is known.
    pub(crate) fn unshared(bytes_max: usize) -> Self {
        Self::new(bytes_max, bytes_max, bytes_max / UNPROVEN_SHARE)
    }

    fn new(bytes_max: usize, address_bytes_max: usize, unproven_bytes_max: usize) -> Self {
        let state = State {
            bytes_max,
            address_bytes_max,
            unproven_bytes_max,
            used: 0,
            unproven_used: 0,
            accounts: BTreeMap::new(),
            turn: VecDeque::new(),
            is_short: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Takes room, once there is. What is larger than a share waits until it has all of that. Dropping the future gives up.
    pub(crate) async fn take(&self, from: IpAddr, proven: bool, bytes: usize) -> Room {
        let (room, granted) = {
            let mut state = self.lock();
            let bytes = state.cost(proven, bytes);
            let room = Room { pool: Some(self.clone()), from, proven, bytes };
            if state.may_enter((from, proven)) {
                match state.lacks(from, proven, bytes) {
                    None => {
                        state.enter(from, proven, bytes);
                        return room;
                    }
                    Some(lacks) => state.is_short |= lacks == Lacks::Pool,
                }
            }
            let (sender, granted) = oneshot::channel();
            state.wait((from, proven), Waiting { bytes, granted: sender });
            // It has nothing yet.
            (room.into_nothing(), granted)
        };
        granted.await.unwrap_or(room)
    }

    /// Whether others wait for what a connection of this address has.
    pub(crate) fn is_waited_for(&self, from: IpAddr) -> bool {
        let state = self.lock();
        let waits =
            |proven| state.accounts.get(&(from, proven)).is_some_and(|account| !account.waiting.is_empty());
        state.is_short || waits(true) || waits(false)
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// Gives room to those whose turn it is.
    fn give(&self) {
        loop {
            let mut state = self.lock();
            let Some(((from, proven), next)) = state.next() else { return };
            let Waiting { bytes, granted } = next;
            state.enter(from, proven, bytes);
            drop(state);
            let room = Room { pool: Some(self.clone()), from, proven, bytes };
            if let Err(unwanted) = granted.send(room) {
                // Not by dropping it: that would come back here, for each that is gone.
                drop(unwanted.into_nothing());
                self.lock().leave(from, proven, bytes);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the counts whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Gives back what is beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes.max(1));
        self.bytes -= less;
        let Some(pool) = &self.pool else { return };
        if less != 0 {
            pool.lock().leave(self.from, self.proven, less);
            pool.give();
        }
    }

    /// Both as one, which must be of one connection.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if self.pool.is_none() {
            return other;
        }
        if let Some(pool) = other.pool.as_ref().filter(|_| self.proven != other.proven) {
            pool.lock().count_as(self.from, self.proven, other.bytes);
        }
        if other.pool.is_some() {
            self.bytes += other.into_nothing().bytes;
        }
        self
    }

    /// Bytes that it is for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, of which nothing is given back.
    fn into_nothing(mut self) -> Self {
        self.pool = None;
        self
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.lock().leave(self.from, self.proven, self.bytes);
            pool.give();
        }
    }
}

impl State {
    fn cost(&self, proven: bool, bytes: usize) -> usize {
        let most =
            if proven { self.address_bytes_max } else { self.address_bytes_max.min(self.unproven_bytes_max) };
        // Nobody is there for nothing: an account is there as long as one holds room.
        bytes.clamp(1, most.max(1))
    }

    /// Whether nobody is before this one.
    fn may_enter(&self, peer: Peer) -> bool {
        !self.is_short && self.accounts.get(&peer).is_none_or(|account| account.waiting.is_empty())
    }

    fn lacks(&self, from: IpAddr, proven: bool, bytes: usize) -> Option<Lacks> {
        let used = |proven| self.accounts.get(&(from, proven)).map_or(0, |account| account.used);
        let of_address = used(true) + used(false);
        if self.address_bytes_max < of_address.saturating_add(bytes)
            || (!proven && self.unproven_bytes_max < self.unproven_used.saturating_add(bytes))
        {
            return Some(Lacks::Share);
        }
        (self.bytes_max < self.used.saturating_add(bytes)).then_some(Lacks::Pool)
    }

    fn enter(&mut self, from: IpAddr, proven: bool, bytes: usize) {
        self.used += bytes;
        self.unproven_used += if proven { 0 } else { bytes };
        self.accounts.entry((from, proven)).or_default().used += bytes;
    }

    /// What was taken counts as that of a peer who is known, or is not.
    fn count_as(&mut self, from: IpAddr, proven: bool, bytes: usize) {
        self.leave(from, !proven, bytes);
        self.enter(from, proven, bytes);
    }

    fn leave(&mut self, from: IpAddr, proven: bool, bytes: usize) {
        self.used -= bytes;
        self.unproven_used -= if proven { 0 } else { bytes };
        let account = self.accounts.get_mut(&(from, proven)).expect("who holds room has an account");
        account.used -= bytes;
        if account.used == 0 && account.waiting.is_empty() {
            self.accounts.remove(&(from, proven));
        }
    }

    fn wait(&mut self, peer: Peer, waiting: Waiting) {
        let account = self.accounts.entry(peer).or_default();
        if account.waiting.is_empty() {
            self.turn.push_back(peer);
        }
        account.waiting.push_back(waiting);
    }

    /// Takes out the next that has room.
    fn next(&mut self) -> Option<(Peer, Waiting)> {
        self.is_short = false;
        for _ in 0..self.turn.len() {
            let peer = self.turn.pop_front().expect("there are so many");
            let account = self.accounts.get_mut(&peer).expect("who waits has an account");
            while account.waiting.front().is_some_and(|first| first.granted.is_closed()) {
                account.waiting.pop_front();
            }
            let Some(bytes) = account.waiting.front().map(|first| first.bytes) else {
                if account.used == 0 {
                    self.accounts.remove(&peer);
                }
                continue;
            };
            match self.lacks(peer.0, peer.1, bytes) {
                Some(Lacks::Share) => self.turn.push_back(peer),
                Some(Lacks::Pool) => {
                    self.turn.push_front(peer);
                    self.is_short = true;
                    return None;
                }
                None => {
                    let account = self.accounts.get_mut(&peer).expect("it was looked at a moment ago");
                    let first = account.waiting.pop_front().expect("it was looked at a moment ago");
                    if !account.waiting.is_empty() {
                        self.turn.push_back(peer);
                    }
                    return Some((peer, first));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
