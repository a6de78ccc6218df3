//! Figures of the scrub, for Prometheus and for the heartbeat.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use wire_nfs::control::heartbeat::{SCRUB_OFF, Usage};

use super::plan::Plan;

/// How far the scrub is, and what it found.
#[derive(Clone, Default)]
pub(crate) struct ScrubMetrics {
    pub(crate) checked_bytes: Counter,
    pub(crate) found: Counter,
    pub(crate) repaired: Counter,
    bad: Gauge<u64, AtomicU64>,
    percent: Gauge<u64, AtomicU64>,
    began_seconds: Gauge<u64, AtomicU64>,
    ended_seconds: Gauge<u64, AtomicU64>,
    ended_unix_ns: std::sync::Arc<AtomicU64>,
}

const NS_PER_S: u64 = 1_000_000_000;

impl ScrubMetrics {
    /// Makes the counters and registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        for (name, help, counter) in [
            ("shoal_scrub_checked_bytes", "Bytes that the scrub read and compared", &m.checked_bytes),
            ("shoal_scrub_found", "Things that the scrub found bad: frames, blocks, runs, files", &m.found),
            ("shoal_scrub_repaired", "Of these made good", &m.repaired),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("shoal_scrub_unrepaired", "Things that are bad and could not be made good", &m.bad),
            ("shoal_scrub_percent", "How much of the scrub's round is done", &m.percent),
            ("shoal_scrub_round_began_seconds", "When the scrub's round began, since 1970", &m.began_seconds),
            (
                "shoal_scrub_round_ended_seconds",
                "When the scrub's last whole round ended, since 1970; 0: none did",
                &m.ended_seconds,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        m.percent.set(u64::from(SCRUB_OFF));
        m
    }

    /// Shows how far the scrub is now.
    pub(super) fn show_progress(&self, plan: &Plan, stock_bytes: u64) {
        let progress = plan.progress();
        self.bad.set(progress.known_bad());
        let percent = plan.percent(stock_bytes);
        assert!(percent <= 100, "a part of a round is no more than the round");
        self.percent.set(u64::from(percent));
        self.began_seconds.set(progress.began_unix_ns / NS_PER_S);
        self.ended_seconds.set(progress.ended_unix_ns / NS_PER_S);
        self.ended_unix_ns.store(progress.ended_unix_ns, std::sync::atomic::Ordering::Relaxed);
    }

    /// Adds what the heartbeat says of the scrub.
    pub(crate) fn add_to(&self, usage: &mut Usage) {
        usage.scrub_percent = u32::try_from(self.percent.get()).unwrap_or(SCRUB_OFF);
        usage.scrub_ended_unix_ns = self.ended_unix_ns.load(std::sync::atomic::Ordering::Relaxed);
        usage.scrub_bad = self.bad.get();
    }
}
