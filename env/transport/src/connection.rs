//! The handle of one connection: who is there, closing it, and calling the other side.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use env::Clock;
use tokio::sync::{Semaphore, mpsc, watch};
use wire_rpc::{Credential, ReplyStatus};
use wire_xdr::{Reader, Writer};

use crate::activity::{Activity, Direction};
use crate::budget::{Budget, Places, Room};
use crate::limits::MESSAGE_COST_BYTES;
use crate::outbox::{Closed, Outbox, Outgoing, Slot};
use crate::pending::Pending;
use crate::{CallError, Limits};

/// One connection, seen from either side. Clones are cheap; none of them keeps the connection open.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    id: u64,
    local: SocketAddr,
    peer: SocketAddr,
    clock: Arc<dyn Clock>,
    outbox: Outbox,
    pending: Pending,
    calls: Semaphore,
    /// Its places.
    calls_max: u32,
    closed: watch::Sender<bool>,
    activity: Arc<Activity>,
    proven: AtomicBool,
    places: Places,
}

impl Connection {
    /// A connection between these two; the second value is what it wants sent.
    pub(crate) fn new(
        local: SocketAddr,
        peer: SocketAddr,
        clock: Arc<dyn Clock>,
        limits: &Limits,
        budget: &Budget,
    ) -> (Self, mpsc::UnboundedReceiver<Outgoing>) {
        // One row of numbers for the process: a service that serves several addresses can tell all
        // connections apart.
        static ID_NEXT: AtomicU64 = AtomicU64::new(1);
        let (outbox, outgoing) = Outbox::new(limits.write_queue_bytes_max);
        let calls_max = u32::try_from(limits.in_flight_per_connection_max).unwrap_or(u32::MAX).max(1);
        let activity = Arc::new(Activity::default());
        let shared = Shared {
            id: ID_NEXT.fetch_add(1, Ordering::Relaxed),
            local,
            peer,
            clock,
            outbox,
            pending: Pending::default(),
            calls: Semaphore::new(calls_max as usize),
            calls_max,
            closed: watch::Sender::new(false),
            places: budget.join(peer.ip(), &activity),
            activity,
            proven: AtomicBool::new(false),
        };
        (Self { shared: Arc::new(shared) }, outgoing)
    }

    /// Tells this connection from all others of the process.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Our end.
    pub fn local(&self) -> SocketAddr {
        self.shared.local
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.shared.peer
    }

    /// The peer has shown that it is one of those whom the service is for: it keeps its place
    /// longer than others.
    pub fn prove(&self) {
        self.shared.proven.store(true, Ordering::Release);
    }

    /// Whether it has.
    pub fn is_proven(&self) -> bool {
        self.shared.proven.load(Ordering::Acquire)
    }

    /// Whether it was neither closed nor found broken yet.
    pub fn is_open(&self) -> bool {
        !*self.shared.closed.borrow()
    }

    /// Closes it. Calls from our side end in [`CallError::Disconnected`]; what is queued is not
    /// sent.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
        self.shared.outbox.close();
        self.shared.calls.close();
        self.shared.pending.close();
    }

    /// Closes it when the calls from our side that are under way have ended; each has its time.
    pub(crate) async fn retire(self) {
        // In the order of their asking, so after all that are there. An error says that it is
        // closed already.
        drop(self.shared.calls.acquire_many(self.shared.calls_max).await);
        self.close();
    }

    /// Calls the other side and waits for its results, at most `timeout_ms` milliseconds. Many
    /// calls can be under way; beyond the limit they wait for each other, within their time.
    /// Dropping the future gives the call up.
    ///
    /// # Errors
    /// [`CallError::Timeout`], [`CallError::Disconnected`], [`CallError::Rejected`].
    pub async fn call(
        &self,
        program: u32,
        version: u32,
        procedure: u32,
        credential: &Credential,
        args: Writer,
        timeout_ms: u64,
    ) -> Result<Reader, CallError> {
        let late = self.shared.clock.sleep_ms(timeout_ms);
        tokio::select! {
            biased;
            results = self.exchange(program, version, procedure, credential, args) => results,
            () = late => Err(CallError::Timeout),
        }
    }

    /// [`call`](Self::call) from a server to its client.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub async fn call_back(
        &self,
        program: u32,
        version: u32,
        procedure: u32,
        credential: &Credential,
        args: Writer,
        timeout_ms: u64,
    ) -> Result<Reader, CallError> {
        self.call(program, version, procedure, credential, args, timeout_ms).await
    }

    /// A call without an end in time.
    pub(crate) async fn exchange(
        &self,
        program: u32,
        version: u32,
        procedure: u32,
        credential: &Credential,
        args: Writer,
    ) -> Result<Reader, CallError> {
        let _turn = self.shared.calls.acquire().await.map_err(|_| CallError::Disconnected)?;
        let waiting = self.shared.pending.register().ok_or(CallError::Disconnected)?;
        let mut message = wire_rpc::call(waiting.xid(), program, version, procedure, credential);
        message.append(args);
        self.send(message, None, None).await.map_err(|Closed| CallError::Disconnected)?;
        let (header, results) = waiting.reply().await.ok_or(CallError::Disconnected)?;
        match header.status {
            ReplyStatus::Success => Ok(results),
            status => Err(CallError::Rejected(status)),
        }
    }

    /// Takes room for an answer of so many bytes before it is made, so that those who take no
    /// answers hold no more memory than is theirs; to be handed over with it
    /// ([`Answer::Reserved`](crate::Answer::Reserved)). Waits until there is; `None` if the
    /// connection closes meanwhile.
    pub async fn reserve(&self, bytes: usize) -> Option<Room> {
        let room = self.shared.places.answer(self.is_proven(), bytes, &self.shared.clock);
        tokio::select! {
            biased;
            room = room => Some(room),
            () = self.closed() => None,
        }
    }

    /// Room for a record that this connection brings.
    pub(crate) async fn room_for_record(&self, bytes: usize) -> Room {
        self.shared.places.record(self.is_proven(), bytes, &self.shared.clock).await
    }

    /// Whether others wait for what this peer does not send, or take.
    pub(crate) fn is_in_the_way(&self, now_ms: u64) -> bool {
        let slow = self.shared.activity.is_slow(now_ms);
        let places = &self.shared.places;
        (slow.to_send && places.is_waited_for(Direction::Received))
            || (slow.to_take && places.is_waited_for(Direction::Sent))
    }

    /// Queues a message; `slot` and `room` are given back when it is written.
    pub(crate) async fn send(
        &self,
        message: Writer,
        slot: Option<Slot>,
        room: Option<Room>,
    ) -> Result<(), Closed> {
        self.shared.outbox.push(message, slot, room).await
    }

    /// Queues an answer, once there is room for it. What was reserved is enough.
    pub(crate) async fn answer(
        &self,
        answer: Writer,
        slot: Option<Slot>,
        reserved: Option<Room>,
    ) -> Result<(), Closed> {
        let room = match reserved {
            Some(mut room) => {
                room.shrink(answer.len());
                room
            }
            None => self.reserve(answer.len().saturating_add(MESSAGE_COST_BYTES)).await.ok_or(Closed)?,
        };
        self.send(answer, slot, Some(room)).await
    }

    /// Resolves when the connection is closed.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as we do, so the only end is the value.
        let _ = self.shared.closed.subscribe().wait_for(|closed| *closed).await;
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.shared.activity
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.shared.pending
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connection({}, {} - {})", self.id(), self.local(), self.peer())
    }
}
