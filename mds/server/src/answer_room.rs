//! Room for what READ and READDIR answer, from before it is read until it is sent.
//!
//! Such an answer is a thousand times as long as its request. So these take room first, of their address's share and of
//! all there is (`env_transport`), and the reply of their compound has it until the client took the last byte.

use std::sync::Arc;

use env::Clock;
use env_transport::{Connection, Room};
use wire_nfs::v4::Nfsstat4;

use crate::limits::ANSWER_ROOM_WAIT_MS_MAX;
use crate::metrics::Metrics;

/// The way to room of a server.
pub(crate) struct AnswerRoom {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// Room that one operation has. Counted until its compound is answered.
pub(crate) struct Taken {
    room: Option<Room>,
    bytes: u32,
    metrics: Metrics,
}

impl AnswerRoom {
    pub(crate) fn new(clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { clock, metrics }
    }

    /// Takes room for so many bytes.
    ///
    /// # Errors
    /// DELAY if there is none for a while: other answers have to be sent first. A compound may hold some of what its next
    /// operation waits for.
    pub(crate) async fn take(&self, connection: &Connection, bytes: u32) -> Result<Taken, Nfsstat4> {
        let room = tokio::select! {
            biased;
            room = connection.reserve(usize::try_from(bytes).expect("usize has 32 bits at least")) => room,
            () = self.clock.sleep_ms(ANSWER_ROOM_WAIT_MS_MAX) => {
                self.metrics.read_put_off();
                None
            }
        };
        let room = room.ok_or(Nfsstat4::Delay)?;
        self.metrics.read_begins(bytes);
        Ok(Taken { room: Some(room), bytes, metrics: self.metrics.clone() })
    }
}

impl Taken {
    /// Gives back what is beyond so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(room) = &mut self.room {
            room.shrink(bytes);
        }
    }
}

/// All that a compound has, for its reply.
pub(crate) fn for_reply(taken: Vec<Taken>) -> Option<Room> {
    taken.into_iter().filter_map(|mut one| one.room.take()).reduce(Room::and)
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.metrics.read_ended(self.bytes);
    }
}
