//! Writes locks so that the records, the ranges and the interval tree of a file agree.
//!
//! INVARIANT: a change of one range reads and writes only keys of that range and its neighbours,
//! however many other ranges the file has. A file whose records contain their ranges (version 1) is
//! converted whole, once.
//! Spec: docs/formats/state.md, locks.

use std::ops::ControlFlow;

use mds_namespace::{Ino, StoreError, Txn, View};

use super::table;
use crate::command::Refusal;
use crate::key::{self, OTHER_BYTES};
use crate::limits::{LOCKS_PER_FILE_MAX, RANGES_PER_CLIENT_MAX};
use crate::lock_ranges::{HeldRange, Span};
use crate::lock_tree::{self, BY_FIRST, BY_LAST};
use crate::record::{FileLocks, LockRecord, Ranges, StateKind};
use crate::values;

/// The file's lock records and their sum disagree.
const SUM_IS_WRONG: StoreError = StoreError::Corrupt("sum of locks");

/// The locks of one file. [`finish`](Self::finish) writes changes of the sum.
pub(super) struct LockTable {
    ino: Ino,
    sum: FileLocks,
}

impl LockTable {
    /// Opens the table of a file; converts a file of version 1.
    pub(super) fn open(txn: &mut dyn Txn, ino: Ino) -> Result<Self, Refusal> {
        if let Some(sum) = values::read(txn, &key::file_locks(ino))? {
            return Ok(Self { ino, sum });
        }
        let mut table = Self { ino, sum: FileLocks::default() };
        for mut lock in values::list::<LockRecord>(txn, &key::locks(ino))? {
            let Ranges::Within(ranges) = &lock.ranges else {
                return Err(StoreError::Corrupt("lock without a sum").into());
            };
            let ranges = ranges.clone();
            table.enter(txn, &lock)?;
            let count = table.replace(txn, &lock.other, &[], &ranges)?;
            table::count_ranges(txn, lock.client, count, u32::MAX)?;
            lock.ranges = Ranges::Apart(u32::try_from(ranges.len()).expect("a record has few ranges"));
            put_lock(txn, ino, &lock)?;
        }
        table.finish(txn)?;
        Ok(table)
    }

    /// Whether there is room for one more lock stateid.
    pub(super) fn check_room(&self) -> Result<(), Refusal> {
        if self.sum.lockers < LOCKS_PER_FILE_MAX { Ok(()) } else { Err(Refusal::TableFull) }
    }

    /// Counts a new lock stateid of the file, and files it under its open.
    pub(super) fn enter(&mut self, txn: &mut dyn Txn, lock: &LockRecord) -> Result<(), Refusal> {
        self.sum.lockers += 1;
        Ok(txn.put(&key::lock_under(self.ino, &lock.open, &lock.other), &[])?)
    }

    /// Changes the ranges of a lock stateid in a span. `change` gets the ranges there and beside
    /// it, and returns the new ones.
    /// Returns the record with its new number of ranges.
    pub(super) fn change(
        &mut self,
        txn: &mut dyn Txn,
        lock: LockRecord,
        span: Span,
        change: impl FnOnce(&[HeldRange]) -> Vec<HeldRange>,
    ) -> Result<LockRecord, Refusal> {
        let before = lock_tree::neighbours(txn, self.ino, &lock.other, span)?;
        let after = change(&before);
        debug_assert!(
            after.windows(2).all(|pair| pair[0].last < pair[1].first),
            "the ranges of a stateid are sorted and disjoint"
        );
        let delta = self.replace(txn, &lock.other, &before, &after)?;
        table::count_ranges(txn, lock.client, delta, RANGES_PER_CLIENT_MAX)?;
        let held = i64::try_from(lock.count()).ok().and_then(|count| u32::try_from(count + delta).ok());
        let held = held.ok_or(SUM_IS_WRONG)?;
        Ok(LockRecord { ranges: Ranges::Apart(held), ..lock })
    }

    /// Replaces ranges by others. Returns the difference of their numbers.
    fn replace(
        &mut self,
        txn: &mut dyn Txn,
        other: &[u8; OTHER_BYTES],
        before: &[HeldRange],
        after: &[HeldRange],
    ) -> Result<i64, Refusal> {
        for range in before.iter().filter(|range| !after.contains(range)) {
            txn.delete(&key::range(self.ino, other, range.last))?;
            let (level, keys) = self.tree_keys(other, *range);
            for (key, _) in keys {
                txn.delete(&key)?;
            }
            let levels = self.sum.levels_mut(range.exclusive);
            let left = levels.get(&level).and_then(|count| count.checked_sub(1)).ok_or(SUM_IS_WRONG)?;
            if left == 0 {
                levels.remove(&level);
            } else {
                levels.insert(level, left);
            }
        }
        for range in after.iter().filter(|range| !before.contains(range)) {
            txn.put(&key::range(self.ino, other, range.last), &lock_tree::range_value(*range))?;
            let (level, keys) = self.tree_keys(other, *range);
            for (key, end) in keys {
                txn.put(&key, &end.to_be_bytes())?;
            }
            *self.sum.levels_mut(range.exclusive).entry(level).or_default() += 1;
        }
        for exclusive in [false, true] {
            let levels = self.sum.levels(exclusive);
            debug_assert!(levels.values().all(|count| 0 < *count), "a listed level has ranges");
            debug_assert!(levels.keys().all(|level| *level <= 64), "there are 65 levels");
        }
        let count = |ranges: &[HeldRange]| i64::try_from(ranges.len()).expect("bounded");
        Ok(count(after) - count(before))
    }

    /// The level of a range in the tree, and its entries: key, and other end.
    fn tree_keys(&self, other: &[u8; OTHER_BYTES], range: HeldRange) -> (u8, [(Vec<u8>, u64); 2]) {
        let HeldRange { first, last, exclusive } = range;
        let (level, base) = lock_tree::node(first, last);
        let key = |side, point| key::span_of(key::span(self.ino, exclusive, level, side, base, point), other);
        (level, [(key(BY_FIRST, first), last), (key(BY_LAST, !last), first)])
    }

    /// Removes a lock stateid with its ranges.
    pub(super) fn remove(&mut self, txn: &mut dyn Txn, lock: &LockRecord) -> Result<(), Refusal> {
        let ranges = lock_tree::ranges(txn, self.ino, lock)?;
        let delta = self.replace(txn, &lock.other, &ranges, &[])?;
        table::count_ranges(txn, lock.client, delta, RANGES_PER_CLIENT_MAX)?;
        txn.delete(&key::lock_under(self.ino, &lock.open, &lock.other))?;
        txn.delete(&key::locker(self.ino, lock.client, &lock.owner))?;
        txn.delete(&key::lock(self.ino, &lock.other))?;
        let whole = Span { first: 0, last: u64::MAX };
        debug_assert!(
            lock_tree::neighbours(txn, self.ino, &lock.other, whole)?.is_empty(),
            "no range is left of a stateid that is gone"
        );
        self.sum.lockers = self.sum.lockers.checked_sub(1).ok_or(SUM_IS_WRONG)?;
        table::strike(txn, StateKind::Lock, lock.client, self.ino, &lock.other)
    }

    /// Writes the sum.
    pub(super) fn finish(&self, txn: &mut dyn Txn) -> Result<(), Refusal> {
        let is_free = self.sum.reads.is_empty() && self.sum.writes.is_empty();
        assert!(0 < self.sum.lockers || is_free, "ranges belong to stateids");
        let key = key::file_locks(self.ino);
        if self.sum.lockers == 0 { Ok(txn.delete(&key)?) } else { table::put(txn, &key, &self.sum) }
    }
}

/// Writes the record of a lock stateid.
pub(super) fn put_lock(txn: &mut dyn Txn, ino: Ino, lock: &LockRecord) -> Result<(), Refusal> {
    table::put(txn, &key::lock(ino, &lock.other), lock)
}

/// Removes the lock stateids under an open.
pub(super) fn drop_under(txn: &mut dyn Txn, ino: Ino, open: &[u8; OTHER_BYTES]) -> Result<(), Refusal> {
    let mut table = LockTable::open(txn, ino)?;
    if table.sum.lockers == 0 {
        return Ok(());
    }
    for other in under(txn, ino, open)? {
        let lock = values::read(txn, &key::lock(ino, &other))?.ok_or(Refusal::BadStateid)?;
        table.remove(txn, &lock)?;
    }
    debug_assert!(under(txn, ino, open)?.is_empty(), "no lock is left under an open that is gone");
    table.finish(txn)
}

/// Removes a lock stateid.
pub(super) fn drop_lock(txn: &mut dyn Txn, ino: Ino, other: &[u8; OTHER_BYTES]) -> Result<(), Refusal> {
    let mut table = LockTable::open(txn, ino)?;
    // Read only now: the table may have been converted.
    let lock = values::read(txn, &key::lock(ino, other))?.ok_or(Refusal::BadStateid)?;
    table.remove(txn, &lock)?;
    table.finish(txn)
}

fn under(view: &dyn View, ino: Ino, open: &[u8; OTHER_BYTES]) -> Result<Vec<[u8; OTHER_BYTES]>, Refusal> {
    let mut found = Vec::new();
    let from = key::locks_under(ino, open);
    view.range(&from, &key::after(&from), &mut |key, _| {
        found.extend(key::parse_lock_under(key));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
