//! One replica of one extent, as its primary sees it: what it surely has, what it may lack, and
//! what to do next.
//!
//! Pure: `drive` and `call` make the calls, and say here how these went. A record is known by its
//! sequence.
//!
//! INVARIANT: a sequence that was given out and is not known to be on the replica's stable storage
//! is at or above one of `missing_from`, `telling_from`, `unsynced_from`, `flushing_from`, or is in
//! flight; or the primary is to send everything again (`overlay`).
//! Spec: docs/protocol/replicate.md §2.

use std::collections::BTreeSet;

use layout::{DataServerId, Epoch};

use crate::limits::REPLICA_STALL_MS_MAX;

/// What the primary does for a replica next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: nothing is left to do, or records in flight do it.
    Rest,
    /// Ask a metadata server which servers keep the extent.
    Ask,
    /// Report to the metadata server that the replica is lost.
    Lost,
    /// Report to the metadata server that the replica holds everything.
    Filled,
    /// Attach the replica: ask what it has.
    Attach,
    /// Send everything again, above what the replica has.
    Overlay { floor: u64 },
    /// Send what the replica may lack.
    Delta { from: u64 },
    /// Have the replica make durable what it took.
    Flush,
}

/// What ATTACH found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The replica's instance.
    pub(crate) instance: u64,
    /// The highest sequence that the replica has.
    pub(crate) theirs: u64,
    /// The highest sequence that was given here.
    pub(crate) ours: u64,
}

/// One replica of one extent.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) server: DataServerId,
    /// Epoch at which it became a replica; 0: no metadata server has told it yet.
    pub(crate) since: Epoch,
    /// The metadata servers do not count on it yet.
    pub(crate) filling: bool,
    /// It joined while clients wrote: nothing that it holds is known.
    joined_late: bool,
    /// Its instance, once attached.
    attached: Option<u64>,
    /// It was attached once: the fields below say what it has. Before, only the sequences tell.
    known: bool,
    overlay: Option<u64>,
    missing_from: Option<u64>,
    /// The primary is sending what was missing from here on.
    telling_from: Option<u64>,
    unsynced_from: Option<u64>,
    flushing_from: Option<u64>,
    in_flight: BTreeSet<u64>,
    /// It refused the primary's epoch.
    outdated: bool,
    /// It has no room.
    pub(crate) full: bool,
    failing_since_ms: Option<u64>,
    /// As `failing_since_ms`, but an ATTACH alone does not end it: a replica may answer and keep
    /// nothing.
    idle_since_ms: Option<u64>,
}

fn lower(place: &mut Option<u64>, sequence: u64) {
    *place = Some(place.map_or(sequence, |known| known.min(sequence)));
    assert!(place.is_some_and(|from| from <= sequence), "a place covers its sequence");
}

impl Member {
    /// A replica that is named for the first time. `joins_late` if the primary has taken WRITEs
    /// without it.
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

    /// The instance that records name, if they may be sent at once.
    pub(crate) fn instance(&self) -> Option<u64> {
        self.attached
    }

    /// Notes a record on its way. If it cannot be sent now, it is missing.
    pub(crate) fn sends(&mut self, sequence: u64) -> Option<u64> {
        match self.attached {
            Some(_) => drop(self.in_flight.insert(sequence)),
            None => lower(&mut self.missing_from, sequence),
        }
        self.attached
    }

    /// Notes that the replica has taken a record; `stable` if it is on stable storage there.
    pub(crate) fn took(&mut self, sequence: u64, stable: bool) {
        self.in_flight.remove(&sequence);
        self.well();
        if !stable {
            lower(&mut self.unsynced_from, sequence);
        }
    }

    /// Notes that a record did not get there, or may not have.
    pub(crate) fn missed(&mut self, sequence: u64) {
        self.in_flight.remove(&sequence);
        lower(&mut self.missing_from, sequence);
        assert!(!self.is_stable(sequence), "a record that is missing is not stable");
    }

    /// What there is to do. `flush` if a request waits for stable storage.
    pub(crate) fn step(&self, flush: bool, now_ms: u64) -> Step {
        let for_ms = |since: Option<u64>, ms: u64| since.is_some_and(|since| since + ms <= now_ms);
        let failing = for_ms(self.failing_since_ms, REPLICA_STALL_MS_MAX)
            || for_ms(self.idle_since_ms, 2 * REPLICA_STALL_MS_MAX);
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

    /// Notes the answer to ATTACH.
    pub(crate) fn attach(&mut self, found: &Found) {
        self.failing_since_ms = None;
        self.full = false;
        let was_known = self.known;
        if was_known {
            // The replica was started again: what it had not made durable may be gone.
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
        let is_behind = found.theirs < found.ours;
        assert!(
            was_known || !is_behind || !self.is_stable(found.ours),
            "a replica that lacks an act is not stable"
        );
        if self.overlay.is_none() && self.missing_from.is_none() && self.unsynced_from.is_none() {
            self.well();
        }
    }

    /// Notes that something which the replica took is bad there: the primary sends everything
    /// again.
    pub(crate) fn say_again(&mut self) {
        self.overlay.get_or_insert(0);
        assert!(!self.is_stable(0), "a replica with bad bytes is not stable");
    }

    /// Begins an overlay, if records may be sent: everything known to be missing by now is part of
    /// it. Answers the instance that the records name.
    pub(crate) fn begin_overlay(&mut self) -> Option<u64> {
        let instance = self.attached?;
        self.missing_from = None;
        Some(instance)
    }

    /// Ends an overlay: everything was sent with sequences from `from` on.
    pub(crate) fn overlaid(&mut self, from: u64) {
        self.well();
        self.overlay = None;
        self.joined_late = false;
        lower(&mut self.unsynced_from, from);
    }

    /// Begins a delta, if records may be sent: what becomes missing from now on is part of a later
    /// one. Answers the instance that the records name.
    pub(crate) fn begin_delta(&mut self) -> Option<u64> {
        let instance = self.attached?;
        assert!(self.telling_from.is_none(), "one delta at a time");
        self.telling_from = self.missing_from.take();
        Some(instance)
    }

    /// Ends a delta: what was missing from `from` on was sent.
    pub(crate) fn caught_up(&mut self, from: u64) {
        self.well();
        self.telling_from = None;
        lower(&mut self.unsynced_from, from);
    }

    /// Begins a flush, if the replica is attached. Answers the instance that the call names.
    pub(crate) fn begin_flush(&mut self) -> Option<u64> {
        let instance = self.attached?;
        assert!(self.flushing_from.is_none(), "one flush at a time");
        self.flushing_from = self.unsynced_from.take();
        Some(instance)
    }

    /// Ends a flush: the replica has answered it.
    pub(crate) fn flushed(&mut self) {
        self.well();
        self.flushing_from = None;
    }

    /// Notes that a call, begun at `began_ms`, failed: what the step was to do is to be done again.
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
            // What the journal here says is hidden there: only sending everything again, above it,
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

    /// Notes that a metadata server has told the copies again, and that this replica is among them.
    pub(crate) fn told(&mut self, since: Epoch, filling: bool) {
        if self.outdated {
            self.outdated = false;
            self.detach();
        }
        self.since = since;
        self.filling = filling;
    }

    /// Notes that the primary reported it lost, and that it stays a replica: it may have come back,
    /// and is tried again.
    pub(crate) fn kept(&mut self) {
        self.failing_since_ms = None;
        self.idle_since_ms = None;
    }

    /// Whether every record up to `sequence` is on the replica's stable storage, and the metadata
    /// servers count on it.
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

    /// Whether nothing is under way or left to do.
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

/// Why a call to a replica failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No answer in time, no connection, or a disk that failed.
    Silent,
    /// The replica was started again since ATTACH.
    Restarted,
    /// The replica knows a higher epoch.
    Outdated,
    /// The replica has no room.
    Full,
    /// The replica's journal says another image above the one that it was sent.
    OtherImage,
    /// A journal, ours or the replica's, does not give what is asked of it; its scrub sees to that.
    Unreadable,
}

#[cfg(test)]
mod tests;
