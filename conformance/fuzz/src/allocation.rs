//! A global allocator that counts, so that a target which allocates by an unchecked length is
//! caught as surely as one that panics.
//!
//! It counts for one thread at a time, between [`measure`]'s beginning and end: targets run on one
//! thread, so tests may run side by side. What is allocated is the system allocator's business and
//! always granted; [`measure`] says afterwards what was the most.
//!
//! INVARIANT: nothing here allocates while it counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;

/// What a run allocated at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// Bytes of the largest single allocation.
    pub single_bytes: usize,
    /// Bytes allocated and not freed, at the worst moment.
    pub live_bytes: usize,
}

impl Peak {
    /// Whether both numbers are at most those of `bound`.
    #[must_use]
    pub fn is_within(&self, bound: &Self) -> bool {
        self.single_bytes <= bound.single_bytes && self.live_bytes <= bound.live_bytes
    }

    /// The larger of both, number by number.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            single_bytes: self.single_bytes.max(other.single_bytes),
            live_bytes: self.live_bytes.max(other.live_bytes),
        }
    }
}

struct Meter {
    counting: Cell<bool>,
    single_bytes: Cell<usize>,
    live_bytes: Cell<isize>,
    live_bytes_max: Cell<isize>,
    /// Above it a backtrace is printed, once.
    traced: Cell<Option<Peak>>,
}

thread_local! {
    // Constant and without a destructor, so that the allocator may touch it at any time of a
    // thread's life.
    static METER: Meter = const {
        Meter {
            counting: Cell::new(false),
            single_bytes: Cell::new(0),
            live_bytes: Cell::new(0),
            live_bytes_max: Cell::new(0),
            traced: Cell::new(None),
        }
    };
}

impl Meter {
    fn start(&self, traced: Option<Peak>) {
        assert!(!self.counting.get(), "runs do not nest");
        self.single_bytes.set(0);
        self.live_bytes.set(0);
        self.live_bytes_max.set(0);
        self.traced.set(traced);
        self.counting.set(true);
    }

    fn peak(&self) -> Peak {
        Peak {
            single_bytes: self.single_bytes.get(),
            live_bytes: usize::try_from(self.live_bytes_max.get()).unwrap_or(0),
        }
    }

    fn allocated(&self, bytes: usize) {
        if !self.counting.get() {
            return;
        }
        let live = self.live_bytes.get().saturating_add_unsigned(bytes);
        self.live_bytes.set(live);
        self.live_bytes_max.set(self.live_bytes_max.get().max(live));
        self.single_bytes.set(self.single_bytes.get().max(bytes));
        if let Some(bound) = self.traced.get().filter(|bound| !self.peak().is_within(bound)) {
            self.traced.set(None);
            self.counting.set(false);
            let trace = Backtrace::force_capture();
            eprintln!("allocation of {bytes} bytes, {live} live, above {bound:?}\n{trace}");
            self.counting.set(true);
        }
    }

    fn freed(&self, bytes: usize) {
        if self.counting.get() {
            self.live_bytes.set(self.live_bytes.get().saturating_sub_unsigned(bytes));
        }
    }
}

fn with_meter(act: impl FnOnce(&Meter)) {
    // A thread that is ending has no meter any more, and runs no target.
    let _ = METER.try_with(act);
}

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract;
// the counters are cells of the calling thread and do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        with_meter(|meter| meter.allocated(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        with_meter(|meter| meter.allocated(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        with_meter(|meter| meter.freed(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // While it is moved both are there: the worse case is counted, whether it moves or not.
        with_meter(|meter| meter.allocated(new_size));
        // SAFETY: the caller keeps the contract of `realloc`.
        let moved = unsafe { System.realloc(at, layout, new_size) };
        with_meter(|meter| meter.freed(layout.size()));
        moved
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Ends the counting even if the act panics.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        with_meter(|meter| meter.counting.set(false));
    }
}

/// Runs `act` and says what it allocated on this thread. With `traced`, the first allocation that
/// goes above prints where it comes from.
pub fn measure<T>(traced: Option<Peak>, act: impl FnOnce() -> T) -> (T, Peak) {
    with_meter(|meter| meter.start(traced));
    let counted = Counted;
    let result = act();
    drop(counted);
    let mut peak = Peak::default();
    with_meter(|meter| peak = meter.peak());
    (result, peak)
}

/// Runs `act` without counting, if counting is on: for what a target makes once and keeps.
pub fn uncounted<T>(act: impl FnOnce() -> T) -> T {
    let mut counting = false;
    with_meter(|meter| counting = meter.counting.replace(false));
    let result = act();
    with_meter(|meter| meter.counting.set(counting));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_once_does_not_count() {
        let (kept, peak) = measure(None, || uncounted(|| vec![0_u8; 5000]).len() + vec![0_u8; 100].len());
        assert_eq!((kept, peak.single_bytes), (5100, 100));
    }

    #[test]
    fn the_largest_and_the_sum_are_told() {
        let (kept, peak) = measure(None, || {
            let kept = [vec![0_u8; 1000], vec![1_u8; 3000]];
            drop(vec![2_u8; 2000]);
            drop(vec![2_u8; 2500]);
            kept
        });
        assert_eq!(kept[1].len(), 3000);
        assert_eq!(peak, Peak { single_bytes: 3000, live_bytes: 6500 });
    }

    #[test]
    fn what_grows_counts_twice_while_it_moves() {
        let ((), peak) = measure(None, || {
            let mut growing = Vec::<u8>::with_capacity(1000);
            growing.reserve_exact(4000);
        });
        assert_eq!(peak, Peak { single_bytes: 4000, live_bytes: 5000 });
    }

    #[test]
    fn a_run_that_panics_ends_the_counting() {
        let failed = std::panic::catch_unwind(|| measure(None, || panic!("on purpose")));
        assert!(failed.is_err());
        let ((), peak) = measure(None, || ());
        assert_eq!(peak, Peak::default());
    }
}
