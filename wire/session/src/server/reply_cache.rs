//! The reply cache: what a slot remembers of its last request, and how much all slots may remember.
//!
//! Room is reserved when a session is made, for the worst case, so that a reply that has to be kept always can be.
//!
//! INVARIANT: the bytes kept by all slots are never more than what is reserved, and that never more than
//! [`REPLY_CACHE_BYTES_MAX`].
//! Spec: RFC 8881 §2.10.6.1.3.

use bytes::Bytes;

use crate::limits::REPLY_CACHE_BYTES_MAX;

/// What a slot remembers of its last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// There was none.
    Never,
    /// The session was taken up: another server may have answered, under this number or a later one.
    Elsewhere {
        /// The slot's number is that of a request that has left something in the replicated state; else it says nothing.
        recorded: bool,
    },
    /// It is being executed.
    InProgress,
    /// It was answered, and the answer was not kept.
    Uncached,
    /// It was answered with this compound reply, from its status on.
    Cached(Bytes),
}

/// How much of the cache is promised to sessions.
#[derive(Debug, Default)]
pub struct Reservations {
    reserved_bytes: u64,
}

impl Reservations {
    /// For how many of `slots` replies there is room.
    #[must_use]
    pub fn room(&self, slots: u32, reply_bytes_max: u32) -> u32 {
        if reply_bytes_max == 0 {
            return slots;
        }
        let room = (REPLY_CACHE_BYTES_MAX - self.reserved_bytes) / u64::from(reply_bytes_max);
        u32::try_from(room).map_or(slots, |room| room.min(slots))
    }

    /// Promises room for as many of `slots` replies as there is room for, and says for how many; 0 if for none.
    pub fn reserve(&mut self, slots: u32, reply_bytes_max: u32) -> u32 {
        let granted = self.room(slots, reply_bytes_max);
        self.reserved_bytes += u64::from(granted) * u64::from(reply_bytes_max);
        assert!(self.reserved_bytes <= REPLY_CACHE_BYTES_MAX, "only the room there was is promised");
        granted
    }

    /// Takes a promise back.
    pub fn release(&mut self, slots: u32, reply_bytes_max: u32) {
        let bytes = u64::from(slots) * u64::from(reply_bytes_max);
        assert!(bytes <= self.reserved_bytes, "it was promised before");
        self.reserved_bytes -= bytes;
    }

    /// What is promised.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESPONSE_CACHED_BYTES_MAX;

    #[test]
    fn the_bound_holds() {
        let mut reservations = Reservations::default();
        let all = u32::try_from(REPLY_CACHE_BYTES_MAX / u64::from(RESPONSE_CACHED_BYTES_MAX)).unwrap();
        assert_eq!(reservations.reserve(all - 3, RESPONSE_CACHED_BYTES_MAX), all - 3);
        assert_eq!(reservations.reserve(64, RESPONSE_CACHED_BYTES_MAX), 3);
        assert_eq!(reservations.reserve(64, RESPONSE_CACHED_BYTES_MAX), 0);
        assert_eq!(reservations.reserve(64, 0), 64);
        reservations.release(3, RESPONSE_CACHED_BYTES_MAX);
        assert_eq!(reservations.reserve(2, RESPONSE_CACHED_BYTES_MAX), 2);
    }
}
