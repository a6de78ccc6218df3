//! What the honest client saw: how long each operation took and in which window, and what went
//! wrong.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::{LATENCY_RATIO_MAX, SAMPLES_MIN};

/// The p99 of a window with the attack that has too few operations for one.
pub(crate) const STALLED_US: u64 = u64::MAX;

/// A stretch of time with or without the attack. Operations outside of any count to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// The servers are let alone.
    Quiet,
    /// The attack is under way.
    Attack,
}

/// A session of the honest client: each does one thing after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// Names and small files.
    Names,
    /// A file at a data server.
    Bytes,
}

/// What ended in a window.
struct Sample {
    session: Session,
    us: u64,
}

#[derive(Default)]
struct Seen {
    windows: Vec<(Window, Vec<Sample>)>,
    /// When the operation began that each session has under way.
    under_way: [Option<Instant>; 2],
    errors: Vec<String>,
    wrong: Vec<String>,
    longest_us: u64,
}

/// Shared by the honest client and the stage.
#[derive(Default)]
pub(crate) struct Meter {
    /// The window that is open, from 1; 0: none.
    open: AtomicU32,
    done: AtomicU64,
    seen: Mutex<Seen>,
}

impl Meter {
    /// Begins a window.
    pub(crate) fn open(&self, window: Window) {
        let mut seen = self.seen.lock();
        seen.windows.push((window, Vec::new()));
        self.open.store(u32::try_from(seen.windows.len()).unwrap_or(0), Ordering::SeqCst);
    }

    /// Ends it.
    pub(crate) fn close(&self) {
        self.open.store(0, Ordering::SeqCst);
    }

    /// Windows so far, the present one too.
    pub(crate) fn windows(&self) -> usize {
        self.seen.lock().windows.len()
    }

    /// The window now.
    pub(crate) fn now(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }

    /// A session begins an operation.
    fn begun(&self, session: Session) {
        self.seen.lock().under_way[session as usize] = Some(Instant::now());
    }

    /// How long the oldest operation waits that is under way.
    pub(crate) fn waiting(&self) -> Duration {
        self.seen.lock().waiting()
    }

    /// An operation that began in `window` is done. One that ends in an attack counts to that.
    pub(crate) fn done(&self, session: Session, window: u32, took: Duration) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let mut seen = self.seen.lock();
        seen.under_way[session as usize] = None;
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        seen.longest_us = seen.longest_us.max(us);
        let at = |window: u32| usize::try_from(window).unwrap_or(0).checked_sub(1);
        let now = at(self.now()).filter(|now| seen.windows[*now].0 == Window::Attack);
        if let Some(window) = now.or_else(|| at(window)) {
            seen.windows[window].1.push(Sample { session, us });
        }
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// An operation failed that should not have.
    pub(crate) fn error(&self, text: String) {
        self.seen.lock().errors.push(text);
    }

    /// Other bytes were read than were written.
    pub(crate) fn wrong(&self, text: String) {
        self.seen.lock().wrong.push(text);
    }

    /// How many operations failed so far.
    pub(crate) fn error_count(&self) -> usize {
        self.seen.lock().errors.len()
    }

    /// Errors and wrong bytes so far, in words.
    pub(crate) fn faults(&self) -> (Vec<String>, Vec<String>) {
        let seen = self.seen.lock();
        (seen.errors.clone(), seen.wrong.clone())
    }

    /// The longest operation, also one that is under way, and the p99 of both kinds of windows: the
    /// median of each kind's windows. A quiet window with too few operations says nothing; one with
    /// the attack says that the servers stood still, for one session or both.
    pub(crate) fn latency(&self) -> Latency {
        let seen = self.seen.lock();
        let median = |kind| {
            let of_kind = seen.windows.iter().filter(|(window, _)| *window == kind);
            let p99 = of_kind.filter_map(|(_, all)| match kind {
                _ if is_enough(all) => Some(percentile(all, 99)),
                Window::Attack => Some(STALLED_US),
                Window::Quiet => None,
            });
            let mut p99: Vec<u64> = p99.collect();
            p99.sort_unstable();
            (!p99.is_empty()).then(|| p99[p99.len() / 2])
        };
        Latency {
            quiet_us: median(Window::Quiet),
            attack_us: median(Window::Attack),
            longest_us: seen.longest_us.max(u64::try_from(seen.waiting().as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

impl Seen {
    fn waiting(&self) -> Duration {
        let oldest = self.under_way.iter().flatten().min();
        oldest.map_or(Duration::ZERO, Instant::elapsed)
    }
}

/// Whether a window has operations enough, and some of each session.
fn is_enough(all: &[Sample]) -> bool {
    let has = |session| all.iter().any(|sample| sample.session == session);
    SAMPLES_MIN <= all.len() && has(Session::Names) && has(Session::Bytes)
}

/// How long the honest client's operations took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    /// p99 without the attack; nothing if there were too few operations.
    pub(crate) quiet_us: Option<u64>,
    /// p99 during the attack.
    pub(crate) attack_us: Option<u64>,
    pub(crate) longest_us: u64,
}

impl Latency {
    /// Whether it held: too few operations to judge is a failure too.
    pub(crate) fn holds(&self, slack_us: u64) -> bool {
        let (Some(quiet), Some(attack)) = (self.quiet_us, self.attack_us) else { return false };
        attack <= (quiet * LATENCY_RATIO_MAX).max(quiet + slack_us)
    }

    /// With the attack by without it.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let attack_us = self.attack_us.filter(|us| *us != STALLED_US)?;
        Some(attack_us as f64 / self.quiet_us?.max(1) as f64)
    }
}

/// The value below which `part` of a hundred are.
fn percentile(all: &[Sample], part: usize) -> u64 {
    let mut sorted: Vec<u64> = all.iter().map(|sample| sample.us).collect();
    sorted.sort_unstable();
    let index = (sorted.len() * part / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(0)
}

/// Runs an operation and keeps how long it took.
pub(crate) async fn timed<T>(meter: &Meter, session: Session, operation: impl Future<Output = T>) -> T {
    let (window, began) = (meter.now(), Instant::now());
    meter.begun(session);
    let result = operation.await;
    meter.done(session, window, began.elapsed());
    result
}

#[cfg(test)]
mod tests {
    use super::{Latency, Meter, STALLED_US, Sample, Session, Window, percentile};
    use std::time::Duration;

    /// Operations of both sessions in turn.
    fn fill(meter: &Meter, operations: usize, window: u32, took: Duration) {
        for session in [Session::Names, Session::Bytes].into_iter().cycle().take(operations) {
            meter.done(session, window, took);
        }
    }

    fn filled(quiet_us: u64, attack_us: u64) -> Meter {
        let meter = Meter::default();
        for (window, us) in [(Window::Quiet, quiet_us), (Window::Attack, attack_us)] {
            meter.open(window);
            fill(&meter, 100, meter.now(), Duration::from_micros(us));
            meter.close();
        }
        meter
    }

    #[test]
    fn a_percentile_is_of_the_sorted_values() {
        let sample = |us| Sample { session: Session::Names, us };
        assert_eq!(percentile(&(1..=200).rev().map(sample).collect::<Vec<_>>(), 99), 199);
        assert_eq!(percentile(&[], 99), 0);
    }

    #[test]
    fn twice_as_long_is_the_bound_and_noise_is_not_judged() {
        assert!(filled(10_000, 20_000).latency().holds(5_000));
        assert!(!filled(10_000, 20_001).latency().holds(5_000));
        assert!(filled(100, 5_100).latency().holds(5_000));
        assert!(!filled(100, 5_101).latency().holds(5_000));
        assert!(!Latency::default().holds(5_000));
    }

    /// A meter with windows of so many operations of 1 ms each.
    fn windows(of: &[(Window, usize)]) -> Meter {
        let meter = Meter::default();
        for (window, operations) in of {
            meter.open(*window);
            fill(&meter, *operations, meter.now(), Duration::from_millis(1));
            meter.close();
        }
        meter
    }

    #[test]
    fn an_attack_that_stops_the_servers_does_not_hold() {
        use Window::{Attack, Quiet};
        let stalled =
            windows(&[(Quiet, 100), (Attack, 100), (Quiet, 100), (Attack, 3), (Quiet, 100), (Attack, 0)]);
        assert_eq!(stalled.latency().attack_us, Some(STALLED_US));
        assert!(!stalled.latency().holds(5_000));
        let once =
            windows(&[(Quiet, 100), (Attack, 100), (Quiet, 100), (Attack, 0), (Quiet, 100), (Attack, 100)]);
        assert!(once.latency().holds(5_000), "the median decides");
        let unknown = windows(&[(Quiet, 3), (Attack, 100), (Quiet, 0), (Attack, 100)]);
        assert_eq!(unknown.latency().quiet_us, None);
        assert!(!unknown.latency().holds(5_000));
    }

    #[test]
    fn one_session_that_stands_still_is_not_hidden_by_the_other() {
        let meter = filled(1_000, 1_000);
        assert!(meter.latency().holds(5_000));
        for _ in 0..2 {
            meter.open(Window::Attack);
            (0..100).for_each(|_| meter.done(Session::Names, meter.now(), Duration::from_millis(1)));
            meter.close();
        }
        assert_eq!(meter.latency().attack_us, Some(STALLED_US));
        assert_eq!(meter.waiting(), Duration::ZERO);
        meter.begun(Session::Bytes);
        let longest_us = meter.latency().longest_us;
        while meter.latency().longest_us <= longest_us.max(2_000) {
            std::thread::yield_now();
        }
        assert!(Duration::from_millis(2) <= meter.waiting(), "what is under way counts");
        meter.done(Session::Bytes, 0, Duration::from_millis(2));
        assert_eq!(meter.waiting(), Duration::ZERO);
    }

    #[test]
    fn what_begins_before_an_attack_and_ends_in_it_counts_to_it() {
        let meter = Meter::default();
        meter.open(Window::Quiet);
        let began = meter.now();
        meter.open(Window::Attack);
        fill(&meter, 100, began, Duration::from_millis(50));
        assert_eq!((meter.latency().quiet_us, meter.latency().attack_us), (None, Some(50_000)));
    }
}
