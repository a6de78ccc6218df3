//! The reply cache: what a slot remembers of its last request, and what all sessions take in
//! memory, by client.
//!
//! A session counts as what it takes: itself, its slots, and the replies that are kept at the
//! moment. A client that takes more than its share, or the one that takes most when all together
//! take too much, has sessions leave the memory
//! ([`Sessions::complete`](super::sessions::Sessions::complete)). They stay in the replicated
//! state, and are resumed from there.
//!
//! Spec: RFC 8881 §2.10.6.1.3; docs/protocol/sessions.md §3.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::limits::{SESSION_BYTES, SLOT_BYTES, SLOTS_MAX};

/// What a slot remembers of its last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// There was none.
    Never,
    /// The session was resumed: another server may have answered, under this number or a later
    /// one.
    Elsewhere {
        /// The slot's number is that of a request that has left something in the replicated state;
        /// else it says nothing.
        recorded: bool,
    },
    /// It is being executed.
    InProgress,
    /// It was answered, and the answer was not kept.
    Uncached,
    /// It was answered with this compound reply, from its status on.
    Cached(Bytes),
}

impl Reply {
    /// What is kept of it.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        match self {
            Self::Cached(reply) => reply.len() as u64,
            Self::Never | Self::Elsewhere { .. } | Self::InProgress | Self::Uncached => 0,
        }
    }
}

/// What a session takes that keeps no reply.
#[must_use]
pub fn empty_session_bytes(slots: u32) -> u64 {
    assert!(slots <= SLOTS_MAX, "a session has no more slots than are negotiated");
    SESSION_BYTES + u64::from(slots) * SLOT_BYTES
}

/// What the sessions of each client take.
#[derive(Debug, Default)]
pub struct Shares {
    total_bytes: u64,
    clients: BTreeMap<u64, u64>,
    /// The same, the one that takes most last.
    by_bytes: BTreeSet<(u64, u64)>,
}

impl Shares {
    /// A client takes so much in place of so much.
    pub fn change(&mut self, client: u64, less_bytes: u64, more_bytes: u64) {
        if less_bytes == more_bytes {
            return;
        }
        let before = self.of(client);
        let after = (before + more_bytes).checked_sub(less_bytes).expect("what goes was counted before");
        self.total_bytes = self.total_bytes + after - before;
        let was_ordered = self.by_bytes.remove(&(before, client));
        assert_eq!(was_ordered, 0 < before, "a client that takes memory is in the order");
        if after == 0 {
            self.clients.remove(&client);
        } else {
            self.clients.insert(client, after);
            self.by_bytes.insert((after, client));
        }
        assert_eq!(self.by_bytes.len(), self.clients.len(), "both maps hold the same clients");
        assert!(after <= self.total_bytes, "a client takes a part of the whole");
        debug_assert_eq!(self.clients.values().sum::<u64>(), self.total_bytes, "shares sum to all");
    }

    /// What a client takes.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub fn of(&self, client: u64) -> u64 {
        self.clients.get(&client).copied().unwrap_or(0)
    }

    /// What all take.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The clients, the one that takes most first.
    pub fn heaviest(&self) -> impl Iterator<Item = u64> + '_ {
        self.by_bytes.iter().rev().map(|(_, client)| *client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_most_comes_first() {
        let mut shares = Shares::default();
        shares.change(1, 0, 10);
        shares.change(2, 0, 30);
        shares.change(3, 0, 20);
        assert_eq!((shares.total_bytes(), shares.heaviest().collect::<Vec<_>>()), (60, vec![2, 3, 1]));
        shares.change(2, 25, 0);
        shares.change(1, 5, 6);
        assert_eq!((shares.total_bytes(), shares.heaviest().collect::<Vec<_>>()), (36, vec![3, 1, 2]));
        shares.change(3, 20, 0);
        assert_eq!((shares.of(3), shares.total_bytes()), (0, 16));
        assert_eq!(shares.heaviest().collect::<Vec<_>>(), [1, 2]);
    }
}
