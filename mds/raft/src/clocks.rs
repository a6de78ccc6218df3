//! The time by more clocks than this node's own: also by those of the other nodes and of data
//! servers. A single wrong clock dates no file. No clock and no network here: the caller passes
//! readings.
//!
//! Clocks are compared as *bases*: the wall clock's time minus this node's monotonic clock at that
//! moment. A wall clock that is not set keeps its base; one that is set jumps.
//!
//! 1. Where a majority of the clocks read lately, and as many as a majority of the nodes, lie
//!    within [`CLOCK_AGREE_NS`] of the lower median, that median is the *reference*.
//! 2. This node's clock counts if it is within [`CLOCK_AGREE_NS`] of the reference, or if there is
//!    none; else the reference counts. Among several nodes the lower median counts until the first
//!    reference; the time of the log's last entry is one of the clocks then.
//! 3. The time that counts does not jump: a step of more than [`CLOCK_AGREE_NS`] counts only after
//!    [`CLOCK_STEP_HOLD_MS`]. A new reference counts at once.
//!
//! INVARIANT: times for ordering or leases never come from here: safety needs no wall clock.
//! Spec: docs/protocol/raft.md, Clocks.

use std::collections::BTreeMap;

use crate::limits::{
    CLOCK_AGREE_NS, CLOCK_BACK_NS_MIN, CLOCK_LEAD_NS_MAX, CLOCK_READING_MS_MAX, CLOCK_STEP_HOLD_MS,
    CLOCKS_MAX,
};

/// A clock that is compared with this node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// Of a metadata server, by number.
    Node(u64),
    /// Of a data server, by number.
    DataServer(u32),
}

/// This node's clocks, read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Monotonic, including the time for which the machine was suspended.
    pub(crate) monotonic_ns: u64,
    pub(crate) wall_ns: u64,
}

impl Reading {
    fn base(self) -> i128 {
        i128::from(self.wall_ns) - i128::from(self.monotonic_ns)
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    base: i128,
    at_ns: u64,
}

/// The clocks that a node knows.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    heard: BTreeMap<Witness, Heard>,
    /// Base of the time that counts; `None` before the first call of `now`.
    base: Option<i128>,
    /// The last call of `now` had a reference.
    had_reference: bool,
    /// A call of `now` had a reference.
    is_settled: bool,
    /// Since when the target is far from the base that counts.
    stepped_ns: Option<u64>,
    /// Base of a clock that showed the time of the log's last entry when that entry was read.
    log_base: Option<i128>,
}

impl Clocks {
    /// Records a clock's reading, taken between `sent_ns` and now on this node's monotonic clock.
    pub(crate) fn record(&mut self, witness: Witness, sent_ns: u64, now_ns: u64, wall_ns: u64) {
        // The moment of a reading that took long is too uncertain. A negative duration is no
        // measurement: suspensions are counted in milliseconds.
        let Some(took_ns) = now_ns.checked_sub(sent_ns).filter(|took_ns| *took_ns <= CLOCK_AGREE_NS) else {
            return;
        };
        if CLOCKS_MAX <= self.heard.len() && !self.heard.contains_key(&witness) {
            return;
        }
        let middle_ns = sent_ns + took_ns / 2;
        assert!((sent_ns..=now_ns).contains(&middle_ns), "it is between query and answer");
        let base = i128::from(wall_ns) - i128::from(middle_ns);
        self.heard.insert(witness, Heard { base, at_ns: now_ns });
        assert!(self.heard.len() <= CLOCKS_MAX, "a bounded number of clocks is remembered");
    }

    /// Records the time of the log's last entry, nanoseconds since 1970, by the clocks that counted
    /// when it was made.
    pub(crate) fn record_log_time(&mut self, entry_ns: u64, now_ns: u64) {
        self.log_base = Some(i128::from(entry_ns) - i128::from(now_ns));
    }

    /// Whether there was a reference since this node started.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// The time, nanoseconds since 1970. `nodes` are the metadata servers of the cluster.
    pub(crate) fn now(&mut self, nodes: usize, reading: Reading) -> u64 {
        let (own, now_ns) = (reading.base(), reading.monotonic_ns);
        self.heard.retain(|_, heard| now_ns < heard.at_ns.saturating_add(CLOCK_READING_MS_MAX * 1_000_000));
        let reference = self.reference(nodes, own);
        let had_reference = std::mem::replace(&mut self.had_reference, reference.is_some());
        self.is_settled |= reference.is_some();
        // A node that has just started cannot judge its own clock: an early time is better than a
        // late one, which would stay in files. With the log two clocks that differ become three, so
        // that neither of them decides alone.
        let is_fresh = 1 < nodes && !self.is_settled;
        let target = match reference {
            Some(reference) if !agrees(own, reference) => reference,
            None if is_fresh => self.first_guess(own),
            _ => own,
        };
        let is_new = is_fresh || (reference.is_some() && !had_reference);
        let before = self.base.unwrap_or(target);
        let held_ns = CLOCK_STEP_HOLD_MS * 1_000_000;
        let is_believed = is_new
            || agrees(target, before)
            || now_ns.saturating_sub(*self.stepped_ns.get_or_insert(now_ns)) >= held_ns;
        let base = if is_believed {
            self.stepped_ns = None;
            target
        } else {
            before
        };
        assert!(agrees(base, target) || self.stepped_ns.is_some(), "a step that is held is timed");
        self.base = Some(base);
        shown(base, now_ns)
    }

    /// The time by the last call of `now`, nanoseconds since 1970; `None` before the first.
    pub(crate) fn shown(&self, monotonic_ns: u64) -> Option<u64> {
        self.base.map(|base| shown(base, monotonic_ns))
    }

    /// How far this node's clock is ahead of the time that counts, nanoseconds.
    pub(crate) fn off_ns(&self, reading: Reading) -> i64 {
        self.base.map_or(0, |base| difference(reading.base(), base))
    }

    /// How far each of the other clocks is ahead of the time that counts.
    pub(crate) fn others_off_ns(&self) -> Vec<(Witness, i64)> {
        let Some(base) = self.base else { return Vec::new() };
        self.heard.iter().map(|(witness, heard)| (*witness, difference(heard.base, base))).collect()
    }

    /// Whether a majority shows this node's clock so wrong that the node should not lead.
    pub(crate) fn is_unfit(&self, nodes: usize, reading: Reading) -> bool {
        let own = reading.base();
        let reference = self.reference(nodes, own);
        1 < nodes && reference.is_some_and(|reference| is_far(difference(own, reference)))
    }

    /// Nodes whose clocks are so wrong that they should not lead.
    pub(crate) fn unfit_nodes(&self) -> Vec<u64> {
        let unfit = |(witness, off_ns)| match witness {
            Witness::Node(node) if is_far(off_ns) => Some(node),
            _ => None,
        };
        self.others_off_ns().into_iter().filter_map(unfit).collect()
    }

    fn sorted(&self, others: impl IntoIterator<Item = i128>) -> Vec<i128> {
        let mut bases: Vec<i128> = self.heard.values().map(|heard| heard.base).chain(others).collect();
        bases.sort_unstable();
        bases
    }

    /// The base that counts on a node that has just started. Until it has another clock's reading,
    /// that is the log's time: early by as long as the node was down, and free of clocks that were
    /// set wrong meanwhile.
    fn first_guess(&self, own: i128) -> i128 {
        match self.log_base {
            Some(log) if self.heard.is_empty() => log,
            log => lower_median(&self.sorted([own].into_iter().chain(log))),
        }
    }

    fn reference(&self, nodes: usize, own: i128) -> Option<i128> {
        if self.heard.is_empty() {
            return None;
        }
        let bases = self.sorted([own]);
        let median = lower_median(&bases);
        let agreeing = bases.iter().filter(|base| agrees(**base, median)).count();
        assert!(0 < agreeing, "the median agrees with itself");
        (nodes.max(bases.len()) < 2 * agreeing).then_some(median)
    }
}

/// The time of the next entry, proposed at `now_ns` after one of `last_ns`. It never shows small
/// steps back, so that times of files follow the order of changes. From a time that was far too
/// late it steps back.
pub(crate) fn following(last_ns: u64, now_ns: u64) -> u64 {
    let next_ns =
        if last_ns.saturating_sub(now_ns) < CLOCK_BACK_NS_MIN { last_ns.max(now_ns) } else { now_ns };
    assert!(now_ns <= next_ns, "no time is before the clock's");
    assert!(next_ns - now_ns < CLOCK_BACK_NS_MIN, "no time is far ahead of the clock's");
    next_ns
}

fn lower_median(sorted: &[i128]) -> i128 {
    assert!(!sorted.is_empty(), "this node's own clock is among them");
    debug_assert!(sorted.is_sorted(), "the median is in the middle");
    sorted[(sorted.len() - 1) / 2]
}

fn agrees(one: i128, other: i128) -> bool {
    one.abs_diff(other) <= u128::from(CLOCK_AGREE_NS)
}

fn is_far(off_ns: i64) -> bool {
    CLOCK_LEAD_NS_MAX < off_ns.unsigned_abs()
}

fn difference(ahead: i128, of: i128) -> i64 {
    i64::try_from(ahead - of).unwrap_or(if of < ahead { i64::MAX } else { i64::MIN })
}

fn shown(base: i128, now_ns: u64) -> u64 {
    u64::try_from((base + i128::from(now_ns)).max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
