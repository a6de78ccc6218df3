//! The time: the machine's wall clock while the cluster agrees with it, else the cluster's time.
//! The store dates WRITEs by it.
//!
//! Every few seconds this server shows this machine's clock to a metadata server, which answers the
//! time that counts. Between two answers this machine's monotonic clock goes on from there, so that
//! a wall clock that is set wrong dates nothing.
//!
//! Spec: docs/protocol/control.md §2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use env::{BoxFuture, Clock};
use wire_nfs::control::Procedure;
use wire_nfs::control::heartbeat::{AskClock, ClockTold};

use crate::directory::Directory;
use crate::limits::{CLOCK_AGREE_NS, CLOCK_ASK_MS};

/// Before any answer.
const UNKNOWN: i64 = i64::MIN;

/// The machine's clock, with the cluster's wall time.
pub(crate) struct SteeredClock {
    machine: Arc<dyn Clock>,
    /// The cluster's time, less the monotonic clock at that moment.
    base_ns: AtomicI64,
    is_off: AtomicBool,
}

impl SteeredClock {
    pub(crate) fn new(machine: Arc<dyn Clock>) -> Self {
        Self { machine, base_ns: AtomicI64::new(UNKNOWN), is_off: AtomicBool::new(false) }
    }

    /// The time by the machine's own wall clock.
    fn machine_wall_ns(&self) -> u64 {
        self.machine.wall_ns()
    }

    /// Monotonic, with what the machine was suspended for.
    fn passed_ns(&self) -> u64 {
        self.machine.monotonic_ns().saturating_add(self.machine.suspended_ms().saturating_mul(1_000_000))
    }

    /// Notes that it was `unix_ns` at some moment since `sent_ns` of [`Self::passed_ns`].
    fn note_time(&self, sent_ns: u64, unix_ns: u64) {
        let now_ns = self.passed_ns();
        // Time that is suspended is counted by itself, in milliseconds: the sum may go back a
        // little.
        let took_ns = now_ns.checked_sub(sent_ns).filter(|took_ns| *took_ns <= CLOCK_AGREE_NS);
        let Some(took_ns) = took_ns else { return }; // It says too little about when that was.
        assert!(took_ns <= CLOCK_AGREE_NS, "an answer that is used was fast");
        let middle_ns = sent_ns + took_ns / 2;
        let base_ns = i64::try_from(i128::from(unix_ns) - i128::from(middle_ns)).unwrap_or(UNKNOWN);
        self.base_ns.store(base_ns, Ordering::Release);
        let off_ns = i128::from(self.machine_wall_ns()) - i128::from(base_ns) - i128::from(now_ns);
        let is_off = u128::from(CLOCK_AGREE_NS) < off_ns.unsigned_abs();
        let off_ms = off_ns / 1_000_000;
        match (self.is_off.swap(is_off, Ordering::Relaxed), is_off) {
            (false, true) => tracing::error!(off_ms, "this machine's clock is wrong: the cluster's counts"),
            (true, false) => tracing::info!("this machine's clock is right again"),
            _ => {}
        }
    }
}

impl Clock for SteeredClock {
    fn monotonic_ns(&self) -> u64 {
        self.machine.monotonic_ns()
    }

    fn awake_ns(&self) -> u64 {
        self.machine.awake_ns()
    }

    fn suspended_ms(&self) -> u64 {
        self.machine.suspended_ms()
    }

    fn wall_ns(&self) -> u64 {
        let own_ns = self.machine_wall_ns();
        let base_ns = self.base_ns.load(Ordering::Acquire);
        if base_ns == UNKNOWN {
            return own_ns;
        }
        let clusters = (i128::from(base_ns) + i128::from(self.passed_ns())).max(0);
        let clusters_ns = u64::try_from(clusters).unwrap_or(u64::MAX);
        if own_ns.abs_diff(clusters_ns) <= CLOCK_AGREE_NS { own_ns } else { clusters_ns }
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        self.machine.sleep_ms(ms)
    }
}

/// Asks metadata servers for the time, for ever.
pub(crate) async fn steer_clock(clock: Arc<SteeredClock>, directory: Arc<Directory>) {
    loop {
        clock.sleep_ms(CLOCK_ASK_MS).await;
        let (Some(link), Some(server)) = (directory.metadata(), directory.own()) else { continue };
        let sent_ns = clock.passed_ns();
        let ask = AskClock { server: server.0, wall_unix_ns: clock.machine_wall_ns() };
        // A metadata server that does not answer, or is of an older version, is asked again.
        if let Ok(told) = link.ask_within::<ClockTold>(Procedure::Clock, &ask, CLOCK_ASK_MS).await {
            clock.note_time(sent_ns, told.unix_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use env::memory::ManualClock;

    use super::*;

    const START_MS: u64 = 1_800_000_000_000;

    #[test]
    fn a_clock_that_is_set_wrong_dates_nothing() {
        let machine = ManualClock::new(START_MS);
        let clock = SteeredClock::new(Arc::new(machine.clone()));
        assert_eq!(clock.wall_ms(), START_MS, "no metadata server has told");
        clock.note_time(0, (START_MS + 900) * 1_000_000);
        assert_eq!(clock.wall_ms(), START_MS, "it is right");
        machine.advance_ms(1_000);
        for wrong_ms in [0, START_MS * 2, START_MS - 5_000] {
            machine.set_wall_ms(wrong_ms);
            assert_eq!(clock.wall_ms(), START_MS + 1_900);
        }
        machine.set_wall_ms(START_MS + 1_000);
        assert_eq!(clock.wall_ms(), START_MS + 1_000);
        machine.advance_ms(2_000);
        clock.note_time(0, 7);
        assert_eq!(clock.wall_ms(), START_MS + 3_000, "an answer that took that long says nothing");
        clock.note_time(clock.passed_ns() + 1, 7);
        assert_eq!(clock.wall_ms(), START_MS + 3_000, "nor does one to a later question");
    }
}
