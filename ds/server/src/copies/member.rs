//! One backup of one extent, as its home sees it: what it surely has, what it may lack, and what to
//! do next.
//!
//! Pure: calls are made elsewhere, and what comes of them is told here. A record is known by its
//! sequence.
//!
//! INVARIANT: a sequence that was given out and is not known to be on the backup's stable storage
//! is at or above one of `missing_from`, `telling_from`, `unsynced_from`, `flushing_from`, or is in
//! flight; or everything is to be said again (`overlay`).
//! Spec: docs/protocol/replicate.md §2.

use std::collections::BTreeSet;

use layout::{DataServerId, Epoch};

use crate::limits::BACKUP_STALL_MS_MAX;

/// What to do for a backup next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is left to do, or others are at it.
    Rest,
    /// Ask a metadata server who keeps the extent.
    Ask,
    /// Tell it that the backup is lost.
    Lost,
    /// Tell it that the backup holds everything.
    Filled,
    /// Take up the extent with the backup.
    Attach,
    /// Say everything again, above what the backup has.
    Overlay { floor: u64 },
    /// Say what it may lack.
    Delta { from: u64 },
    /// Have it make durable what it took.
    Flush,
}

/// What ATTACH found, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The backup's instance.
    pub(crate) instance: u64,
    /// The highest sequence it has.
    pub(crate) theirs: u64,
    /// The highest that was given here.
    pub(crate) ours: u64,
}

/// One backup of one extent.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) server: DataServerId,
    /// Epoch at which it became a backup; 0: not told yet.
    pub(crate) since: Epoch,
    /// The metadata servers do not count on it yet.
    pub(crate) filling: bool,
    /// It came while writes went on: nothing it holds is known.
    joined_late: bool,
    attached: Option<u64>,
    /// Once attached, what we know of it is ours; before, only the sequences tell.
    known: bool,
    overlay: Option<u64>,
    missing_from: Option<u64>,
    /// What was missing is being said again from here on.
    telling_from: Option<u64>,
    unsynced_from: Option<u64>,
    flushing_from: Option<u64>,
    in_flight: BTreeSet<u64>,
    /// It refused our epoch.
    outdated: bool,
    /// It has no room.
    pub(crate) full: bool,
    failing_since_ms: Option<u64>,
    /// As before, but not ended by an ATTACH alone: a backup may answer and keep nothing.
    idle_since_ms: Option<u64>,
}

fn lower(place: &mut Option<u64>, sequence: u64) {
    *place = Some(place.map_or(sequence, |known| known.min(sequence)));
}

impl Member {
    /// A backup that is named for the first time. `joins_late` if the home has taken writes without
    /// it.
    pub(crate) fn new(server: DataServerId, since: Epoch, filling: bool, joins_late: bool) -> Self {
        Self {
            server,
            since,
            filling,
            joined_late: joins_late,
            attached: None,
            known: false,
            overlay: None,
            missing_from: None,
            telling_from: None,
            unsynced_from: None,
            flushing_from: None,
            in_flight: BTreeSet::new(),
            outdated: false,
            full: false,
            failing_since_ms: None,
            idle_since_ms: None,
        }
    }

    /// The instance to show it, if records may be sent at once.
    pub(crate) fn instance(&self) -> Option<u64> {
        self.attached
    }

    /// A record is on its way. If it cannot be sent now, it is missing.
    pub(crate) fn sends(&mut self, sequence: u64) -> Option<u64> {
        match self.attached {
            Some(_) => drop(self.in_flight.insert(sequence)),
            None => lower(&mut self.missing_from, sequence),
        }
        self.attached
    }

    /// The backup has taken the record; `stable` if it is on stable storage there.
    pub(crate) fn took(&mut self, sequence: u64, stable: bool) {
        self.in_flight.remove(&sequence);
        self.well();
        if !stable {
            lower(&mut self.unsynced_from, sequence);
        }
    }

    /// The record did not get there, or nobody knows.
    pub(crate) fn missed(&mut self, sequence: u64) {
        self.in_flight.remove(&sequence);
        lower(&mut self.missing_from, sequence);
    }

    /// What there is to do. `flush` if somebody waits for stable storage.
    pub(crate) fn step(&self, flush: bool, now_ms: u64) -> Step {
        let for_ms = |since: Option<u64>, ms: u64| since.is_some_and(|since| since + ms <= now_ms);
        let failing = for_ms(self.failing_since_ms, BACKUP_STALL_MS_MAX)
            || for_ms(self.idle_since_ms, 2 * BACKUP_STALL_MS_MAX);
        if failing || (self.full && self.filling) {
            return Step::Lost;
        }
        if self.outdated || (self.filling && self.since == Epoch(0)) {
            return Step::Ask;
        }
        if self.attached.is_none() {
            return Step::Attach;
        }
        if let Some(floor) = self.overlay {
            return Step::Overlay { floor };
        }
        if let Some(from) = self.missing_from {
            return Step::Delta { from };
        }
        if self.unsynced_from.is_some() && (flush || self.filling) {
            return Step::Flush;
        }
        if self.filling && self.flushing_from.is_none() {
            return Step::Filled;
        }
        Step::Rest
    }

    /// ATTACH was answered.
    pub(crate) fn attach(&mut self, found: &Found) {
        self.failing_since_ms = None;
        self.full = false;
        if self.known {
            // It was started again: what it had not made durable may be gone.
            if let Some(lost) = self.unsynced_from.take() {
                lower(&mut self.missing_from, lost);
            }
        } else if self.filling || self.joined_late || found.ours < found.theirs {
            self.overlay = Some(found.theirs);
        } else if found.theirs < found.ours {
            lower(&mut self.missing_from, found.theirs + 1);
        }
        if let Some(floor) = &mut self.overlay {
            *floor = found.theirs.max(*floor);
        }
        self.known = true;
        self.attached = Some(found.instance);
        if self.overlay.is_none() && self.missing_from.is_none() && self.unsynced_from.is_none() {
            self.well();
        }
    }

    /// Something that it took is bad there.
    pub(crate) fn say_again(&mut self) {
        self.overlay.get_or_insert(0);
    }

    /// An overlay begins: everything known to be missing by now is part of it.
    pub(crate) fn begin_overlay(&mut self) {
        self.missing_from = None;
    }

    /// Everything was said with sequences from `from` on.
    pub(crate) fn overlaid(&mut self, from: u64) {
        self.well();
        self.overlay = None;
        self.joined_late = false;
        lower(&mut self.unsynced_from, from);
    }

    /// A delta begins: what becomes missing from now on is another one's.
    pub(crate) fn begin_delta(&mut self) {
        self.telling_from = self.missing_from.take();
    }

    /// What was missing from `from` on was said again.
    pub(crate) fn caught_up(&mut self, from: u64) {
        self.well();
        self.telling_from = None;
        lower(&mut self.unsynced_from, from);
    }

    /// A flush begins.
    pub(crate) fn begin_flush(&mut self) {
        self.flushing_from = self.unsynced_from.take();
    }

    /// It was answered.
    pub(crate) fn flushed(&mut self) {
        self.well();
        self.flushing_from = None;
    }

    /// A call, begun at `began_ms`, brought nothing; what a step was about is to be done again.
    pub(crate) fn failed(&mut self, step: Step, fault: Fault, began_ms: u64) {
        match step {
            Step::Delta { from } => {
                self.telling_from = None;
                lower(&mut self.missing_from, from);
            }
            Step::Flush => {
                if let Some(lost) = self.flushing_from.take() {
                    lower(&mut self.unsynced_from, lost);
                }
            }
            _ => {}
        }
        match fault {
            Fault::Outdated => {
                self.outdated = true;
                self.idle_since_ms.get_or_insert(began_ms);
            }
            Fault::Full => self.full = true,
            Fault::Restarted => self.detach(),
            Fault::Unreadable => {}
            // What the journal here says is hidden there: only saying everything again, above it,
            // helps.
            Fault::OtherImage if matches!(step, Step::Delta { .. }) => self.say_again(),
            Fault::OtherImage => {}
            Fault::Silent => {
                self.detach();
                self.failing_since_ms.get_or_insert(began_ms);
                self.idle_since_ms.get_or_insert(began_ms);
            }
        }
    }

    /// A metadata server has told the copies again, and this backup is among them.
    pub(crate) fn told(&mut self, since: Epoch, filling: bool) {
        if self.outdated {
            self.outdated = false;
            self.detach();
        }
        self.since = since;
        self.filling = filling;
    }

    /// It was called lost, and stays a backup: it may have come back, and is tried again.
    pub(crate) fn kept(&mut self) {
        self.failing_since_ms = None;
        self.idle_since_ms = None;
    }

    /// Whether every record up to `sequence` is on the backup's stable storage, and the metadata
    /// servers know of it.
    pub(crate) fn is_stable(&self, sequence: u64) -> bool {
        let above = |place: Option<u64>| place.is_none_or(|from| sequence < from);
        self.attached.is_some()
            && self.known
            && !self.filling
            && self.overlay.is_none()
            && above(self.missing_from)
            && above(self.telling_from)
            && above(self.unsynced_from)
            && above(self.flushing_from)
            && above(self.in_flight.first().copied())
    }

    /// Nothing is under way or left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_stable(u64::MAX - 1) && self.failing_since_ms.is_none()
    }

    fn detach(&mut self) {
        self.attached = None;
    }

    fn well(&mut self) {
        self.failing_since_ms = None;
        self.idle_since_ms = None;
        self.full = false;
    }
}

/// What went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No answer in time, no connection, or a disk that failed.
    Silent,
    /// The backup was started again since ATTACH.
    Restarted,
    /// The backup knows a higher epoch.
    Outdated,
    /// The backup has no room.
    Full,
    /// The backup's journal says another image above the one it was told.
    OtherImage,
    /// A journal, ours or the backup's, does not give what is asked of it; its scrub sees to that.
    Unreadable,
}

#[cfg(test)]
mod tests;
