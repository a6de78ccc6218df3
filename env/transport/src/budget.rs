//! Bytes in flight: of records from the moment that they are announced until their calls are
//! answered, and of answers from before they are made until the socket has taken them.
//!
//! A pool counts the bytes of one direction. An address has a share of it, and those who have not
//! shown that they are of use have one together, so none of them keeps the others out. Those who
//! wait get their turn address by address, and at an address connection by connection; a part of an
//! address's share is for connections that take what they asked for (`accounts.rs`).
//!
//! INVARIANT: what is taken is given back when its [`Room`] is dropped, also if the task that
//! waited for it is gone.
//! INVARIANT: a task that holds room for a record may wait for room for an answer, and never the
//! other way round: what an answer waits for is its peer, which is cut if it takes nothing.

mod accounts;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use env::Clock;
use tokio::sync::oneshot;

use self::accounts::State;
use crate::Limits;
use crate::activity::{Activity, Direction};
use crate::limits::{
    ADDRESS_SHARE, DATA_BYTES_MAX, EXEMPT_BYTES_MAX, METADATA_BYTES_MAX, REVIEW_PERIOD_MS, Traffic,
    UNPROVEN_SHARE,
};

/// The two pools that a server's connections take from.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Records and their calls.
    received: Pool,
    /// Answers.
    sent: Pool,
    /// Small records of those who are known take nothing: what keeps the cluster alive waits for no
    /// data.
    exempt_bytes: usize,
}

/// One direction. Clones are the same pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    state: Arc<Mutex<State>>,
}

/// A connection's places in both pools.
#[derive(Debug)]
pub(crate) struct Places {
    received: Arc<Place>,
    sent: Arc<Place>,
    exempt_bytes: usize,
}

/// A connection's place in a pool, kept by all its room and by those who wait for some.
#[derive(Debug)]
pub(crate) struct Place {
    pool: Pool,
    from: IpAddr,
    id: usize,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Room {
    place: Option<Arc<Place>>,
    bytes: usize,
}

/// A call that waits for room. Dropping it gives up.
#[derive(Debug)]
pub(crate) struct Waiting {
    place: Arc<Place>,
    bytes: usize,
    granted: oneshot::Receiver<()>,
    is_over: bool,
}

impl Budget {
    /// The budget of a server: that of the process for what clients send, where all servers use the
    /// machine's network.
    pub(crate) fn of(limits: &Limits, is_machine: bool) -> Self {
        static METADATA: OnceLock<Budget> = OnceLock::new();
        static DATA: OnceLock<Budget> = OnceLock::new();
        let shared = |received, sent| Self {
            received: Pool::shared(Direction::Received, received),
            sent: Pool::shared(Direction::Sent, sent),
            exempt_bytes: 0,
        };
        match limits.traffic {
            Traffic::Metadata if is_machine => {
                METADATA.get_or_init(|| shared(METADATA_BYTES_MAX, METADATA_BYTES_MAX)).clone()
            }
            Traffic::Data if is_machine => {
                DATA.get_or_init(|| shared(DATA_BYTES_MAX, DATA_BYTES_MAX)).clone()
            }
            Traffic::Metadata | Traffic::Data => shared(limits.in_flight_bytes_max, limits.answer_bytes_max),
            Traffic::Nodes => Self {
                received: Pool::unshared(Direction::Received, limits.in_flight_bytes_max),
                sent: Pool::unshared(Direction::Sent, usize::MAX),
                exempt_bytes: EXEMPT_BYTES_MAX,
            },
        }
    }

    /// Places for a connection from this address.
    pub(crate) fn join(&self, from: IpAddr, activity: &Arc<Activity>) -> Places {
        Places {
            received: self.received.join(from, Arc::clone(activity)),
            sent: self.sent.join(from, Arc::clone(activity)),
            exempt_bytes: self.exempt_bytes,
        }
    }
}

impl Places {
    /// Room for a record, once there is.
    pub(crate) async fn record(&self, proven: bool, bytes: usize, clock: &Arc<dyn Clock>) -> Room {
        if proven && bytes <= self.exempt_bytes {
            return Room { place: None, bytes };
        }
        self.received.take(proven, bytes, clock).await
    }

    /// Room for an answer, once there is.
    pub(crate) async fn answer(&self, proven: bool, bytes: usize, clock: &Arc<dyn Clock>) -> Room {
        self.sent.take(proven, bytes, clock).await
    }

    /// Whether others wait for what this connection has not sent, or not taken.
    pub(crate) fn is_waited_for(&self, direction: Direction) -> bool {
        let place = match direction {
            Direction::Received => &self.received,
            Direction::Sent => &self.sent,
        };
        place.pool.lock().is_waited_for(place.from)
    }
}

impl Pool {
    /// A pool that many addresses share.
    pub(crate) fn shared(direction: Direction, bytes_max: usize) -> Self {
        let (address, unproven) = (bytes_max / ADDRESS_SHARE, bytes_max / UNPROVEN_SHARE);
        Self::new(State::new(direction, bytes_max, address, unproven, true))
    }

    /// A pool that one address may use up, if it is known.
    pub(crate) fn unshared(direction: Direction, bytes_max: usize) -> Self {
        Self::new(State::new(direction, bytes_max, bytes_max, bytes_max / UNPROVEN_SHARE, false))
    }

    fn new(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A place for a connection from this address.
    pub(crate) fn join(&self, from: IpAddr, activity: Arc<Activity>) -> Arc<Place> {
        let id = self.lock().join(from, activity);
        Arc::new(Place { pool: self.clone(), from, id })
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.lock().used
    }

    /// Gives back bytes of a connection, and room to those whose turn it is.
    fn leave(&self, id: usize, bytes: usize, taken: bool) {
        let mut state = self.lock();
        state.leave(id, bytes, taken);
        while state.give_one() {}
    }

    /// Reviews connections of an address that stall while calls of it wait; whether some still do.
    fn review(&self, from: IpAddr, now_ms: u64) -> bool {
        let mut state = self.lock();
        let review = state.review(from, now_ms);
        while state.give_one() {}
        review.cut.iter().for_each(|activity| activity.press());
        review.waits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the counts whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes room, once there is. What is larger than a share waits until it has all of that.
    /// Dropping the future gives up.
    pub(crate) async fn take(self: &Arc<Self>, proven: bool, bytes: usize, clock: &Arc<dyn Clock>) -> Room {
        match self.try_take(proven, bytes) {
            Ok(room) => room,
            Err(waiting) => {
                self.watch(clock);
                waiting.room().await
            }
        }
    }

    /// Takes room, or waits in turn.
    pub(crate) fn try_take(self: &Arc<Self>, proven: bool, bytes: usize) -> Result<Room, Waiting> {
        let mut state = self.pool.lock();
        if proven {
            state.prove(self.id);
        }
        let bytes = state.cost(self.id, bytes);
        if state.try_enter(self.id, bytes) {
            return Ok(Room { place: Some(Arc::clone(self)), bytes });
        }
        let granted = state.wait(self.id, bytes);
        Err(Waiting { place: Arc::clone(self), bytes, granted, is_over: false })
    }

    /// Reviews the connections of this address: now, and as long as a call of it waits.
    fn watch(&self, clock: &Arc<dyn Clock>) {
        let begins = {
            let mut state = self.pool.lock();
            let (begins, review) = state.begin_watch(self.from, clock.monotonic_ms());
            while state.give_one() {}
            review.cut.iter().for_each(|activity| activity.press());
            begins
        };
        if begins {
            let (pool, from, clock) = (self.pool.clone(), self.from, Arc::clone(clock));
            tokio::spawn(async move {
                loop {
                    clock.sleep_ms(REVIEW_PERIOD_MS).await;
                    if !pool.review(from, clock.monotonic_ms()) {
                        return;
                    }
                }
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.lock().part(self.id);
    }
}

impl Waiting {
    /// The room, once there is.
    pub(crate) async fn room(mut self) -> Room {
        (&mut self.granted).await.expect("a call is forgotten only when it gives up");
        self.is_over = true;
        Room { place: Some(Arc::clone(&self.place)), bytes: self.bytes }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.place.pool.lock();
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            state.leave(self.place.id, self.bytes, false);
        } else {
            state.forget(self.place.id);
        }
        while state.give_one() {}
    }
}

impl Room {
    /// Gives back what is beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes.max(1));
        self.bytes -= less;
        let Some(place) = &self.place else { return };
        if less != 0 {
            place.pool.leave(place.id, less, false);
        }
    }

    /// Both as one, which must be of one connection.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        if self.place.is_none() {
            return other;
        }
        if other.place.take().is_some() {
            self.bytes += other.bytes;
        }
        self
    }

    /// Gives it back, and notes that the peer took, or sent, all that it was for.
    pub(crate) fn complete(mut self) {
        if let Some(place) = self.place.take() {
            place.pool.leave(place.id, self.bytes, true);
        }
    }

    /// Bytes that it is for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.pool.leave(place.id, self.bytes, false);
        }
    }
}

#[cfg(test)]
mod tests;
