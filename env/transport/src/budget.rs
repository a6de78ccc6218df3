//! Bytes in flight: of records from the moment that they are announced until their calls are answered, and of answers from
//! before they are made until the socket has taken them.
//!
//! A pool counts the bytes of one direction. An address has a share of it. Connections that have not shown that they are of use
//! (unproven) have a part of the pool together, and each address has a share of that part. So no address keeps the others out.
//! Waiters get their turn address by address, and proven and unproven ones alternately.
//!
//! INVARIANT: what is taken is given back when its [`Room`] is dropped, also if its waiter is gone.
//! INVARIANT: no waiter waits that has room and that no other waiter precedes: whatever frees room, or removes a waiter, gives.
//! INVARIANT: a call that holds room for its record may wait for room for its answer, and never the other way round: an
//! answer waits for its peer, which is cut if it takes nothing.

mod state;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;

use crate::Limits;
use crate::limits::{
    ADDRESS_SHARE, DATA_BYTES_MAX, EXEMPT_BYTES_MAX, METADATA_BYTES_MAX, Traffic, UNPROVEN_SHARE,
};
use state::{Peer, State};

/// The two pools that a server's connections take from.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Records and their calls.
    pub(crate) received: Pool,
    /// Answers.
    pub(crate) sent: Pool,
    /// Small records of proven connections take nothing: what keeps the cluster alive waits for no data.
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

/// The place of a task in the queue of its peer; it leaves the queue when this is dropped.
struct Place {
    pool: Pool,
    peer: Peer,
    ticket: u64,
    is_granted: bool,
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

    /// A pool that one address may use up, if its connections are proven.
    pub(crate) fn unshared(bytes_max: usize) -> Self {
        Self::new(bytes_max, bytes_max, bytes_max / UNPROVEN_SHARE)
    }

    fn new(bytes_max: usize, address_bytes_max: usize, unproven_bytes_max: usize) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(bytes_max, address_bytes_max, unproven_bytes_max))) }
    }

    /// Takes room, once there is. What is larger than a share waits until it has all of that. Dropping the future gives up.
    pub(crate) async fn take(&self, from: IpAddr, proven: bool, bytes: usize) -> Room {
        let peer = (from, proven);
        let (mut place, granted) = {
            let mut state = self.lock();
            let bytes = state.cost(proven, bytes);
            if state.enters(peer, bytes) {
                return Room { pool: Some(self.clone()), from, proven, bytes };
            }
            let (sender, granted) = oneshot::channel();
            let ticket = state.wait(peer, bytes, sender);
            (Place { pool: self.clone(), peer, ticket, is_granted: false }, granted)
        };
        let room = granted.await.expect("a waiter is taken out only to be granted, or by its own place");
        place.is_granted = true;
        room
    }

    /// Whether others wait for what a connection of this address has.
    pub(crate) fn is_waited_for(&self, from: IpAddr) -> bool {
        self.lock().is_waited_for(from)
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// Changes what is taken, or what waits, and gives room to the waiters whose turn it is.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut granted = {
            let mut state = self.lock();
            change(&mut state);
            state.grant()
        };
        while !granted.is_empty() {
            let mut unwanted = Vec::new();
            for (peer, bytes, granted) in granted {
                let (from, proven) = peer;
                let room = Room { pool: Some(self.clone()), from, proven, bytes };
                if let Err(room) = granted.send(room) {
                    // Not by dropping it: that would come back here, for each waiter that is gone.
                    drop(room.into_nothing());
                    unwanted.push((peer, bytes));
                }
            }
            if unwanted.is_empty() {
                return;
            }
            let mut state = self.lock();
            unwanted.into_iter().for_each(|(peer, bytes)| state.leave(peer, bytes));
            granted = state.grant();
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
        let Some(pool) = self.pool.as_ref().filter(|_| less != 0) else { return };
        pool.change(|state| state.leave((self.from, self.proven), less));
    }

    /// Both as one, which must be of one connection. It counts as proven if one of them was taken when the connection was.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let Some(pool) = self.pool.clone() else { return other };
        if other.pool.is_none() {
            return self;
        }
        if self.proven != other.proven {
            let unproven = if self.proven { other.bytes } else { self.bytes };
            pool.change(|state| state.prove(self.from, unproven));
            self.proven = true;
        }
        self.bytes += other.into_nothing().bytes;
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
            pool.change(|state| state.leave((self.from, self.proven), self.bytes));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What was granted and not looked at gives itself back.
        if !self.is_granted {
            self.pool.change(|state| state.give_up(self.peer, self.ticket));
        }
    }
}

#[cfg(test)]
mod tests;
