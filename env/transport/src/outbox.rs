//! Messages on their way out: a queue bounded in bytes, and the loop that writes it to the stream.
//!
//! The loop takes what is queued, up to a batch, and sends it by vectored writes straight from the
//! messages' segments: many small replies share a system call, and a large one is never joined
//! together.
//!
//! INVARIANT: a message's share of the queue, and whatever it carries, is given back once its last
//! byte is written.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use env::Clock;
use env::net::StreamWrite;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use wire_xdr::Writer;

use crate::activity::Activity;
use crate::budget::Room;
use crate::limits::{MESSAGE_COST_BYTES, WRITE_BATCH_MESSAGES_MAX, WRITE_BUFFERS_MAX};

/// Held by a message until it is written: what it answers counts as under way so long.
pub(crate) type Slot = OwnedSemaphorePermit;

/// The queue's near end.
#[derive(Debug)]
pub(crate) struct Outbox {
    // Not bounded by count: every message in it holds its share of `room`.
    queue: mpsc::UnboundedSender<Outgoing>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

/// The connection is closed.
#[derive(Debug)]
pub(crate) struct Closed;

/// A message in the queue.
#[derive(Debug)]
pub(crate) struct Outgoing {
    mark: [u8; 4],
    segments: Vec<Bytes>,
    /// Bytes, mark included, that are written already.
    written: usize,
    bytes: usize,
    _queued: OwnedSemaphorePermit,
    _slot: Option<Slot>,
    /// Of the answers of all connections.
    room: Option<Room>,
}

impl Outbox {
    /// A queue of at most `bytes_max` bytes, and its far end.
    pub(crate) fn new(bytes_max: usize) -> (Self, mpsc::UnboundedReceiver<Outgoing>) {
        let bytes_max = bytes_max.clamp(MESSAGE_COST_BYTES, usize::try_from(u32::MAX).unwrap_or(usize::MAX));
        let (queue, outgoing) = mpsc::unbounded_channel();
        (Self { queue, room: Arc::new(Semaphore::new(bytes_max)), bytes_max }, outgoing)
    }

    /// Queues a message, once there is room. One that is larger than the queue waits until it is
    /// alone.
    pub(crate) async fn push(
        &self,
        message: Writer,
        slot: Option<Slot>,
        room: Option<Room>,
    ) -> Result<(), Closed> {
        let bytes = message.len();
        let cost = bytes.saturating_add(MESSAGE_COST_BYTES).min(self.bytes_max);
        let cost = u32::try_from(cost).expect("the bound fits");
        let queued = Arc::clone(&self.room).acquire_many_owned(cost).await.map_err(|_| Closed)?;
        let mark = wire_rpc::mark_bytes(bytes);
        let segments = message.into_segments();
        let bytes = mark.len() + bytes;
        let outgoing = Outgoing { mark, segments, written: 0, bytes, _queued: queued, _slot: slot, room };
        self.queue.send(outgoing).map_err(|_| Closed)
    }

    /// Wakes all that wait for room, and takes no more messages.
    pub(crate) fn close(&self) {
        self.room.close();
    }
}

/// Writes the queue to the stream until one of them ends.
pub(crate) async fn write_loop(
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    mut stream: Box<dyn StreamWrite>,
    activity: &Activity,
    clock: &dyn Clock,
) -> io::Result<()> {
    let mut taken = Vec::with_capacity(WRITE_BATCH_MESSAGES_MAX);
    let mut batch = VecDeque::with_capacity(WRITE_BATCH_MESSAGES_MAX);
    while 0 < outgoing.recv_many(&mut taken, WRITE_BATCH_MESSAGES_MAX).await {
        batch.extend(taken.drain(..));
        while !batch.is_empty() {
            activity.writes(clock.monotonic_ms());
            let count = poll_fn(|context| {
                let mut slices = [IoSlice::new(&[]); WRITE_BUFFERS_MAX];
                let used = gather(&batch, &mut slices);
                stream.poll_write(context, &slices[..used])
            })
            .await?;
            if count == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            let messages = batch.len();
            advance(&mut batch, count);
            if batch.len() < messages {
                activity.message_written();
            }
        }
        activity.writes_not();
    }
    Ok(())
}

/// Points at as much of the batch as the slices hold; says how many it used.
fn gather<'a>(batch: &'a VecDeque<Outgoing>, slices: &mut [IoSlice<'a>]) -> usize {
    let mut used = 0;
    for message in batch {
        let mut skip = message.written;
        for part in
            std::iter::once(&message.mark[..]).chain(message.segments.iter().map(|segment| &segment[..]))
        {
            if part.len() <= skip {
                skip -= part.len();
                continue;
            }
            if used == slices.len() {
                return used;
            }
            slices[used] = IoSlice::new(&part[skip..]);
            skip = 0;
            used += 1;
        }
    }
    used
}

/// Notes that `count` bytes of the batch are written, and drops the messages that are through.
fn advance(batch: &mut VecDeque<Outgoing>, mut count: usize) {
    while let Some(front) = batch.front_mut() {
        let left = front.bytes - front.written;
        if count < left {
            front.written += count;
            return;
        }
        count -= left;
        let through = batch.pop_front().expect("it was there a moment ago");
        if let Some(room) = through.room {
            room.complete();
        }
    }
    assert_eq!(count, 0, "no more was written than there was");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queued(bodies: &[usize]) -> (VecDeque<Outgoing>, Vec<u8>) {
        let room = Arc::new(Semaphore::new(usize::from(u16::MAX)));
        let (mut batch, mut flat) = (VecDeque::new(), Vec::new());
        for (index, len) in bodies.iter().enumerate() {
            let mut message = Writer::new();
            message.u32(u32::try_from(index).unwrap());
            message.opaque_bytes(Bytes::from(vec![9; *len]));
            let (bytes, permit) = (message.len(), Arc::clone(&room).try_acquire_owned().unwrap());
            flat.extend(wire_rpc::mark_bytes(bytes));
            flat.extend(message.to_bytes());
            let mark = wire_rpc::mark_bytes(bytes);
            let segments = message.into_segments();
            batch.push_back(Outgoing {
                mark,
                segments,
                written: 0,
                bytes: bytes + 4,
                _queued: permit,
                _slot: None,
                room: None,
            });
        }
        (batch, flat)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However few bytes each write takes, they are the batch's bytes in order, and nothing
        /// stays behind.
        #[test]
        fn any_partial_writes_send_the_same_bytes(
            bodies in prop::collection::vec(prop_oneof![0_usize..9, 600_usize..700], 1..9),
            steps in prop::collection::vec(1_usize..300, 1..9),
            slice_count in 1_usize..5,
        ) {
            let (mut batch, flat) = queued(&bodies);
            let mut sent: Vec<u8> = Vec::new();
            for step in steps.iter().cycle() {
                let mut slices = [IoSlice::new(&[]); 4];
                let used = gather(&batch, &mut slices[..slice_count.min(4)]);
                let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).take(*step).collect();
                prop_assert!(!bytes.is_empty());
                sent.extend(&bytes);
                advance(&mut batch, bytes.len());
                if batch.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(sent, flat);
        }
    }
}
