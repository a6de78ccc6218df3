//! Counters of images, for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What images cost and give.
#[derive(Clone, Default)]
pub(crate) struct ImageMetrics {
    pub(crate) images: Gauge<u64, AtomicU64>,
    pub(crate) image_bytes: Gauge<u64, AtomicU64>,
    pub(crate) sealed: Counter,
    pub(crate) sealed_bytes: Counter,
    pub(crate) given_up: Counter,
    pub(crate) used: Counter,
    pub(crate) thawed: Counter,
    pub(crate) adopted: Counter,
    pub(crate) deleted: Counter,
    pub(crate) bad_images: Counter,
    pub(crate) remote_reads: Counter,
    pub(crate) rebuilt_reads: Counter,
    pub(crate) reader_reads: Counter,
    pub(crate) reader_bytes: Counter,
    pub(crate) reader_refusals: Counter,
    pub(crate) encoded_groups: Counter,
    pub(crate) rebuilt_images: Counter,
    pub(crate) mended_images: Counter,
}

impl ImageMetrics {
    /// Makes the counters and registers them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register("shoal_images", "Image files, parity too", m.images.clone());
        registry.register("shoal_image_bytes", "Image files, bytes", m.image_bytes.clone());
        for (name, help, counter) in [
            ("shoal_sealed_extents", "Images written of extents that rest", &m.sealed),
            ("shoal_sealed_bytes", "Content of images written, bytes", &m.sealed_bytes),
            ("shoal_seals_given_up", "Images given up because a client came back", &m.given_up),
            ("shoal_images_used", "Images that the journal was told to use", &m.used),
            ("shoal_images_thawed", "Images above which something was written", &m.thawed),
            ("shoal_adopted_extents", "Extents that were taken over as their image alone", &m.adopted),
            ("shoal_images_deleted", "Images deleted", &m.deleted),
            ("shoal_bad_images", "Times that an image here gave no right bytes", &m.bad_images),
            ("shoal_image_remote_reads", "Reads of images from another server", &m.remote_reads),
            ("shoal_image_rebuilt_reads", "Reads of images computed from their group", &m.rebuilt_reads),
            (
                "shoal_reader_reads",
                "READs answered for extents whose primary is another server",
                &m.reader_reads,
            ),
            ("shoal_reader_bytes", "File data in their answers, bytes", &m.reader_bytes),
            (
                "shoal_reader_refusals",
                "READs refused because such an extent is at rest no more",
                &m.reader_refusals,
            ),
            ("shoal_encoded_groups", "Groups whose parity was made here", &m.encoded_groups),
            ("shoal_rebuilt_images", "Images made again here", &m.rebuilt_images),
            ("shoal_mended_images", "Images whose bad frames were rewritten", &m.mended_images),
        ] {
            registry.register(name, help, counter.clone());
        }
        m
    }
}
