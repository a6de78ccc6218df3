//! Which I/O is under way, since when, and whether the disk counts as hanging. No clock: the caller
//! says what time it is.
//!
//! INVARIANT: time goes on by at most [`WATCH_STEP_MS_MAX`] from one look to the next. So time in
//! which nothing looked, because the process or its machine was stopped or nothing ran yet, does
//! not count against the disk.
//! INVARIANT: beginning and ending an operation takes no lock and waits for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::limits::{HANG_OVER_MS, PROMPT_MS, WATCH_PLACES, WATCH_STEP_MS_MAX};

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Flush,
    /// Room that is reserved or given back.
    Room,
    /// Files that are opened, named or looked for.
    Names,
}

const KINDS: [Kind; 5] = [Kind::Read, Kind::Write, Kind::Flush, Kind::Room, Kind::Names];

impl Kind {
    /// As administrators read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "a read",
            Self::Write => "a write",
            Self::Flush => "a flush",
            Self::Room => "a reservation of room",
            Self::Names => "a look at a directory",
        }
    }
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The disk hangs from now on: this is what it does not answer.
    Hangs(Kind),
    /// It does not any more.
    Answers,
}

/// All that is under way.
pub(crate) struct Table {
    /// 0: it never hangs.
    hang_ms: u64,
    /// As of the last look.
    now_ms: AtomicU64,
    /// One for each operation: 0 is free, else when it began, plus 1, times 8, and its kind.
    places: [AtomicU64; WATCH_PLACES],
    next: AtomicUsize,
    judge: Mutex<Judge>,
}

/// What only looks change.
#[derive(Default)]
struct Judge {
    looked_ms: u64,
    hangs: bool,
    /// Since when nothing has waited for long, while it hangs.
    prompt_since_ms: Option<u64>,
}

/// An operation that ends when this is dropped.
pub(crate) struct UnderWay {
    table: Arc<Table>,
    /// `None`: there was no place left, so it is not watched.
    place: Option<usize>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.table.places[place].store(0, Ordering::Release);
        }
    }
}

impl Table {
    /// Nothing is under way.
    pub(crate) fn new(hang_ms: u64) -> Self {
        Self {
            hang_ms,
            now_ms: AtomicU64::new(0),
            places: [const { AtomicU64::new(0) }; WATCH_PLACES],
            next: AtomicUsize::new(0),
            judge: Mutex::default(),
        }
    }

    /// What has not been answered for so long shows that the disk hangs.
    pub(crate) fn hang_ms(&self) -> u64 {
        self.hang_ms
    }

    /// An operation begins. One that finds no place beside its turn goes unwatched: then so many
    /// others are under way that a disk which hangs shows by them.
    pub(crate) fn begin(self: &Arc<Self>, kind: Kind) -> UnderWay {
        const TRIES: usize = 8;
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let value = ((self.now_ms.load(Ordering::Relaxed) + 1) << 3) | kind as u64;
        let take = |place: &usize| {
            let place = &self.places[*place];
            place.compare_exchange(0, value, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let place = (first..first.wrapping_add(TRIES)).map(|at| at % WATCH_PLACES).find(take);
        UnderWay { table: Arc::clone(self), place }
    }

    /// Looks at what is under way; the monotonic clock shows `clock_ms`.
    pub(crate) fn look(&self, clock_ms: u64) -> Change {
        let mut judge = self.judge.lock();
        let step_ms = clock_ms.saturating_sub(judge.looked_ms).min(WATCH_STEP_MS_MAX);
        judge.looked_ms = clock_ms;
        let now_ms = self.now_ms.fetch_add(step_ms, Ordering::Relaxed) + step_ms;
        let oldest = self.oldest();
        let waits_ms = oldest.map_or(0, |(began_ms, _)| now_ms.saturating_sub(began_ms));
        let is_late = self.hang_ms != 0 && self.hang_ms <= waits_ms;
        if let (Some((_, kind)), true) = (oldest, is_late) {
            judge.prompt_since_ms = None;
            let is_news = !std::mem::replace(&mut judge.hangs, true);
            return if is_news { Change::Hangs(kind) } else { Change::None };
        }
        if !judge.hangs {
            return Change::None;
        }
        if PROMPT_MS <= waits_ms {
            judge.prompt_since_ms = None;
            return Change::None;
        }
        let since_ms = *judge.prompt_since_ms.get_or_insert(now_ms);
        if now_ms - since_ms < HANG_OVER_MS {
            return Change::None;
        }
        *judge = Judge { looked_ms: clock_ms, ..Judge::default() };
        Change::Answers
    }

    /// When the oldest of all operations began, and what it is.
    fn oldest(&self) -> Option<(u64, Kind)> {
        let values = self.places.iter().map(|place| place.load(Ordering::Acquire));
        let oldest = values.filter(|value| *value != 0).min()?;
        let kind = KINDS.get((oldest & 7) as usize).copied().unwrap_or(Kind::Names);
        Some(((oldest >> 3) - 1, kind))
    }
}

#[cfg(test)]
mod tests {
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
                match self.table.look(self.clock_ms) {
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
        let flush = bed.table.begin(Kind::Flush);
        assert_eq!(bed.pass(HANG_MS - WATCH_LOOK_MS), [], "a busy disk may take so long");
        assert_eq!(bed.pass(60_000), [(WATCH_LOOK_MS, Change::Hangs(Kind::Flush))]);
        drop(flush);
        // The first look sees that it is over.
        assert_eq!(bed.pass(60_000), [(HANG_OVER_MS + WATCH_LOOK_MS, Change::Answers)]);
        let _read = bed.table.begin(Kind::Read);
        assert_eq!(bed.pass(60_000), [(HANG_MS, Change::Hangs(Kind::Read))], "as before");
    }

    #[test]
    fn the_oldest_decides_and_what_is_answered_does_not() {
        let mut bed = Bed::new();
        for _ in 0..200 {
            let (_read, _write) = (bed.table.begin(Kind::Read), bed.table.begin(Kind::Write));
            assert_eq!(bed.pass(HANG_MS / 4), [], "each is answered in time");
        }
        let _hanging = bed.table.begin(Kind::Write);
        let mut found = Vec::new();
        for _ in 0..8 {
            let _read = bed.table.begin(Kind::Read);
            found.extend(bed.pass(HANG_MS / 4));
        }
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, Change::Hangs(Kind::Write), "reads of what is in memory go on");
    }

    #[test]
    fn a_pause_is_no_hang() {
        let mut bed = Bed::new();
        assert_eq!(bed.pass(1_000), []);
        let flush = bed.table.begin(Kind::Flush);
        assert_eq!(bed.pass(1_000), []);
        bed.clock_ms += 40_000;
        assert_eq!(bed.pass(HANG_MS - 2_000), [], "the process was stopped");
        drop(flush);
        assert_eq!(bed.pass(60_000), []);
    }

    #[test]
    fn what_began_before_the_first_look_is_not_old() {
        let mut bed = Bed::new();
        let _flush = bed.table.begin(Kind::Flush);
        assert_eq!(bed.pass(HANG_MS - WATCH_STEP_MS_MAX), []);
        assert_eq!(bed.pass(HANG_MS).len(), 1);
    }

    #[test]
    fn a_disk_that_may_take_for_ever_never_hangs() {
        let mut bed = Bed { table: Arc::new(Table::new(0)), ..Bed::new() };
        let _flush = bed.table.begin(Kind::Flush);
        assert_eq!(bed.pass(3_600_000), []);
    }

    /// A disk that answers one flush after the other, each late, hangs all the time.
    #[test]
    fn a_disk_that_answers_now_and_then_is_given_up_once() {
        let mut bed = Bed::new();
        let mut found = Vec::new();
        for _ in 0..20 {
            let _flush = bed.table.begin(Kind::Flush);
            found.extend(bed.pass(HANG_MS + 1_000));
        }
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(bed.pass(60_000).len(), 1);
    }

    #[test]
    fn more_operations_than_places_are_taken() {
        let mut bed = Bed::new();
        let all: Vec<_> = (0..2 * WATCH_PLACES).map(|_| bed.table.begin(Kind::Read)).collect();
        assert_eq!(all.iter().filter(|one| one.place.is_some()).count(), WATCH_PLACES);
        assert_eq!(bed.pass(HANG_MS).len(), 1);
        drop(all);
        assert_eq!(bed.pass(60_000).len(), 1);
        assert_eq!(bed.table.oldest(), None);
    }
}
