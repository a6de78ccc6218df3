//! Counters of groups and images.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct WordLabels {
    pub(super) word: &'static str,
}

/// The counters.
#[derive(Clone, Default)]
pub(super) struct SealingMetrics {
    pub(super) groups: Gauge<u64, AtomicU64>,
    pub(super) sealed_bytes: Gauge<u64, AtomicU64>,
    pub(super) dead_bytes: Gauge<u64, AtomicU64>,
    pub(super) away: Gauge<u64, AtomicU64>,
    pub(super) unreadable: Gauge<u64, AtomicU64>,
    pub(super) lost_bytes: Gauge<u64, AtomicU64>,
    pub(super) waiting: Gauge<u64, AtomicU64>,
    pub(super) made: Counter,
    pub(super) failed: Counter,
    pub(super) remade: Counter,
    pub(super) adopted: Counter,
    pub(super) missing: Counter,
    pub(super) words: Family<WordLabels, Counter>,
}

impl SealingMetrics {
    /// Makes the counters and registers them.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register("shoal_groups", "Groups of sealed images", m.groups.clone());
        registry.register(
            "shoal_group_living_bytes",
            "Bytes of images that extents are sealed as",
            m.sealed_bytes.clone(),
        );
        let what = "Bytes of images that are kept only for others of their groups";
        registry.register("shoal_group_dead_bytes", what, m.dead_bytes.clone());
        registry.register("shoal_images_away", "Images on data servers that are not up", m.away.clone());
        let what = "Groups with more images away than their code can lose";
        registry.register("shoal_groups_unreadable", what, m.unreadable.clone());
        let what = "Bytes of images that are to be recreated";
        registry.register("shoal_repair_left_bytes", what, m.lost_bytes.clone());
        registry.register("shoal_images_waiting", "Images that wait for a group", m.waiting.clone());
        registry.register("shoal_groups_made", "Groups made", m.made.clone());
        registry.register("shoal_groups_failed", "Groups that could not be made", m.failed.clone());
        registry.register("shoal_images_remade", "Images recreated", m.remade.clone());
        let what = "Images that a data server reported as missing";
        registry.register("shoal_images_missing", what, m.missing.clone());
        let what = "Extents with only an image left that got new homes";
        registry.register("shoal_extents_adopted", what, m.adopted.clone());
        registry.register("shoal_image_words", "Replies to data servers about images", m.words.clone());
        m
    }
}
