//! The pace of the scrub: what it has read, how long it pauses, and the figures that it shows.
//!
//! Spec: docs/protocol/seal.md §10.

use std::sync::Arc;

use ds_store::Store;
use env::Clock;
use parking_lot::Mutex;

use super::metrics::ScrubMetrics;
use super::plan::{Now, Outcome, Plan, Step};
use super::progress::Progress;
use crate::images::shelf::Shelf;
use crate::metrics::ClientLoad;

/// The plan of the scrub, and what it is held to.
pub(crate) struct Pace {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Store,
    pub(super) shelf: Arc<Shelf>,
    pub(super) load: Arc<ClientLoad>,
    pub(super) metrics: ScrubMetrics,
    pub(super) plan: Mutex<Plan>,
}

impl Pace {
    pub(super) fn now(&self) -> Now {
        Now { unix_ns: self.clock.wall_ns(), ms: self.clock.monotonic_ms() }
    }

    /// Bytes that a whole round reads.
    fn stock_bytes(&self) -> u64 {
        self.shelf.dir.usage().bytes + self.store.usage().live_bytes
    }

    /// Shows how far the scrub is.
    pub(super) fn show_progress(&self) {
        self.metrics.show_progress(&self.plan.lock(), self.stock_bytes());
    }

    /// Logs the begin or the end of a round.
    pub(super) fn log_round(&self, step: Step) {
        assert!(matches!(step, Step::Begin | Step::End), "a round begins and ends");
        let progress = *self.plan.lock().progress();
        if step == Step::Begin {
            tracing::info!(bytes = self.stock_bytes(), "a round of the scrub begins");
            return;
        }
        let Progress { checked_bytes, found, repaired, bad, .. } = progress;
        tracing::info!(checked_bytes, found, repaired, bad, "a round of the scrub has ended");
        if 0 < bad {
            tracing::error!(bad, "the scrub leaves bad data behind");
        }
    }

    /// Counts bytes that the scrub has read, and pauses so that others can read as well.
    pub(super) async fn pause_after(&self, bytes: u64) {
        self.metrics.checked_bytes.inc_by(bytes);
        let (unix_ns, stock_bytes) = (self.clock.wall_ns(), self.stock_bytes());
        let pause_ms = self.plan.lock().note_read(unix_ns, bytes, stock_bytes, self.load.is_busy());
        if 0 < pause_ms {
            self.clock.sleep_ms(pause_ms).await;
        }
    }

    /// Counts what a check has found.
    pub(super) fn count(&self, outcome: Outcome) {
        self.metrics.found.inc_by(outcome.repaired + outcome.bad);
        self.metrics.repaired.inc_by(outcome.repaired);
    }
}
