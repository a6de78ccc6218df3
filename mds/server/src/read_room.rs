//! Room for the bytes that READ answers in band, from before they are read until they are sent.
//!
//! The transport bounds requests over all connections, and answers in the queue of one connection. An answer to READ is a thousand times as long
//! as its request, and as many as there are calls under way wait for that queue: a few connections whose clients do not read would hold any
//! amount of memory. So READ takes room first, of its connection's share and of all there is, and what it answers gives the room back when it
//! is dropped.
//!
//! INVARIANT: bytes count until the reply that carries them is written or given up. Those that are too few to be spliced into it are copied, and
//! count until then.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use env::Clock;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire_nfs::v4::Nfsstat4;

use crate::limits::{READ_ANSWER_BYTES_MAX, READ_ANSWER_BYTES_PER_CONNECTION_MAX, READ_ROOM_WAIT_MS_MAX};
use crate::metrics::Metrics;

/// How much room there is.
#[derive(Clone, Copy)]
struct Bounds {
    /// Over all connections.
    all_bytes: usize,
    /// For one connection.
    share_bytes: usize,
    /// How long a READ waits.
    wait_ms: u64,
}

/// The room of a server.
pub(crate) struct ReadRoom {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    bounds: Bounds,
    all: Arc<Semaphore>,
    /// Of connections that hold something or wait; at most one for each.
    shares: Mutex<HashMap<u64, Arc<Semaphore>>>,
}

/// Room that a READ has.
pub(crate) struct Room {
    bytes: u32,
    metrics: Metrics,
    _share: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Bytes, and the room that they take.
struct Held {
    data: Bytes,
    _room: Room,
}

impl ReadRoom {
    pub(crate) fn new(clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        let bounds = Bounds {
            all_bytes: READ_ANSWER_BYTES_MAX,
            share_bytes: READ_ANSWER_BYTES_PER_CONNECTION_MAX,
            wait_ms: READ_ROOM_WAIT_MS_MAX,
        };
        Self::with(bounds, clock, metrics)
    }

    fn with(bounds: Bounds, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        let all = Arc::new(Semaphore::new(bounds.all_bytes));
        Self { clock, metrics, bounds, all, shares: Mutex::default() }
    }

    /// Takes room for so many bytes, at most those of one transfer.
    ///
    /// # Errors
    /// DELAY if there is none for a while: other answers have to be sent first.
    pub(crate) async fn take(&self, connection: u64, bytes: u64) -> Result<Room, Nfsstat4> {
        let bytes = u32::try_from(bytes).map_err(|_| Nfsstat4::Inval)?;
        let share = self.share(connection);
        let room = async {
            // In this order: who has used up its own share is in nobody's way.
            let share = share.acquire_many_owned(bytes).await.expect("never closed");
            let all = Arc::clone(&self.all).acquire_many_owned(bytes).await.expect("never closed");
            self.metrics.read_begins(bytes);
            Room { bytes, metrics: self.metrics.clone(), _share: share, _all: all }
        };
        // A compound may hold some of what its next READ waits for.
        tokio::select! {
            biased;
            room = room => Ok(room),
            () = self.clock.sleep_ms(self.bounds.wait_ms) => {
                self.metrics.read_put_off();
                Err(Nfsstat4::Delay)
            }
        }
    }

    fn share(&self, connection: u64) -> Arc<Semaphore> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(&connection) {
            return Arc::clone(share);
        }
        // Whoever holds or waits has it as well.
        shares.retain(|_, share| 1 < Arc::strong_count(share));
        let share = Arc::new(Semaphore::new(self.bounds.share_bytes));
        shares.insert(connection, Arc::clone(&share));
        share
    }
}

impl Room {
    /// The same bytes, which keep the room until they are dropped.
    pub(crate) fn hold(self, data: Bytes) -> Bytes {
        Bytes::from_owner(Held { data, _room: self })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.metrics.read_ended(self.bytes);
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use env::os::OsClock;
    use futures_util::poll;
    use prometheus_client::registry::Registry;
    use wire_xdr::Writer;

    use super::*;

    fn room(wait_ms: u64) -> ReadRoom {
        let bounds = Bounds { all_bytes: 5_000, share_bytes: 2_000, wait_ms };
        ReadRoom::with(bounds, Arc::new(OsClock::new()), Metrics::new(&mut Registry::default()))
    }

    #[tokio::test]
    async fn all_connections_share_what_there_is() {
        let reads = room(60_000);
        let (one, two) = (reads.take(1, 2_000).await.unwrap(), reads.take(2, 2_000).await.unwrap());
        let mut of_the_first = Box::pin(reads.take(1, 1));
        assert!(poll!(of_the_first.as_mut()).is_pending(), "it has used up its share");
        let mut third = Box::pin(reads.take(3, 2_000));
        assert!(poll!(third.as_mut()).is_pending(), "all together have");
        // What is answered counts until the last of the reply is gone.
        let mut reply = Writer::new();
        reply.opaque_bytes(two.hold(vec![7; 1_999].into()));
        let segments = reply.into_segments();
        assert!(segments.iter().any(|segment| segment.as_ref() == [7; 1_999]));
        assert!(poll!(third.as_mut()).is_pending());
        drop(segments);
        let third = third.await.unwrap();
        drop((one, third));
        drop(of_the_first.await);
        assert_eq!(reads.all.available_permits(), 5_000);
        drop(reads.take(4, 0).await);
        assert_eq!(reads.shares.lock().len(), 1, "nothing is kept of connections that hold nothing");
    }

    #[tokio::test]
    async fn who_waits_for_long_is_put_off() {
        let reads = room(20);
        let held = reads.take(1, 2_000).await.unwrap();
        assert_eq!(reads.take(1, 1).await.err(), Some(Nfsstat4::Delay));
        drop(reads.take(2, 2_000).await.unwrap());
        drop(held);
        assert!(reads.take(1, 2_000).await.is_ok());
    }
}
