//! Byte ranges of one lock-owner on one file: POSIX split, merge and conflict. Pure.
//!
//! INVARIANT: a list of held ranges is sorted, its ranges do not overlap, and two that touch differ
//! in kind.
//! Spec: RFC 8881 §9.3 (upgrade and downgrade by locking again), §18.10.3 and §18.12.3 (ranges).

use serde::{Deserialize, Serialize};

use crate::command::lock::Range;

/// A range with both ends inclusive, so that it can name the last byte there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
}

impl Span {
    /// The bytes a range names; `None` if it is empty or ends beyond the last byte there can be.
    #[must_use]
    pub fn of(range: Range) -> Option<Self> {
        match range.length_bytes {
            0 => None,
            // RFC 8881 §18.10.3: all ones means to the end of the file, however long it will be.
            u64::MAX => Some(Self { first: range.offset_bytes, last: u64::MAX }),
            length => {
                // The end itself must fit 64 bits, too.
                let end = range.offset_bytes.checked_add(length)?;
                assert!(range.offset_bytes < end, "a range ends behind its beginning");
                Some(Self { first: range.offset_bytes, last: end - 1 })
            }
        }
    }
}

/// A range that is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRange {
    /// First byte.
    pub first: u64,
    /// Last byte, inclusive.
    pub last: u64,
    /// A write lock; else a read lock.
    pub exclusive: bool,
}

impl HeldRange {
    /// The range in the form of NFS.
    #[must_use]
    pub fn range(&self) -> Range {
        let length_bytes = if self.last == u64::MAX { u64::MAX } else { self.last - self.first + 1 };
        Range { offset_bytes: self.first, length_bytes }
    }

    fn overlaps(&self, span: Span) -> bool {
        self.first <= span.last && span.first <= self.last
    }
}

/// The first held range that a lock of another owner over `span` would conflict with.
#[must_use]
pub fn conflict(held: &[HeldRange], span: Span, exclusive: bool) -> Option<HeldRange> {
    held.iter().find(|range| range.overlaps(span) && (exclusive || range.exclusive)).copied()
}

/// Removes `span` and returns the rest.
#[must_use]
pub fn unlock(held: &[HeldRange], span: Span) -> Vec<HeldRange> {
    let mut left = Vec::with_capacity(held.len() + 1);
    for range in held {
        if !range.overlaps(span) {
            left.push(*range);
            continue;
        }
        if range.first < span.first {
            left.push(HeldRange { last: span.first - 1, ..*range });
        }
        if span.last < range.last {
            left.push(HeldRange { first: span.last + 1, ..*range });
        }
    }
    debug_assert!(left.iter().all(|range| !range.overlaps(span)), "nothing is held there");
    debug_assert!(left.len() <= held.len() + 1, "at most one range is split");
    left
}

/// Locks `span` in place of what the owner held there.
#[must_use]
pub fn lock(held: &[HeldRange], span: Span, exclusive: bool) -> Vec<HeldRange> {
    assert!(span.first <= span.last, "a span is not empty");
    let mut ranges = unlock(held, span);
    let at = ranges.partition_point(|range| range.first < span.first);
    ranges.insert(at, HeldRange { first: span.first, last: span.last, exclusive });
    let mut merged: Vec<HeldRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(before) if before.exclusive == range.exclusive && touches(before, &range) => {
                before.last = range.last
            }
            _ => merged.push(range),
        }
    }
    assert!(
        merged.windows(2).all(|pair| pair[0].last < pair[1].first),
        "held ranges are sorted and disjoint"
    );
    debug_assert!(
        merged.iter().any(|range| {
            range.exclusive == exclusive && range.first <= span.first && span.last <= range.last
        }),
        "one range holds all that was locked"
    );
    merged
}

fn touches(before: &HeldRange, range: &HeldRange) -> bool {
    before.last.checked_add(1) == Some(range.first)
}

#[cfg(test)]
mod tests;
