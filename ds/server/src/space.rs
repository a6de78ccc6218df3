//! Room for image files, and the pace at which sealing and encoding use the disk.
//!
//! Spec: docs/protocol/seal.md §13.

use std::sync::Arc;

use ds_store::Store;
use env::Clock;
use layout::reserve::{Purpose, kept_from};
use wire_nfs::control::Refusal;

use crate::images::shelf::Shelf;
use crate::limits::{PRESSED_PARTS, SEAL_BUSY_PARTS};
use crate::metrics::ClientLoad;
use crate::seal::known::Shown;
use crate::throttle::Throttle;

/// Room that journal and images share.
pub(crate) struct Space {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) load: Arc<ClientLoad>,
    /// Bytes of extents that are sealed and of parity that is made.
    pub(crate) pace: Throttle,
}

impl Space {
    /// Waits until what sealing has made, or taken from journals, is paid for: more dearly while
    /// clients have work, so that sealing gives way. A store that runs out of room does not wait.
    pub(crate) async fn pace_sealing(&self, bytes: u64) {
        if self.is_pressed() {
            return;
        }
        let parts = if self.load.is_busy() { SEAL_BUSY_PARTS } else { 1 };
        self.pace.pass(&*self.clock, bytes.saturating_mul(parts)).await;
    }

    /// Whether the journal needs what sealing gives back more than clients need the disk.
    fn is_pressed(&self) -> bool {
        let usage = self.store.usage();
        usage.capacity_bytes - usage.capacity_bytes / PRESSED_PARTS < usage.used_bytes
    }

    /// Whether there is room for an image file.
    ///
    /// # Errors
    /// NO_SPACE.
    pub(crate) fn check_room(&self, bytes: u64, purpose: Purpose) -> Result<(), Refusal> {
        let usage = self.store.usage();
        let kept_bytes = kept_from(purpose, usage.capacity_bytes);
        assert!(kept_bytes <= usage.capacity_bytes, "a reserve is a part of the capacity");
        if usage.used_bytes.saturating_add(bytes).saturating_add(kept_bytes) <= usage.capacity_bytes {
            Ok(())
        } else {
            Err(Refusal::NoSpace)
        }
    }

    /// Counts image files again, which have come or gone.
    pub(crate) fn note_images(&self) {
        let usage = self.shelf.dir.usage();
        self.shelf.metrics.images.set(usage.images);
        self.shelf.metrics.image_bytes.set(usage.bytes);
        self.store.set_images_bytes(usage.bytes);
        self.shown.look_again();
    }
}
