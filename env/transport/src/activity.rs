//! What a connection is waiting for and since when, so that one watch can tell a quiet peer from a
//! dead or hostile one.
//!
//! The reader and the writer note what they are about to wait for; [`Activity::overdue`] judges.
//! Time is an argument.
//!
//! INVARIANT: only waiting for the peer is ever overdue; waiting for ourselves (calls under way,
//! room in the queue) is not.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::limits::{MESSAGE_MS_MAX, MESSAGE_STALL_PART, PRESSED_STALL_MS_MAX};
use crate::{Limits, RECORD_MS_MAX, RECORD_STALL_MS_MAX, WRITE_STALL_MS_MAX};

const BUSY: u64 = 0;
const BETWEEN_RECORDS: u64 = 1;
const INSIDE_RECORD: u64 = 2;
const WRITING: u64 = 1;
const STATE_BITS: u32 = 2;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the peer.
    Received,
    /// To the peer.
    Sent,
}

/// The two halves of one connection. Each word holds a state in its low bits and a time above.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    reading: AtomicU64,
    writing: AtomicU64,
    /// When the record began that is not complete; 0 if there is none.
    record_began_ms: AtomicU64,
    /// When the message began to be written that is not through; 0 if there is none.
    message_began_ms: AtomicU64,
    /// Others need the room that it has, at once.
    pressed: Notify,
}

/// Why a connection should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    Idle,
    RecordStalled,
    RecordLate,
    WriteStalled,
    WriteLate,
    Pressed,
    Unproven,
}

/// What a peer has not done for so long that others need not wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slow {
    /// Sent more of a record that it has begun.
    pub(crate) to_send: bool,
    /// Taken what we send.
    pub(crate) to_take: bool,
}

impl Activity {
    /// The reader is about to wait for bytes.
    pub(crate) fn reads(&self, between_records: bool, now_ms: u64) {
        let state = if between_records { BETWEEN_RECORDS } else { INSIDE_RECORD };
        self.reading.store(now_ms << STATE_BITS | state, Ordering::Relaxed);
        if !between_records && self.record_began_ms.load(Ordering::Relaxed) == 0 {
            self.record_began_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
    }

    /// A record is complete: the bytes that follow belong to another one. The reader of a busy
    /// stream may never wait between two records, since it reads ahead.
    pub(crate) fn record_completed(&self) {
        self.record_began_ms.store(0, Ordering::Relaxed);
    }

    /// The reader has bytes to work on.
    pub(crate) fn reads_not(&self) {
        self.reading.store(BUSY, Ordering::Relaxed);
    }

    /// The writer is about to wait until bytes are taken.
    pub(crate) fn writes(&self, now_ms: u64) {
        self.writing.store(now_ms << STATE_BITS | WRITING, Ordering::Relaxed);
        if self.message_began_ms.load(Ordering::Relaxed) == 0 {
            self.message_began_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
    }

    /// A message is written: the bytes that follow belong to another one.
    pub(crate) fn message_written(&self) {
        self.message_began_ms.store(0, Ordering::Relaxed);
    }

    /// The writer has nothing to send.
    pub(crate) fn writes_not(&self) {
        self.writing.store(BUSY, Ordering::Relaxed);
        self.message_began_ms.store(0, Ordering::Relaxed);
    }

    /// Whether others that wait for room should not wait for this peer any longer.
    pub(crate) fn is_slow(&self, now_ms: u64) -> Slow {
        let is_late = |word, state| {
            let (found, ms) = waited(word, now_ms);
            found == state && PRESSED_STALL_MS_MAX <= ms
        };
        Slow { to_send: is_late(&self.reading, INSIDE_RECORD), to_take: is_late(&self.writing, WRITING) }
    }

    /// For how long the peer stalls: has sent no byte of the record, or taken none of the message,
    /// that is under way. A message that comes through byte by byte counts in part.
    ///
    /// # Units
    /// Milliseconds; 0 if we wait for nothing of it.
    pub(crate) fn stall_ms(&self, direction: Direction, now_ms: u64) -> u64 {
        match direction {
            Direction::Received => match waited(&self.reading, now_ms) {
                (INSIDE_RECORD, ms) => ms,
                _ => 0,
            },
            Direction::Sent => {
                let (WRITING, ms) = waited(&self.writing, now_ms) else { return 0 };
                let began_ms = self.message_began_ms.load(Ordering::Relaxed);
                let message_ms = if began_ms == 0 { 0 } else { now_ms.saturating_sub(began_ms) };
                ms.max(message_ms / MESSAGE_STALL_PART)
            }
        }
    }

    /// Ends the connection: others of its address wait for the room that it has.
    pub(crate) fn press(&self) {
        self.pressed.notify_one();
    }

    /// Resolves when it should end for that.
    pub(crate) async fn pressed(&self) {
        self.pressed.notified().await;
    }

    /// Whether the peer kept us waiting too long. `quiet` says that no call is under way in either
    /// direction.
    pub(crate) fn overdue(&self, now_ms: u64, limits: &Limits, quiet: bool) -> Option<Overdue> {
        let (reading, read_ms) = waited(&self.reading, now_ms);
        let (writing, write_ms) = waited(&self.writing, now_ms);
        if writing == WRITING && WRITE_STALL_MS_MAX <= write_ms {
            return Some(Overdue::WriteStalled);
        }
        let message_began_ms = self.message_began_ms.load(Ordering::Relaxed);
        let message_ms = now_ms.saturating_sub(message_began_ms);
        if writing == WRITING && message_began_ms != 0 && MESSAGE_MS_MAX <= message_ms {
            return Some(Overdue::WriteLate);
        }
        if reading == INSIDE_RECORD && RECORD_STALL_MS_MAX <= read_ms {
            return Some(Overdue::RecordStalled);
        }
        let began_ms = self.record_began_ms.load(Ordering::Relaxed);
        if reading == INSIDE_RECORD && began_ms != 0 && RECORD_MS_MAX <= now_ms.saturating_sub(began_ms) {
            return Some(Overdue::RecordLate);
        }
        let idle = reading == BETWEEN_RECORDS && writing == BUSY && quiet;
        (idle && limits.idle_ms_max != 0 && limits.idle_ms_max <= read_ms).then_some(Overdue::Idle)
    }
}

/// How often to ask whether the peer is overdue, in milliseconds.
pub(crate) fn watch_period_ms(limits: &Limits) -> u64 {
    let idle_ms = if limits.idle_ms_max == 0 { u64::MAX } else { limits.idle_ms_max };
    let unproven_ms = if limits.unproven_ms_max == 0 { u64::MAX } else { limits.unproven_ms_max };
    (idle_ms.min(unproven_ms).min(RECORD_STALL_MS_MAX).min(WRITE_STALL_MS_MAX).min(PRESSED_STALL_MS_MAX) / 4)
        .max(1)
}

fn waited(word: &AtomicU64, now_ms: u64) -> (u64, u64) {
    let word = word.load(Ordering::Relaxed);
    (word & ((1 << STATE_BITS) - 1), now_ms.saturating_sub(word >> STATE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_peer_is_ever_overdue() {
        let limits = Limits { idle_ms_max: 100, ..Limits::default() };
        let activity = Activity::default();
        assert_eq!(activity.overdue(1 << 40, &limits, true), None);

        activity.reads(true, 50);
        assert_eq!(activity.overdue(149, &limits, true), None);
        assert_eq!(activity.overdue(150, &limits, false), None);
        assert_eq!(activity.overdue(150, &limits, true), Some(Overdue::Idle));
        assert_eq!(activity.overdue(1 << 40, &Limits { idle_ms_max: 0, ..limits }, true), None);

        activity.reads(false, 50);
        assert_eq!(activity.overdue(49 + RECORD_STALL_MS_MAX, &limits, true), None);
        assert_eq!(activity.overdue(50 + RECORD_STALL_MS_MAX, &limits, false), Some(Overdue::RecordStalled));
        activity.reads_not();
        assert_eq!(activity.overdue(1 << 40, &limits, true), None);

        // A byte now and then does not keep a record alive.
        activity.reads(true, 100);
        let mut now_ms = 200;
        activity.reads(false, now_ms);
        while now_ms + 20_000 < 200 + RECORD_MS_MAX {
            now_ms += 20_000;
            activity.reads_not();
            activity.reads(false, now_ms);
            assert_eq!(activity.overdue(now_ms, &limits, false), None);
        }
        assert_eq!(activity.overdue(200 + RECORD_MS_MAX, &limits, false), Some(Overdue::RecordLate));
        // A busy stream: each read completes a record and ends inside the next one.
        for read in 0..10 {
            now_ms = 200 + read * RECORD_MS_MAX / 2;
            activity.reads_not();
            activity.record_completed();
            activity.reads(false, now_ms);
            assert_eq!(activity.overdue(now_ms + 1_000, &limits, false), None);
        }
        activity.reads_not();
        activity.record_completed();

        activity.writes(7);
        assert_eq!(activity.overdue(6 + WRITE_STALL_MS_MAX, &limits, true), None);
        assert_eq!(activity.overdue(7 + WRITE_STALL_MS_MAX, &limits, false), Some(Overdue::WriteStalled));
        activity.writes_not();
        assert_eq!(activity.overdue(1 << 40, &limits, true), None);
        assert_eq!(watch_period_ms(&limits), 25);

        // Nor does a byte now and then keep a message, and the next one has its own time.
        let mut now_ms = 1_000;
        activity.writes(now_ms);
        while now_ms + 20_000 < 1_000 + MESSAGE_MS_MAX {
            now_ms += 20_000;
            activity.writes(now_ms);
            assert_eq!(activity.overdue(now_ms, &limits, false), None);
        }
        assert_eq!(activity.overdue(1_000 + MESSAGE_MS_MAX, &limits, false), Some(Overdue::WriteLate));
        activity.message_written();
        activity.writes(now_ms);
        assert_eq!(activity.overdue(1_000 + MESSAGE_MS_MAX, &limits, false), None);
        let slow = |now_ms| (activity.is_slow(now_ms).to_send, activity.is_slow(now_ms).to_take);
        assert_eq!(slow(now_ms + PRESSED_STALL_MS_MAX - 1), (false, false));
        assert_eq!(slow(now_ms + PRESSED_STALL_MS_MAX), (false, true));
        activity.reads(false, now_ms);
        activity.writes_not();
        assert_eq!(slow(now_ms + PRESSED_STALL_MS_MAX), (true, false));
    }
}
