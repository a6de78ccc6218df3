//! The machine's clock: `CLOCK_MONOTONIC` and `CLOCK_REALTIME` through std, sleeping on tokio's
//! timer. What `CLOCK_BOOTTIME` counts beyond `CLOCK_MONOTONIC` is time for which the machine was
//! suspended. A thread that looks at the clock a few times a second, from when that is first asked
//! for, tells for how long the process did not run.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::awake::PauseDetector;
use crate::limits::PAUSE_LOOK_MS;
use crate::{BoxFuture, Clock};

/// The machine's clock. Monotonic time counts from its creation.
#[derive(Debug, Clone)]
pub struct OsClock {
    started: Instant,
    /// `None` if the system refused the thread: then no pause is seen.
    pauses: Arc<OnceLock<Option<Arc<Mutex<PauseDetector>>>>>,
}

impl OsClock {
    /// Starts a clock at monotonic zero.
    #[allow(clippy::disallowed_methods, reason = "this is the clock the rest of the workspace is sent to")]
    pub fn new() -> Self {
        Self { started: Instant::now(), pauses: Arc::default() }
    }
}

impl Default for OsClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for OsClock {
    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn suspended_ms(&self) -> u64 {
        suspended_ms()
    }

    fn awake_ns(&self) -> u64 {
        match self.pauses.get_or_init(|| watch(self.started)) {
            Some(detector) => look(detector, self.started),
            None => self.monotonic_ns(),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock the rest of the workspace is sent to")]
    fn wall_ns(&self) -> u64 {
        // A clock set before 1970 reads as the epoch.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }
}

/// Starts the thread that looks at the clock while anything else has the detector.
fn watch(started: Instant) -> Option<Arc<Mutex<PauseDetector>>> {
    let detector = Arc::new(Mutex::new(PauseDetector::default()));
    // All before this was not looked at, and counts as a pause if it was long: only differences
    // matter.
    look(&detector, started);
    let watched: Weak<_> = Arc::downgrade(&detector);
    let keep_looking = move || {
        while let Some(detector) = watched.upgrade() {
            look(&detector, started);
            drop(detector);
            pause_thread();
        }
    };
    let thread = std::thread::Builder::new().name("pauses".to_owned()).spawn(keep_looking);
    thread.is_ok().then_some(detector)
}

#[allow(clippy::disallowed_methods, reason = "a thread of the clock itself, which no test moves by hand")]
fn pause_thread() {
    std::thread::sleep(Duration::from_millis(PAUSE_LOOK_MS));
}

fn look(detector: &Mutex<PauseDetector>, started: Instant) -> u64 {
    // Every critical section leaves the detector whole, so a panicking holder did no harm.
    let mut detector = detector.lock().unwrap_or_else(PoisonError::into_inner);
    // Read under the lock: readings come in their order.
    let now_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    detector.ran_ns(now_ns)
}

/// Two clocks cannot be read at once: who was interrupted in between reads them again, so often at
/// most. What is read is never too small, so the smallest counts.
const READS_MAX: u32 = 5;
const APART_NS_MAX: u64 = 500_000;

fn suspended_ms() -> u64 {
    let mut suspended_ns = u64::MAX;
    for _ in 0..READS_MAX {
        let before_ns = read_ns(libc::CLOCK_MONOTONIC);
        let boot_ns = read_ns(libc::CLOCK_BOOTTIME);
        suspended_ns = suspended_ns.min(boot_ns.saturating_sub(before_ns));
        if read_ns(libc::CLOCK_MONOTONIC) - before_ns < APART_NS_MAX {
            break;
        }
    }
    suspended_ns / 1_000_000
}

fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes a timespec where there is one.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(read, 0, "Linux has both clocks");
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_not_suspended_while_this_looks() {
        let clock = OsClock::new();
        let first_ms = clock.suspended_ms();
        let apart = (0..10_000).map(|_| clock.suspended_ms().abs_diff(first_ms));
        assert!(apart.max() <= Some(1));
    }
}
