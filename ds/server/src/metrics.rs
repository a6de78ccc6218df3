//! Counters of a data server, for Prometheus and for the heartbeat; the requests of clients that
//! are under way; and the log line of one that waits long.
//!
//! Families have the names and words of the metadata server's, under `role="ds"`. The labels of the
//! sub-registries tell several data servers of one process apart.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ds_store::StoreUsage;
use env::Clock;
use layout::{DataServerId, ExtentId};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wire_nfs::v3::Nfsstat3;

use crate::limits::{CLIENT_LINGERS_MS, SLOW_MS};

const ROLE: &str = "ds";

/// Bounds of the latency buckets, seconds.
const LATENCY_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    role: &'static str,
    op: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LatencyLabels {
    role: &'static str,
    op: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectionLabels {
    role: &'static str,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

/// An operation that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// COMMIT.
    Commit,
    /// Everything else.
    Other,
}

impl Op {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Commit, Self::Other];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Commit => "COMMIT",
            Self::Other => "OTHER",
        }
    }
}

/// The name of a status, as a label.
fn status_name(status: Nfsstat3) -> &'static str {
    match status {
        Nfsstat3::Ok => "OK",
        Nfsstat3::Stale => "STALE",
        Nfsstat3::Acces => "ACCES",
        Nfsstat3::Badhandle => "BADHANDLE",
        Nfsstat3::Inval => "INVAL",
        Nfsstat3::Io => "IO",
        Nfsstat3::Nospc => "NOSPC",
        Nfsstat3::Jukebox => "JUKEBOX",
        Nfsstat3::Notsupp => "NOTSUPP",
        _ => "OTHER",
    }
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<OperationLabels, Counter>,
    /// Looked up once: nearly every request ends here.
    good: [Counter; 4],
    latency: [Histogram; 4],
    read_bytes: Counter,
    written_bytes: Counter,
    journal_bytes: Gauge<u64, AtomicU64>,
    live_bytes: Gauge<u64, AtomicU64>,
    capacity_bytes: Gauge<u64, AtomicU64>,
    flushes: Counter,
    bad_blocks: Counter,
    replicated_bytes: Counter,
    kept_bytes: Counter,
    filled_bytes: Counter,
    file_ends: Counter,
    helds: Counter,
    handles_refused: Counter,
    addresses_refused: Counter,
}

impl Metrics {
    /// Makes the counters and registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let requests = Family::<OperationLabels, Counter>::default();
        let latencies = Family::<LatencyLabels, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new(LATENCY_BUCKETS)
        });
        let data = Family::<DirectionLabels, Counter>::default();
        let flushes = Family::<RoleLabels, Counter>::default();
        let direction = |direction| data.get_or_create_owned(&DirectionLabels { role: ROLE, direction });
        let good = |op: Op| {
            requests.get_or_create_owned(&OperationLabels { role: ROLE, op: op.name(), status: "OK" })
        };
        let latency = |op: Op| latencies.get_or_create_owned(&LatencyLabels { role: ROLE, op: op.name() });
        let metrics = Self {
            good: Op::ALL.map(good),
            latency: Op::ALL.map(latency),
            read_bytes: direction("read"),
            written_bytes: direction("write"),
            journal_bytes: Gauge::default(),
            live_bytes: Gauge::default(),
            capacity_bytes: Gauge::default(),
            flushes: flushes.get_or_create_owned(&RoleLabels { role: ROLE }),
            bad_blocks: Counter::default(),
            replicated_bytes: Counter::default(),
            kept_bytes: Counter::default(),
            filled_bytes: Counter::default(),
            file_ends: Counter::default(),
            helds: Counter::default(),
            handles_refused: Counter::default(),
            addresses_refused: Counter::default(),
            requests,
        };
        let m = &metrics;
        registry.register("shoal_nfs_requests", "NFS operations by name and status", m.requests.clone());
        registry.register("shoal_nfs_request_seconds", "Time an NFS operation took", latencies);
        registry.register("shoal_data_bytes", "File data carried, bytes", data);
        registry.register("shoal_flushes", "Flushes to stable storage", flushes);
        registry.register("shoal_journal_bytes", "Journal files, bytes", m.journal_bytes.clone());
        registry.register("shoal_journal_live_bytes", "Journal bytes still needed", m.live_bytes.clone());
        registry.register("shoal_capacity_bytes", "What a data server may hold", m.capacity_bytes.clone());
        registry.register("shoal_bad_blocks", "Reads refused for a wrong checksum", m.bad_blocks.clone());
        registry.register(
            "shoal_replicated_bytes",
            "Data sent to replicas, bytes",
            m.replicated_bytes.clone(),
        );
        registry.register("shoal_backup_bytes", "Data kept for other primaries, bytes", m.kept_bytes.clone());
        registry.register(
            "shoal_filled_bytes",
            "Data sent to replicas that are being filled, bytes",
            m.filled_bytes.clone(),
        );
        let what = "Reads beyond what is held, for which the end of the file was asked for";
        registry.register("shoal_file_end_queries", what, m.file_ends.clone());
        let what = "Layouts of which it was asked whether they are still held";
        registry.register("shoal_layout_queries", what, m.helds.clone());
        let what = "Requests refused because the handle's layout is not held any more";
        registry.register("shoal_handles_refused", what, m.handles_refused.clone());
        let what = "Requests refused because the handle's export does not admit the address";
        registry.register("shoal_addresses_refused", what, m.addresses_refused.clone());
        metrics
    }

    /// Counts a READ that waits for the end of the file.
    pub(crate) fn count_file_end(&self) {
        self.file_ends.inc();
    }

    /// Counts layouts that a metadata server is asked about.
    pub(crate) fn count_layouts_asked(&self, layouts: usize) {
        self.helds.inc_by(layouts as u64);
    }

    /// Counts a handle that is refused because its layout ended.
    pub(crate) fn count_refused_handle(&self) {
        self.handles_refused.inc();
    }

    /// Counts a handle that comes from an address that its export does not admit. An operator who
    /// has forgotten an address of a client looks for that.
    pub(crate) fn count_refused_address(&self, export: u16, from: IpAddr) {
        let times = self.addresses_refused.inc() + 1;
        if times.is_power_of_two() {
            tracing::warn!(
                export, %from, times,
                "a handle comes from an address that its export does not admit"
            );
        }
    }

    /// Counts a record that went to a replica.
    pub(crate) fn count_replicated(&self, bytes: u64) {
        self.replicated_bytes.inc_by(bytes);
    }

    /// Counts a record that was taken from another primary.
    pub(crate) fn count_kept(&self, bytes: u64) {
        self.kept_bytes.inc_by(bytes);
    }

    /// Counts bytes that were sent to fill a replica.
    pub(crate) fn count_filled(&self, bytes: u64) {
        self.filled_bytes.inc_by(bytes);
    }

    /// Counts an operation that ended.
    pub(crate) fn count_operation(&self, op: Op, status: Nfsstat3, spent_ns: u64) {
        assert_eq!(Op::ALL[op as usize], op, "the counters of an operation are its own");
        if status == Nfsstat3::Ok {
            self.good[op as usize].inc();
        } else {
            let labels = OperationLabels { role: ROLE, op: op.name(), status: status_name(status) };
            self.requests.get_or_create(&labels).inc();
        }
        self.latency[op as usize].observe(spent_ns as f64 / 1e9);
    }

    /// Counts file data that a client has read.
    pub(crate) fn count_read(&self, bytes: u64) {
        self.read_bytes.inc_by(bytes);
    }

    /// Counts file data that a client has written.
    pub(crate) fn count_written(&self, bytes: u64) {
        self.written_bytes.inc_by(bytes);
    }

    /// Shows what the store reports now.
    pub(crate) fn set_usage(&self, usage: &StoreUsage) {
        self.journal_bytes.set(usage.journal_bytes);
        self.live_bytes.set(usage.live_bytes);
        self.capacity_bytes.set(usage.capacity_bytes);
        self.flushes.inc_by(usage.flushes.saturating_sub(self.flushes.get()));
        self.bad_blocks.inc_by(usage.bad_blocks.saturating_sub(self.bad_blocks.get()));
    }

    /// READs and WRITEs that succeeded, and the bytes that they read and wrote.
    pub(crate) fn counts(&self) -> (u64, u64, u64, u64) {
        let count = |op: Op| self.good[op as usize].get();
        (count(Op::Read), count(Op::Write), self.read_bytes.get(), self.written_bytes.get())
    }
}

/// Requests of clients under way, to which background work gives way.
pub(crate) struct ClientLoad {
    clock: Arc<dyn Clock>,
    under_way: AtomicU32,
    /// Until then, by the monotonic clock, a client counts as waiting.
    until_ms: AtomicU64,
}

impl ClientLoad {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, under_way: AtomicU32::new(0), until_ms: AtomicU64::new(0) }
    }

    /// Counts a request of a client as long as the result lives.
    pub(crate) fn begin_request(&self) -> ClientRequest<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        ClientRequest(self)
    }

    /// Whether clients wait for something, or did a moment ago: between two requests of a busy
    /// client there is nothing.
    pub(crate) fn is_busy(&self) -> bool {
        let now_ms = self.clock.monotonic_ms();
        self.under_way.load(Ordering::Relaxed) != 0 || now_ms < self.until_ms.load(Ordering::Relaxed)
    }
}

/// A request of a client.
pub(crate) struct ClientRequest<'a>(&'a ClientLoad);

impl Drop for ClientRequest<'_> {
    fn drop(&mut self) {
        let until_ms = self.0.clock.monotonic_ms().saturating_add(CLIENT_LINGERS_MS);
        self.0.until_ms.store(until_ms, Ordering::Relaxed);
        let before = self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        assert!(0 < before, "a request that ends has begun");
    }
}

/// Does the work of a WRITE or COMMIT, and logs which extent, which servers and which wait it was
/// if that took long. `servers` are those that the work waits for, if not for this one.
pub(crate) async fn log_if_slow<T>(
    clock: &dyn Clock,
    extent: ExtentId,
    waited_for: &'static str,
    servers: impl FnOnce() -> Vec<DataServerId>,
    work: impl Future<Output = T>,
) -> T {
    let began_ms = clock.monotonic_ms();
    let done = work.await;
    let waited_ms = clock.monotonic_ms().saturating_sub(began_ms);
    if SLOW_MS <= waited_ms {
        let servers: Vec<u32> = servers().into_iter().map(|server| server.0).collect();
        tracing::info!(%extent, waited_for, ?servers, waited_ms, "slow operation");
    }
    done
}
