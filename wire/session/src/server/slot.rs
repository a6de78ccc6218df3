//! One slot of a session: tells a new request from a retry.
//!
//! Has no lock, waits for nothing. A request that was admitted has to be completed, even if its
//! connection is gone: until then its retries get DELAY.
//!
//! Spec: RFC 8881 §2.10.6.1, §2.10.6.2, §18.46.3.

use bytes::Bytes;
use wire_nfs::v4::Nfsstat4;

use super::reply_cache::Reply;
use crate::limits::{FINGERPRINT_BYTES, SEQUENCE_AHEAD_MAX};

/// A slot, server side.
#[derive(Debug)]
pub struct Slot {
    sequence: u32,
    fingerprint: u64,
    reply: Reply,
    /// Not every number up to this one was seen here: the session was resumed, and what came first
    /// may have been a copy that was long on its way.
    is_behind: bool,
}

/// What to do with a request on a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotVerdict {
    /// It is new: execute it, then complete the slot.
    Execute,
    /// Another server may have carried it out: execute it; whatever of it is recorded has its
    /// result, without effect. Then complete the slot.
    Again,
    /// It is a retry: answer this.
    Replay(Bytes),
    /// SEQUENCE gets this status; the slot is as before.
    Reject(Nfsstat4),
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl Slot {
    /// A slot that was never used; it expects sequence 1.
    #[must_use]
    pub fn new() -> Self {
        Self { sequence: 0, fingerprint: 0, reply: Reply::Never, is_behind: false }
    }

    /// A slot of a session that is resumed. `seen` is the number and fingerprint of the last
    /// request that left something in the replicated state, if there is one: of requests that
    /// changed nothing no server knows but the one that answered them.
    #[must_use]
    pub fn resumed(seen: Option<(u32, u64)>) -> Self {
        let (sequence, fingerprint) = seen.unwrap_or_default();
        Self { sequence, fingerprint, reply: Reply::Elsewhere { recorded: seen.is_some() }, is_behind: true }
    }

    /// Admits, replays or refuses a request. `fingerprint` is equal for a request and its true
    /// retries.
    pub fn admit(&mut self, sequence: u32, fingerprint: u64) -> SlotVerdict {
        let step = sequence.wrapping_sub(self.sequence);
        if let Reply::Elsewhere { recorded } = self.reply {
            return self.admit_first(sequence, fingerprint, recorded.then_some(step));
        }
        let is_later = step == 1 || self.is_behind && 0 < step && step <= SEQUENCE_AHEAD_MAX;
        if is_later && self.reply != Reply::InProgress {
            *self = Self {
                sequence,
                fingerprint,
                reply: Reply::InProgress,
                is_behind: self.is_behind && step != 1,
            };
            return SlotVerdict::Execute;
        }
        match (step, &self.reply) {
            // §2.10.6.1.3.1: another request under the number of the last one must not be given the
            // last one's reply.
            // QUIRK(linux): after a request was interrupted it does exactly that, and takes the
            // next number on this status.
            (0, Reply::Cached(_) | Reply::Uncached) if fingerprint != self.fingerprint => {
                SlotVerdict::Reject(Nfsstat4::SeqFalseRetry)
            }
            (0, Reply::Cached(reply)) => SlotVerdict::Replay(reply.clone()),
            (0, Reply::Uncached) => SlotVerdict::Reject(Nfsstat4::RetryUncachedRep),
            // §2.10.6.2 allows DELAY and SEQ_MISORDERED here. With DELAY the client asks again, and
            // by then the reply is there.
            (0, Reply::InProgress) => SlotVerdict::Reject(Nfsstat4::Delay),
            // The client has the answer of what runs here once more, from the server that had the
            // session before.
            (_, Reply::InProgress) if is_later && self.is_behind => SlotVerdict::Reject(Nfsstat4::Delay),
            _ => SlotVerdict::Reject(Nfsstat4::SeqMisordered),
        }
    }

    /// The first request since the session was resumed. `step` is how far it is ahead of the
    /// recorded one.
    ///
    /// Spec: docs/protocol/sessions.md §3.
    fn admit_first(&mut self, sequence: u32, fingerprint: u64, step: Option<u32>) -> SlotVerdict {
        assert!(self.is_behind, "another server may have seen later numbers");
        assert!(step.is_some() || self.sequence == 0, "a slot without a record has no number");
        match step {
            Some(0) if fingerprint != self.fingerprint => {
                return SlotVerdict::Reject(Nfsstat4::SeqFalseRetry);
            }
            // Half of the number space is before.
            Some(step) if SEQUENCE_AHEAD_MAX < step => return SlotVerdict::Reject(Nfsstat4::SeqMisordered),
            Some(_) | None => {}
        }
        *self = Self { sequence, fingerprint, reply: Reply::InProgress, is_behind: true };
        if step == Some(0) { SlotVerdict::Again } else { SlotVerdict::Execute }
    }

    /// The request is answered. `reply` is kept for retries. Says whether this request was being
    /// executed: if not, nothing is changed.
    pub fn complete(&mut self, sequence: u32, reply: Option<Bytes>) -> bool {
        let running = self.sequence == sequence && self.reply == Reply::InProgress;
        if running {
            self.reply = reply.map_or(Reply::Uncached, Reply::Cached);
        }
        assert!(self.sequence != sequence || !self.is_running(), "an answered request has ended");
        running
    }

    /// What is kept of the last reply.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.reply.kept_bytes()
    }

    /// Whether a request is being executed.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.reply == Reply::InProgress
    }

    /// The sequence of the last request that was admitted.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.sequence
    }
}

/// A number that is equal for a request and its true retries, and most likely differs for other
/// requests.
///
/// `operations` are the bytes behind SEQUENCE; xid and tag stay out, as both may change in a retry.
/// Only the first and last [`FINGERPRINT_BYTES`] are looked at, so that a large WRITE costs no more
/// than a small one.
#[must_use]
pub fn fingerprint(principal: &[u8], op_count: u32, operations: &[u8]) -> u64 {
    let len = operations.len();
    let head = &operations[..len.min(FINGERPRINT_BYTES)];
    let tail = &operations[len - (len - head.len()).min(FINGERPRINT_BYTES)..];
    assert!(head.len() + tail.len() <= len.min(2 * FINGERPRINT_BYTES), "no byte counts twice");
    let sizes = [(principal.len() as u64).to_be_bytes(), (len as u64).to_be_bytes()];
    let parts: [&[u8]; 6] = [&sizes[0], principal, &sizes[1], &op_count.to_be_bytes(), head, tail];
    // FNV-1a, 64 bits: no key is needed, as a client that forges a collision deceives itself only.
    parts.iter().flat_map(|part| part.iter()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
