//! Counters of the metadata server, for Prometheus.
//!
//! `shoal_data_bytes_total{role="mds"}` is special: it counts file data that passed through the
//! metadata server, and so proves that pNFS keeps data off it.

mod sealing;
pub(crate) mod shards;

use std::sync::atomic::AtomicU64;

use env::ServiceAddress;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wire_nfs::control::images::ImageWord;

use crate::copies::Tally;
use crate::metrics::sealing::{SealingMetrics, WordLabels};
use crate::seal::Tally as Groups;

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
struct AddressLabels {
    address: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReclaimLabels {
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectionLabels {
    role: &'static str,
    direction: &'static str,
}

const ROLE: &str = "mds";

/// Bounds of the latency buckets, seconds.
const LATENCY_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0];

type Latencies = Family<LatencyLabels, Histogram, fn() -> Histogram>;

/// The counters.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<OperationLabels, Counter>,
    latencies: Latencies,
    read_bytes: Counter,
    written_bytes: Counter,
    read_answer_bytes: Gauge<u64, AtomicU64>,
    reads_delayed: Counter,
    layouts_granted: Counter,
    reader_layouts: Counter,
    striped_layouts: Counter,
    layout_read_bytes: Counter,
    layout_written_bytes: Counter,
    layouts_out: Gauge<u64, AtomicU64>,
    clients: Gauge<u64, AtomicU64>,
    replays: Counter,
    recalls: Counter,
    recalls_any: Counter,
    size_queries: Counter,
    promotions: Counter,
    hand_overs: Counter,
    moves: Counter,
    moved_bytes: Counter,
    move_bytes: Gauge<u64, AtomicU64>,
    extents_degraded: Gauge<u64, AtomicU64>,
    extents_filling: Gauge<u64, AtomicU64>,
    extents_unserved: Gauge<u64, AtomicU64>,
    addresses: Family<AddressLabels, Gauge<u64, AtomicU64>>,
    reclaims: Family<ReclaimLabels, Counter>,
    sealing: SealingMetrics,
}

impl Metrics {
    /// Makes the counters and registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let data_bytes = Family::<DirectionLabels, Counter>::default();
        let direction =
            |direction| data_bytes.get_or_create_owned(&DirectionLabels { role: ROLE, direction });
        let metrics = Self {
            requests: Family::default(),
            latencies: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            read_bytes: direction("read"),
            written_bytes: direction("write"),
            read_answer_bytes: Gauge::default(),
            reads_delayed: Counter::default(),
            layouts_granted: Counter::default(),
            reader_layouts: Counter::default(),
            striped_layouts: Counter::default(),
            layout_read_bytes: Counter::default(),
            layout_written_bytes: Counter::default(),
            layouts_out: Gauge::default(),
            clients: Gauge::default(),
            replays: Counter::default(),
            recalls: Counter::default(),
            recalls_any: Counter::default(),
            size_queries: Counter::default(),
            promotions: Counter::default(),
            hand_overs: Counter::default(),
            moves: Counter::default(),
            moved_bytes: Counter::default(),
            move_bytes: Gauge::default(),
            extents_degraded: Gauge::default(),
            extents_filling: Gauge::default(),
            extents_unserved: Gauge::default(),
            addresses: Family::default(),
            reclaims: Family::default(),
            sealing: SealingMetrics::new(registry),
        };
        metrics.register(registry, &data_bytes);
        metrics.register_data(registry);
        metrics
    }

    fn register(&self, registry: &mut Registry, data_bytes: &Family<DirectionLabels, Counter>) {
        let m = self;
        registry.register("shoal_nfs_requests", "NFS operations by name and status", m.requests.clone());
        registry.register("shoal_nfs_request_seconds", "Time an NFS operation took", m.latencies.clone());
        registry.register("shoal_data_bytes", "File data carried, bytes", data_bytes.clone());
        let what = "Bytes of replies to reads in band and listings that are being made or sent";
        registry.register("shoal_read_answer_bytes", what, m.read_answer_bytes.clone());
        let what = "Reads in band answered DELAY because other replies have to be sent first";
        registry.register("shoal_reads_put_off", what, m.reads_delayed.clone());
        registry.register("shoal_layouts_granted", "Layout segments granted", m.layouts_granted.clone());
        let what = "Layout segments that name a reader alone: their homes could not be used";
        registry.register("shoal_reader_layouts", what, m.reader_layouts.clone());
        let what = "Layout segments of several extents";
        registry.register("shoal_striped_layouts", what, m.striped_layouts.clone());
        registry.register(
            "shoal_layout_read_bytes",
            "Bytes that clients report as read through layouts",
            m.layout_read_bytes.clone(),
        );
        registry.register(
            "shoal_layout_written_bytes",
            "Bytes that clients report as written through layouts",
            m.layout_written_bytes.clone(),
        );
        registry.register("shoal_layouts_out", "Files with a layout, by client", m.layouts_out.clone());
        registry.register("shoal_clients", "Clients with a lease", m.clients.clone());
        let what = "Service addresses of the cluster; 1: it is at this replica";
        registry.register("shoal_service_address", what, m.addresses.clone());
        let what = "Opens and locks that clients reclaimed, as after a restart that lost them";
        registry.register("shoal_reclaims", what, m.reclaims.clone());
        registry.register("shoal_replays", "Requests answered from a reply cache", m.replays.clone());
        registry.register("shoal_recalls", "Layout recalls sent", m.recalls.clone());
        let what = "Queries to data servers for the sizes of files that clients write";
        registry.register("shoal_size_queries", what, m.size_queries.clone());
        let what = "CB_RECALL_ANY calls that ask a client to return layouts of its choice";
        registry.register("shoal_recalls_any", what, m.recalls_any.clone());
    }

    /// Registers the counters of extents and images.
    fn register_data(&self, registry: &mut Registry) {
        let m = self;
        let what = "Images and extents moved so that data servers hold their shares";
        registry.register("shoal_rebalance_moves", what, m.moves.clone());
        let what = "Bytes moved so that data servers hold their shares";
        registry.register("shoal_rebalance_moved_bytes", what, m.moved_bytes.clone());
        let what = "Bytes that are to move so that data servers hold their shares";
        registry.register("shoal_rebalance_left_bytes", what, m.move_bytes.clone());
        let what = "Extents that a home which runs gave to a backup";
        registry.register("shoal_hand_overs", what, m.hand_overs.clone());
        registry.register(
            "shoal_promotions",
            "Extents whose dead home a backup replaced",
            m.promotions.clone(),
        );
        registry.register(
            "shoal_extents_degraded",
            "Extents with fewer copies than wished",
            m.extents_degraded.clone(),
        );
        registry.register(
            "shoal_extents_filling",
            "Extents with a backup that is being filled",
            m.extents_filling.clone(),
        );
        registry.register(
            "shoal_extents_unserved",
            "Extents that no data server serves now",
            m.extents_unserved.clone(),
        );
    }

    /// Counts a finished operation.
    pub(crate) fn operation(&self, op: &'static str, status: &'static str, seconds: f64) {
        self.requests.get_or_create(&OperationLabels { role: ROLE, op, status }).inc();
        self.latencies.get_or_create(&LatencyLabels { role: ROLE, op }).observe(seconds);
    }

    /// Counts file data read in band.
    pub(crate) fn data_read(&self, bytes: usize) {
        self.read_bytes.inc_by(bytes as u64);
    }

    /// Counts file data written in band.
    pub(crate) fn data_written(&self, bytes: usize) {
        self.written_bytes.inc_by(bytes as u64);
    }

    /// Adds bytes that are about to be read in band and sent.
    pub(crate) fn read_begins(&self, bytes: u32) {
        self.read_answer_bytes.inc_by(u64::from(bytes));
    }

    /// Subtracts bytes that were sent, or will not be.
    pub(crate) fn read_ended(&self, bytes: u32) {
        self.read_answer_bytes.dec_by(u64::from(bytes));
    }

    /// Counts a read without reply memory.
    pub(crate) fn read_delayed(&self) {
        self.reads_delayed.inc();
    }

    /// Counts a granted layout segment: with the home or a reader alone, of one extent or of
    /// several.
    pub(crate) fn layout_granted(&self, names_home: bool, striped: bool) {
        self.layouts_granted.inc();
        self.striped_layouts.inc_by(u64::from(striped));
        if !names_home {
            self.reader_layouts.inc();
        }
    }

    /// Counts the bytes of a client's LAYOUTSTATS.
    pub(crate) fn layout_stats(&self, read_bytes: u64, written_bytes: u64) {
        self.layout_read_bytes.inc_by(read_bytes);
        self.layout_written_bytes.inc_by(written_bytes);
    }

    /// Sets the numbers of clients and layouts.
    pub(crate) fn set_state(&self, clients: u64, layouts: u64) {
        self.clients.set(clients);
        self.layouts_out.set(layouts);
    }

    /// Counts a request answered from the reply cache.
    pub(crate) fn replayed(&self) {
        self.replays.inc();
    }

    /// Sets which service addresses are held here.
    pub(crate) fn set_addresses(&self, places: impl Iterator<Item = (ServiceAddress, bool)>) {
        for (address, here) in places {
            let labels = AddressLabels { address: address.ip.to_string() };
            self.addresses.get_or_create(&labels).set(u64::from(here));
        }
    }

    /// Counts a reclaim: "open" or "lock".
    pub(crate) fn reclaimed(&self, what: &'static str) {
        self.reclaims.get_or_create(&ReclaimLabels { what }).inc();
    }

    /// Counts a CB_RECALL_ANY.
    pub(crate) fn recalled_any(&self) {
        self.recalls_any.inc();
    }

    /// Counts a query for the sizes of extents.
    pub(crate) fn sizes_asked(&self) {
        self.size_queries.inc();
    }

    /// Counts extents with only an image left that got new homes.
    pub(crate) fn adopted(&self, extents: usize) {
        self.sealing.adopted.inc_by(extents as u64);
    }

    /// Counts backups that became homes.
    pub(crate) fn promoted(&self, extents: usize) {
        self.promotions.inc_by(extents as u64);
    }

    /// Counts extents that healthy homes handed over to backups.
    pub(crate) fn handed_over(&self, extents: usize) {
        self.hand_overs.inc_by(extents as u64);
    }

    /// Counts an image or an extent moved for rebalancing.
    pub(crate) fn balanced(&self, bytes: u64) {
        self.moves.inc();
        self.moved_bytes.inc_by(bytes);
    }

    /// Sets the bytes that rebalancing still has to move.
    pub(crate) fn set_balance(&self, left_bytes: u64) {
        self.move_bytes.set(left_bytes);
    }

    /// Sets the state of the extents' copies.
    pub(crate) fn set_copies(&self, tally: &Tally) {
        self.extents_degraded.set(tally.degraded);
        self.extents_filling.set(tally.filling);
        self.extents_unserved.set(tally.unserved);
    }

    /// Sets the state of the groups.
    pub(crate) fn set_groups(&self, tally: &Groups) {
        self.sealing.groups.set(tally.groups);
        self.sealing.sealed_bytes.set(tally.living_bytes);
        self.sealing.dead_bytes.set(tally.dead_bytes);
        self.sealing.away.set(tally.away);
        self.sealing.unreadable.set(tally.unreadable);
        self.sealing.lost_bytes.set(tally.lost_bytes);
    }

    /// Sets the number of images that wait for a group.
    pub(crate) fn set_waiting(&self, images: u64) {
        self.sealing.waiting.set(images);
    }

    /// Counts a group made.
    pub(crate) fn group_made(&self) {
        self.sealing.made.inc();
    }

    /// Counts a group that could not be made.
    pub(crate) fn group_failed(&self) {
        self.sealing.failed.inc();
    }

    /// Counts a recreated image.
    pub(crate) fn remade(&self) {
        self.sealing.remade.inc();
    }

    /// Counts an image that a data server no longer has.
    pub(crate) fn image_missing(&self) {
        self.sealing.missing.inc();
    }

    /// Counts the replies to data servers about images.
    pub(crate) fn answered(&self, words: &[ImageWord]) {
        for word in words {
            let word = match word {
                ImageWord::Wait => "wait",
                ImageWord::Use => "use",
                ImageWord::Keep => "keep",
                ImageWord::Delete => "delete",
            };
            self.sealing.words.get_or_create(&WordLabels { word }).inc();
        }
    }

    /// Counts a recall sent.
    pub(crate) fn recalled(&self) {
        self.recalls.inc();
    }
}
