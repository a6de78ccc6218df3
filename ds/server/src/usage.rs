//! How full and how busy this server is, as heartbeats report it.
//!
//! Spec: docs/protocol/control.md §2.

use std::sync::Arc;

use ds_store::Store;
use wire_nfs::control::heartbeat::Usage;

use crate::lease::Serving;
use crate::metrics::Metrics;
use crate::scrub::metrics::ScrubMetrics;

/// Where the figures come from.
pub(crate) struct UsageReport {
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) scrub: ScrubMetrics,
}

impl UsageReport {
    /// The figures now. A server whose disk has failed reports that it is full.
    pub(crate) fn gather(&self) -> Usage {
        let store = self.store.usage();
        self.metrics.set_usage(&store);
        let (reads, writes, read_bytes, written_bytes) = self.metrics.counts();
        let failed = self.serving.has_failed();
        let mut usage = Usage {
            capacity_bytes: store.capacity_bytes,
            used_bytes: if failed { store.capacity_bytes } else { store.used_bytes },
            journal_bytes: store.journal_bytes,
            live_bytes: store.live_bytes,
            extents: store.extents,
            reads,
            writes,
            read_bytes,
            written_bytes,
            flushes: store.flushes,
            bad_blocks: store.bad_blocks,
            ..Usage::default()
        };
        self.scrub.add_to(&mut usage);
        usage
    }
}
