//! Finds the byte ranges of a file that overlap with a range: an interval tree in the ordered
//! store. Reads only.
//!
//! A range is at the node that is the smallest aligned power of two of bytes that contains it:
//! `level` is the power, `base` the node's first byte. All ranges at a node above level 0 contain
//! both bytes beside its middle. So a search finds those that reach a point below the middle by
//! their first bytes (side 0), and those above it by their last bytes (side 1, the largest first).
//! A search visits, at each level that has any, two nodes and the whole ones between them.
//!
//! INVARIANT: a search reads the ranges that it returns, and at most one more at each of these
//! nodes.
//! Spec: docs/formats/state.md, locks.

use std::ops::ControlFlow;

use mds_namespace::{Ino, StoreError, View};

use crate::command::Refusal;
use crate::key::{self, OTHER_BYTES};
use crate::lock_ranges::{self, HeldRange, Span};
use crate::record::{FileLocks, LockRecord, Ranges};
use crate::values::{list, read};

/// Entries by their first bytes.
pub(crate) const BY_FIRST: u8 = 0;
/// Entries by the complement of their last bytes: the largest comes first.
pub(crate) const BY_LAST: u8 = 1;

/// Gets each range that a search finds: the lock stateid that holds it, and the range.
type Found<'a> = &'a mut dyn FnMut([u8; OTHER_BYTES], HeldRange) -> ControlFlow<()>;

/// The node of a range.
pub(crate) fn node(first: u64, last: u64) -> (u8, u64) {
    let level = 64 - (first ^ last).leading_zeros();
    let level = u8::try_from(level).expect("64 at most");
    let base = base(first, level);
    assert!(base == self::base(last, level), "a node contains its whole range");
    assert!(base <= first.min(last), "a node begins before its range");
    (level, base)
}

/// The first byte of the node of a level that contains a byte.
fn base(byte: u64, level: u8) -> u64 {
    byte.checked_shr(u32::from(level)).and_then(|high| high.checked_shl(u32::from(level))).unwrap_or(0)
}

/// Passes the ranges of other lock stateids than `own` that a lock would conflict with, until
/// `found` breaks.
pub(crate) fn conflicts(
    view: &dyn View,
    ino: Ino,
    span: Span,
    exclusive: bool,
    own: Option<[u8; OTHER_BYTES]>,
    found: Found<'_>,
) -> Result<(), Refusal> {
    let Some(locks) = read::<FileLocks>(view, &key::file_locks(ino))? else {
        return conflicts_within(view, ino, span, exclusive, own, found);
    };
    let mut of_others = |other, range| {
        if Some(other) == own { ControlFlow::Continue(()) } else { found(other, range) }
    };
    let kinds: &[bool] = if exclusive { &[true, false] } else { &[true] };
    for exclusive in kinds {
        for level in locks.levels(*exclusive).keys() {
            let tree = Level { view, ino, exclusive: *exclusive, level: *level };
            if tree.overlapping(span, &mut of_others)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// As [`conflicts`], for a file whose records all contain their ranges.
fn conflicts_within(
    view: &dyn View,
    ino: Ino,
    span: Span,
    exclusive: bool,
    own: Option<[u8; OTHER_BYTES]>,
    found: Found<'_>,
) -> Result<(), Refusal> {
    for lock in list::<LockRecord>(view, &key::locks(ino))? {
        let Ranges::Within(ranges) = &lock.ranges else { return Err(corrupt("lock without a sum").into()) };
        let in_the_way = lock_ranges::conflict(ranges, span, exclusive).filter(|_| Some(lock.other) != own);
        if in_the_way.is_some_and(|range| found(lock.other, range).is_break()) {
            return Ok(());
        }
    }
    Ok(())
}

/// The ranges of one lock stateid that overlap with a span, or touch it, in order.
pub(crate) fn neighbours(
    view: &dyn View,
    ino: Ino,
    other: &[u8; OTHER_BYTES],
    span: Span,
) -> Result<Vec<HeldRange>, Refusal> {
    let from = key::range(ino, other, span.first.saturating_sub(1));
    let mut found = Vec::new();
    mds_namespace::store::scan(view, &from, &key::after(&key::ranges(ino, other)), |key, value| {
        let range = held(key, value)?;
        if span.last.saturating_add(1) < range.first {
            return Ok(ControlFlow::Break(()));
        }
        found.push(range);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    debug_assert!(
        found.windows(2).all(|pair| pair[0].last < pair[1].first),
        "the ranges of a stateid are sorted and disjoint"
    );
    Ok(found)
}

/// All ranges of one lock stateid.
pub(crate) fn ranges(view: &dyn View, ino: Ino, lock: &LockRecord) -> Result<Vec<HeldRange>, Refusal> {
    match &lock.ranges {
        Ranges::Within(ranges) => Ok(ranges.clone()),
        Ranges::Apart(_) => neighbours(view, ino, &lock.other, Span { first: 0, last: u64::MAX }),
    }
}

/// The value of a range's key: its first byte, and its kind.
pub(crate) fn range_value(range: HeldRange) -> Vec<u8> {
    let mut value = range.first.to_be_bytes().to_vec();
    value.push(u8::from(range.exclusive));
    value
}

fn held(key: &[u8], value: &[u8]) -> Result<HeldRange, StoreError> {
    let parts = || {
        let (first, kind) = value.split_first_chunk::<8>()?;
        let (first, last) = (u64::from_be_bytes(*first), key::parse_range(key)?);
        let exclusive = match kind {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        (first <= last).then_some(HeldRange { first, last, exclusive })
    };
    parts().ok_or_else(|| corrupt("locked range"))
}

const fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt(what)
}

/// One level of a file's tree of one kind.
struct Level<'a> {
    view: &'a dyn View,
    ino: Ino,
    exclusive: bool,
    level: u8,
}

impl Level<'_> {
    fn overlapping(&self, span: Span, found: Found<'_>) -> Result<ControlFlow<()>, Refusal> {
        let (first, last) = (base(span.first, self.level), base(span.last, self.level));
        if self.at_node(first, span, found)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if first == last {
            return Ok(ControlFlow::Continue(()));
        }
        assert!(first < last, "nodes are in the order of the ends of a span");
        assert!(self.level < 64, "the highest level has one node");
        // Nodes between these two are completely inside the span. The level has two nodes at least,
        // so it is not the 64th.
        let from = self.key(BY_FIRST, first + (1_u64 << self.level), 0);
        if self.scan(BY_FIRST, &from, &self.key(BY_FIRST, last, 0), found)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.at_node(last, span, found)
    }

    fn at_node(&self, base: u64, span: Span, found: Found<'_>) -> Result<ControlFlow<()>, Refusal> {
        let middle = base | 1_u64.checked_shl(u32::from(self.level).wrapping_sub(1)).unwrap_or(0);
        // The point up to which its entries overlap.
        let (side, point) = if self.level == 0 || (span.first < middle && middle <= span.last) {
            (BY_FIRST, u64::MAX)
        } else if span.last < middle {
            (BY_FIRST, span.last)
        } else {
            (BY_LAST, !span.first)
        };
        let mut to = self.key(side, base, point);
        to.extend_from_slice(&[0xff; OTHER_BYTES]);
        self.scan(side, &self.key(side, base, 0), &to, found)
    }

    fn key(&self, side: u8, base: u64, point: u64) -> Vec<u8> {
        key::span(self.ino, self.exclusive, self.level, side, base, point)
    }

    fn scan(&self, side: u8, from: &[u8], to: &[u8], found: Found<'_>) -> Result<ControlFlow<()>, Refusal> {
        let mut flow = ControlFlow::Continue(());
        mds_namespace::store::scan(self.view, from, to, |key, value| {
            let end = value.try_into().map(u64::from_be_bytes);
            let (Some((point, other)), Ok(end)) = (key::parse_span(key), end) else {
                return Err(corrupt("entry of a lock tree"));
            };
            let (first, last) = if side == BY_FIRST { (point, end) } else { (end, !point) };
            flow = found(other, HeldRange { first, last, exclusive: self.exclusive });
            Ok(flow)
        })?;
        Ok(flow)
    }
}
