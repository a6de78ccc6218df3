//! Operations that are answered late, or not at all, over a clock that the test moves.

use super::*;
use crate::limits::{HANG_MS, WATCH_LOOK_MS};

/// A table, and the clock by which it is looked at.
struct Bed {
    table: Arc<Table>,
    clock_ms: u64,
}

impl Bed {
    /// The machine has run for long before.
    fn new() -> Self {
        Self { table: Arc::new(Table::new(HANG_MS)), clock_ms: 1_000_000 }
    }

    /// Looks as often as the server does; what was found beside nothing, and when.
    fn pass(&mut self, ms: u64) -> Vec<(u64, Change)> {
        let from_ms = self.clock_ms;
        let mut found = Vec::new();
        while self.clock_ms < from_ms + ms {
            self.clock_ms += WATCH_LOOK_MS;
            match self.table.look_at_operations(self.clock_ms) {
                Change::None => {}
                change => found.push((self.clock_ms - from_ms, change)),
            }
        }
        found
    }
}

#[test]
fn what_is_not_answered_in_time_is_a_hang_once() {
    let mut bed = Bed::new();
    assert_eq!(bed.pass(60_000), [], "nothing is under way");
    let flush = bed.table.begin_operation(Kind::Flush);
    assert_eq!(bed.pass(HANG_MS - WATCH_LOOK_MS), [], "a busy disk may take so long");
    assert_eq!(bed.pass(60_000), [(WATCH_LOOK_MS, Change::Hangs(Kind::Flush))]);
    drop(flush);
    // The first look sees that it is over.
    assert_eq!(bed.pass(60_000), [(HANG_OVER_MS + WATCH_LOOK_MS, Change::Answers)]);
    let _read = bed.table.begin_operation(Kind::Read);
    assert_eq!(bed.pass(60_000), [(HANG_MS, Change::Hangs(Kind::Read))], "as before");
}

#[test]
fn the_oldest_decides_and_what_is_answered_does_not() {
    let mut bed = Bed::new();
    for _ in 0..200 {
        let (_read, _write) = (bed.table.begin_operation(Kind::Read), bed.table.begin_operation(Kind::Write));
        assert_eq!(bed.pass(HANG_MS / 4), [], "each is answered in time");
    }
    let _hanging = bed.table.begin_operation(Kind::Write);
    let mut found = Vec::new();
    for _ in 0..8 {
        let _read = bed.table.begin_operation(Kind::Read);
        found.extend(bed.pass(HANG_MS / 4));
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, Change::Hangs(Kind::Write), "reads of what is in memory go on");
}

#[test]
fn a_pause_is_no_hang() {
    let mut bed = Bed::new();
    assert_eq!(bed.pass(1_000), []);
    let flush = bed.table.begin_operation(Kind::Flush);
    assert_eq!(bed.pass(1_000), []);
    bed.clock_ms += 40_000;
    assert_eq!(bed.pass(HANG_MS - 2_000), [], "the process was stopped");
    drop(flush);
    assert_eq!(bed.pass(60_000), []);
}

#[test]
fn what_began_before_the_first_look_is_not_old() {
    let mut bed = Bed::new();
    let _flush = bed.table.begin_operation(Kind::Flush);
    assert_eq!(bed.pass(HANG_MS - WATCH_STEP_MS_MAX), []);
    assert_eq!(bed.pass(HANG_MS).len(), 1);
}

#[test]
fn a_disk_that_may_take_for_ever_never_hangs() {
    let mut bed = Bed { table: Arc::new(Table::new(0)), ..Bed::new() };
    let _flush = bed.table.begin_operation(Kind::Flush);
    assert_eq!(bed.pass(3_600_000), []);
}

/// A disk that answers one flush after the other, each late, hangs all the time.
#[test]
fn a_disk_that_answers_now_and_then_is_given_up_once() {
    let mut bed = Bed::new();
    let mut found = Vec::new();
    for _ in 0..20 {
        let _flush = bed.table.begin_operation(Kind::Flush);
        found.extend(bed.pass(HANG_MS + 1_000));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(bed.pass(60_000).len(), 1);
}

#[test]
fn more_operations_than_places_are_taken() {
    let mut bed = Bed::new();
    let all: Vec<_> = (0..2 * WATCH_PLACES).map(|_| bed.table.begin_operation(Kind::Read)).collect();
    assert_eq!(all.iter().filter(|one| one.place.is_some()).count(), WATCH_PLACES);
    assert_eq!(bed.pass(HANG_MS).len(), 1);
    drop(all);
    assert_eq!(bed.pass(60_000).len(), 1);
    assert_eq!(bed.table.oldest(), None);
}
