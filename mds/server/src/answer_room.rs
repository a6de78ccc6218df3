//! Memory for the replies of READ and READDIR, from before the data is read until the reply is
//! sent.
//!
//! Such a reply is a thousand times as long as its request. So these operations reserve room first,
//! of their address's share and of the total (`env_transport`). The reply of their compound holds
//! it until the client has received the last byte.

use std::sync::Arc;

use env::Clock;
use env_transport::{Connection, Room};
use wire_nfs::v4::Nfsstat4;

use crate::limits::ANSWER_ROOM_WAIT_MS_MAX;
use crate::metrics::Metrics;

/// Reserves reply memory.
pub(crate) struct AnswerRoom {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// Reply memory of one operation. Counted until its compound is answered.
pub(crate) struct Taken {
    room: Option<Room>,
    bytes: u32,
    metrics: Metrics,
}

impl AnswerRoom {
    pub(crate) fn new(clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { clock, metrics }
    }

    /// Reserves this many bytes.
    ///
    /// # Errors
    /// DELAY if none is free for a while: other replies have to be sent first. A compound may
    /// itself hold some of what its next operation waits for.
    pub(crate) async fn reserve_bytes(&self, connection: &Connection, bytes: u32) -> Result<Taken, Nfsstat4> {
        let room = tokio::select! {
            biased;
            room = connection.reserve(usize::try_from(bytes).expect("usize has 32 bits at least")) => room,
            () = self.clock.sleep_ms(ANSWER_ROOM_WAIT_MS_MAX) => {
                self.metrics.read_delayed();
                None
            }
        };
        let room = room.ok_or(Nfsstat4::Delay)?;
        self.metrics.read_begins(bytes);
        Ok(Taken { room: Some(room), bytes, metrics: self.metrics.clone() })
    }
}

impl Taken {
    /// Releases everything beyond this many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(room) = &mut self.room {
            room.shrink(bytes);
        }
    }
}

/// Joins the room of all operations of a compound, for its reply.
pub(crate) fn for_reply(taken: Vec<Taken>) -> Option<Room> {
    taken.into_iter().filter_map(|mut one| one.room.take()).reduce(Room::and)
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.metrics.read_ended(self.bytes);
    }
}
