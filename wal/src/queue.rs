//! What waits to be written, bounded in bytes and records.
//!
//! INVARIANT: room is given back only when the item it was taken for is dropped, so what the writer
//! has taken over still counts.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::AppendError;
use crate::format::checksum;
use crate::limits::QUEUE_RECORDS_MAX;
use crate::record::{Location, Record, RecordHeader};

/// What an item waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Written,
    Synced,
    /// As `Synced`, and the segment that takes records is sealed.
    Rolled,
    /// Nothing: room that was made ready is given back, if it is not needed by then.
    Trimmed,
}

/// A record with its checksums, made by the appending task so that the writer has less to do.
#[derive(Debug)]
pub(crate) struct Summed {
    pub(crate) header: RecordHeader,
    pub(crate) table: Vec<u8>,
    pub(crate) table_crc: u32,
    pub(crate) payload: Vec<Bytes>,
}

impl Summed {
    /// Sums a record whose payload is `payload_len` bytes.
    pub(crate) fn new(record: Record, payload_len: u32) -> Self {
        let Record { kind, role, stream, sub, epoch, position, payload } = record;
        let table = checksum::table(&payload);
        let table_crc = checksum::crc32c(&table);
        let header = RecordHeader { kind, role, stream, sub, epoch, position, payload_len };
        Self { header, table, table_crc, payload }
    }
}

/// What one call put in: records, or none for a sync or a roll.
pub(crate) struct Item {
    pub(crate) records: VecDeque<Summed>,
    pub(crate) want: Want,
    pub(crate) locations: Vec<Location>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Location>, AppendError>>,
    pub(crate) payload_bytes: u64,
    /// The records behind these mean the same without them.
    pub(crate) is_aside: bool,
    /// The item's room in the queue; given back when its records are with the operating system.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Item {
    /// Answers the caller, who may be gone.
    pub(crate) fn resolve(self, result: Result<(), AppendError>) {
        let _ = self.reply.send(result.map(|()| self.locations));
    }
}

/// The queue between callers and the writer.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    room: Arc<Semaphore>,
    room_max: u32,
    /// Least room of an item per record, which bounds the records.
    record_room: u32,
}

struct State {
    items: Vec<Item>,
    /// Why nothing more is taken.
    ended: Option<AppendError>,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let room_max = u32::try_from(bytes_max).expect("WalConfig::is_valid was asked");
        let record_room = (bytes_max / QUEUE_RECORDS_MAX).max(1);
        Self {
            state: Mutex::new(State { items: Vec::new(), ended: None }),
            arrived: Notify::new(),
            room: Arc::new(Semaphore::new(bytes_max)),
            room_max,
            record_room: u32::try_from(record_room).expect("below room_max"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for so many records and bytes. An item larger than the queue gets all of it.
    pub(crate) async fn reserve(
        &self,
        records: usize,
        payload_bytes: u64,
    ) -> Result<OwnedSemaphorePermit, AppendError> {
        let records_room = (records as u64).saturating_mul(u64::from(self.record_room));
        let room = u32::try_from(payload_bytes.max(records_room)).unwrap_or(u32::MAX).min(self.room_max);
        match Arc::clone(&self.room).acquire_many_owned(room).await {
            Ok(room) => Ok(room),
            Err(_) => Err(self.state().ended.clone().unwrap_or(AppendError::Closed)),
        }
    }

    pub(crate) fn push(&self, item: Item) -> Result<(), AppendError> {
        let mut state = self.state();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        state.items.push(item);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Moves everything that waits into `into`.
    pub(crate) fn take(&self, into: &mut VecDeque<Item>) {
        into.extend(self.state().items.drain(..));
    }

    /// Returns when something may have arrived, or the queue ended.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes nothing more, from now on; what is queued stays. The first reason given is the one
    /// callers get.
    pub(crate) fn end(&self, why: AppendError) {
        self.state().ended.get_or_insert(why);
        self.room.close();
        self.arrived.notify_one();
    }

    /// The error that ended it, if one did.
    pub(crate) fn failure(&self) -> Option<Arc<io::Error>> {
        match &self.state().ended {
            Some(AppendError::Failed(error)) => Some(Arc::clone(error)),
            _ => None,
        }
    }

    /// Whether nothing is queued and nothing more will be.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state();
        state.ended.is_some() && state.items.is_empty()
    }
}
