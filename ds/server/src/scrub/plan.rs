//! Decides what the scrub checks next, and when: from the time, from what there is, and from how
//! far the scrub is. Reads nothing.
//!
//! A round goes through the images in the order of their ids, then through the extents of the
//! journal in theirs, spread over the whole period: each piece that was read is followed by a pause
//! as long as it takes to end the rest in the time that is left. A scrub that fell behind (clients
//! waited, the server was off) goes faster then, up to a bound. What was bad and could not be
//! repaired is checked again in between.
//!
//! INVARIANT: pauses add up to at least the time that the bytes would take at the bound. A clock
//! that jumps makes a round longer or shorter, once, and the pace never higher than that.
//! Spec: docs/protocol/seal.md §10; docs/formats/scrub.md.

use std::collections::BTreeMap;

use ds_image::ImageId;
use layout::ExtentId;

use super::progress::{Place, Progress};
use crate::limits::{
    SCRUB_AGAIN_MAX, SCRUB_AGAIN_MS, SCRUB_BUSY_PARTS, SCRUB_BYTES_PER_S_MIN, SCRUB_LOOK_MS,
};

const NS_PER_MS: u64 = 1_000_000;

/// How the scrub is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long a round should take.
    pub(crate) period_ms: u64,
    /// Never faster than this.
    pub(crate) bytes_per_s_max: u64,
}

/// Something that is checked as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Image(ImageId),
    Extent(ExtentId),
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing for so long; then ask again.
    Rest { ms: u64 },
    /// Check this, and report the outcome.
    Check(Target),
    /// Note that a round begins.
    Begin,
    /// Note that a round has ended.
    End,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Bad things that were found and repaired,
    pub(crate) repaired: u64,
    /// and that are as they were.
    pub(crate) bad: u64,
}

/// The time, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Tells when rounds are due: it goes on while the server is off.
    pub(crate) unix_ns: u64,
    /// Tells when to check again what is bad.
    pub(crate) ms: u64,
}

/// What there is to check.
pub(crate) trait Stock {
    /// The image with the lowest id above this one.
    fn image_after(&mut self, after: Option<ImageId>) -> Option<ImageId>;
    /// The lowest extent above this one of which the journal says anything.
    fn extent_after(&mut self, after: Option<ExtentId>) -> Option<ExtentId>;
}

/// The plan: a state machine over rounds.
#[derive(Debug)]
pub(crate) struct Plan {
    settings: Settings,
    progress: Progress,
    /// What is bad: how many things, and when it is checked again.
    again: BTreeMap<Target, (u64, u64)>,
    /// The last step was to check something again.
    took_again: bool,
    owed_us: u64,
}

impl Plan {
    pub(crate) fn new(settings: Settings, progress: Progress) -> Self {
        let bytes_per_s_max = settings.bytes_per_s_max.max(SCRUB_BYTES_PER_S_MIN);
        let settings = Settings { bytes_per_s_max, ..settings };
        Self { settings, progress, again: BTreeMap::new(), took_again: false, owed_us: 0 }
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Per cent of the round, of `stock_bytes` in all; 100 between two, 0 before the first.
    pub(crate) fn percent(&self, stock_bytes: u64) -> u32 {
        let Progress { place, checked_bytes, ended_unix_ns, .. } = self.progress;
        if place == Place::Between {
            return if ended_unix_ns == 0 { 0 } else { 100 };
        }
        let parts = u128::from(checked_bytes) * 100 / u128::from(stock_bytes.max(1));
        u32::try_from(parts.min(99)).expect("at most 99")
    }

    /// Decides what to do now. What is checked again takes turns with what comes next: neither
    /// waits for the other's end.
    pub(crate) fn next_step(&mut self, now: Now, stock: &mut impl Stock) -> Step {
        self.anchor(now.unix_ns);
        let due = self.again.iter().map(|(target, (_, due_ms))| (*due_ms, *target)).min();
        let due = due.filter(|(due_ms, _)| *due_ms <= now.ms).map(|(_, target)| target);
        let is_its_turn = !std::mem::take(&mut self.took_again);
        if let Some(target) = due.filter(|_| is_its_turn) {
            self.took_again = true;
            return Step::Check(target);
        }
        match (self.next_of_round(now, stock), due) {
            (Step::Rest { .. }, Some(target)) => Step::Check(target),
            (step, _) => step,
        }
    }

    fn next_of_round(&mut self, now: Now, stock: &mut impl Stock) -> Step {
        loop {
            match self.progress.place {
                Place::Between => {
                    let left_ms = self.left_ms(now.unix_ns);
                    if self.progress.began_unix_ns != 0 && 0 < left_ms {
                        return Step::Rest { ms: self.rest_ms(left_ms, now.ms) };
                    }
                    self.begin_round(now.unix_ns);
                    return Step::Begin;
                }
                Place::Images(after) => match stock.image_after(after) {
                    Some(image) => return Step::Check(Target::Image(image)),
                    None => self.progress.place = Place::Journal(None),
                },
                Place::Journal(after) => match stock.extent_after(after) {
                    Some(extent) => return Step::Check(Target::Extent(extent)),
                    None => {
                        self.progress.place = Place::Between;
                        self.progress.ended_unix_ns = now.unix_ns.max(1);
                        self.progress.bad_before = self.progress.bad;
                        return Step::End;
                    }
                },
            }
        }
    }

    /// Notes bytes that were read; answers how long to pause. `stock_bytes` is all there is to
    /// check in a round.
    pub(crate) fn note_read(&mut self, unix_ns: u64, bytes: u64, stock_bytes: u64, is_busy: bool) -> u64 {
        let remaining = stock_bytes.saturating_sub(self.progress.checked_bytes);
        self.progress.checked_bytes = self.progress.checked_bytes.saturating_add(bytes);
        let most = self.settings.bytes_per_s_max;
        let spread = match self.left_ms(unix_ns) {
            0 => most,
            left_ms => u64::try_from(u128::from(remaining) * 1_000 / u128::from(left_ms)).unwrap_or(most),
        };
        let parts = if is_busy { SCRUB_BUSY_PARTS } else { 1 };
        let bytes_per_s = spread.clamp(SCRUB_BYTES_PER_S_MIN, most);
        self.owed_us = self.owed_us.saturating_add(bytes.saturating_mul(1_000_000 * parts) / bytes_per_s);
        let pause_ms = self.owed_us / 1_000;
        self.owed_us %= 1_000;
        assert!((SCRUB_BYTES_PER_S_MIN..=most).contains(&bytes_per_s), "the pace is bounded");
        pause_ms
    }

    /// Notes the outcome of a check.
    pub(crate) fn note_outcome(&mut self, target: Target, outcome: Outcome, now: Now) {
        let Outcome { repaired, bad } = outcome;
        let known = self.again.remove(&target).map(|(count, _)| count);
        // What was found before counts once.
        let found = (repaired + bad).saturating_sub(known.unwrap_or(0));
        let better = (known.unwrap_or(0) + found).saturating_sub(bad);
        let progress = &mut self.progress;
        progress.found += found;
        progress.repaired += better;
        progress.bad = (progress.bad + found).saturating_sub(better);
        if known.is_some() {
            progress.bad_before = progress.bad_before.saturating_sub(better);
        }
        assert!(better <= known.unwrap_or(0) + found, "no more is repaired than was bad");
        if 0 < bad && self.again.len() < SCRUB_AGAIN_MAX {
            self.again.insert(target, (bad, now.ms + SCRUB_AGAIN_MS));
        }
        assert!(self.again.len() <= SCRUB_AGAIN_MAX, "what is remembered to be bad is bounded");
        match (progress.place, target) {
            (Place::Images(after), Target::Image(image)) if after < Some(image) => {
                progress.place = Place::Images(Some(image));
            }
            (Place::Journal(after), Target::Extent(extent)) if after < Some(extent) => {
                progress.place = Place::Journal(Some(extent));
            }
            // What is checked again lies behind.
            _ => {}
        }
    }

    /// Adds a target that a request found bad: it is next, unless it is known to be bad and is
    /// checked again anyway.
    pub(crate) fn add_target(&mut self, target: Target, now: Now) {
        if self.again.len() < SCRUB_AGAIN_MAX {
            self.again.entry(target).or_insert((0, now.ms));
        }
    }

    /// Notes what was found around the targets, when the round had ended.
    pub(crate) fn note_structure(&mut self, outcome: Outcome) {
        let Outcome { repaired, bad } = outcome;
        let progress = &mut self.progress;
        progress.found += repaired + bad;
        progress.repaired += repaired;
        progress.bad += bad;
        progress.bad_before += bad;
    }

    fn begin_round(&mut self, unix_ns: u64) {
        let Progress { ended_unix_ns, bad, .. } = self.progress;
        let began_unix_ns = unix_ns.max(1);
        self.progress = Progress {
            place: Place::Images(None),
            began_unix_ns,
            ended_unix_ns,
            bad_before: bad,
            ..Progress::default()
        };
        // It is found again, and counted then.
        self.again.clear();
    }

    /// Moves the begin of the round to now if the wall clock was put back: the round must not last
    /// until the clock is where it was.
    fn anchor(&mut self, unix_ns: u64) {
        if unix_ns < self.progress.began_unix_ns {
            self.progress.began_unix_ns = unix_ns.max(1);
        }
        assert!(self.progress.began_unix_ns <= unix_ns.max(1), "a round began before now");
    }

    /// The rest of the period.
    fn left_ms(&self, unix_ns: u64) -> u64 {
        let gone_ms = unix_ns.saturating_sub(self.progress.began_unix_ns) / NS_PER_MS;
        self.settings.period_ms.saturating_sub(gone_ms)
    }

    fn rest_ms(&self, left_ms: u64, now_ms: u64) -> u64 {
        let due_ms = self.again.values().map(|(_, due_ms)| due_ms.saturating_sub(now_ms)).min();
        let rest_ms = left_ms.min(SCRUB_LOOK_MS).min(due_ms.unwrap_or(u64::MAX)).max(1);
        assert!((1..=SCRUB_LOOK_MS).contains(&rest_ms), "the scrub looks again in time");
        rest_ms
    }
}

#[cfg(test)]
mod tests;
