//! A clock that a test moves by hand.
//!
//! INVARIANT: a sleeper is woken by the `advance` that reaches its deadline, never before.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{BoxFuture, Clock};

/// A clock that stands still until [`advance_ms`](Self::advance_ms). Clones share one time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    monotonic_ns: u64,
    wall_ns: u64,
    /// Of monotonic time: for which the process was paused.
    paused_ns: u64,
    sleepers: Vec<(u64, Waker)>,
}

impl ManualClock {
    /// A clock at monotonic zero whose wall time is `wall_ms` after the Unix epoch.
    pub fn new(wall_ms: u64) -> Self {
        let clock = Self::default();
        clock.lock().wall_ns = wall_ms * 1_000_000;
        clock
    }

    /// Moves both times forward and wakes the sleepers that are due.
    pub fn advance_ms(&self, ms: u64) {
        self.advance_ns(ms * 1_000_000);
    }

    /// Moves both times forward and wakes the sleepers that are due.
    pub fn advance_ns(&self, ns: u64) {
        Self::advance(self.lock(), ns);
    }

    fn advance(mut state: MutexGuard<'_, State>, ns: u64) {
        state.monotonic_ns += ns;
        state.wall_ns += ns;
        let now = state.monotonic_ns;
        let (due, waiting) = state.sleepers.drain(..).partition(|(deadline, _)| *deadline <= now);
        state.sleepers = waiting;
        drop(state);
        let due: Vec<(u64, Waker)> = due;
        for (_, waker) in due {
            waker.wake();
        }
    }

    /// The process does not run for so long: both times move, sleepers that are due wake at its
    /// end, and [`awake_ns`](Clock::awake_ns) stands still.
    pub fn pause_ms(&self, ms: u64) {
        let ns = ms * 1_000_000;
        let mut state = self.lock();
        state.paused_ns += ns;
        Self::advance(state, ns);
    }

    /// Sets the wall time, as an administrator or NTP would; monotonic time is not touched.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.lock().wall_ns = wall_ms * 1_000_000;
    }

    /// How long until the earliest sleeper is due, if there is one.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let state = self.lock();
        state.sleepers.iter().map(|(deadline, _)| deadline.saturating_sub(state.monotonic_ns)).min()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, so a panicking holder did no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn monotonic_ns(&self) -> u64 {
        self.lock().monotonic_ns
    }

    fn awake_ns(&self) -> u64 {
        let state = self.lock();
        state.monotonic_ns.saturating_sub(state.paused_ns)
    }

    fn wall_ns(&self) -> u64 {
        self.lock().wall_ns
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        let deadline_ns = self.lock().monotonic_ns.saturating_add(ms.saturating_mul(1_000_000));
        Box::pin(Sleep { clock: self.clone(), deadline_ns })
    }
}

struct Sleep {
    clock: ManualClock,
    deadline_ns: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.lock();
        if self.deadline_ns <= state.monotonic_ns {
            return Poll::Ready(());
        }
        let (deadline, waker) = (self.deadline_ns, context.waker());
        if !state.sleepers.iter().any(|(at, known)| *at == deadline && known.will_wake(waker)) {
            state.sleepers.push((deadline, waker.clone()));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeper_wakes_when_time_reaches_it() {
        let clock = ManualClock::new(1_000);
        let sleep = tokio::spawn(clock.sleep_ms(5));
        tokio::task::yield_now().await;
        clock.advance_ms(4);
        tokio::task::yield_now().await;
        assert!(!sleep.is_finished());
        assert_eq!(clock.next_deadline_ns(), Some(1_000_000));
        clock.advance_ms(1);
        sleep.await.unwrap();
        assert_eq!((clock.monotonic_ms(), clock.wall_ms()), (5, 1_005));
    }
}
