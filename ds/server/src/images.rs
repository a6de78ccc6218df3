//! Content of every image that a journal here names, or the log, wherever it is.
//!
//! Content is read from the image here (`shelf`); if there is none, or a frame of it is bad, from
//! the server that the group's record names (`remote`); if that fails, it is computed from the rest
//! of the group (`rebuilt`). `serve` is what other servers ask for, `encode` and `rebuild` make
//! images that metadata servers want, `mend` rewrites bad frames. When and what is sealed is not
//! decided here.
//!
//! INVARIANT: content that comes out was compared with the hashes that the image's root vouches
//! for.
//! Spec: docs/protocol/seal.md §5.

pub(crate) mod content;
mod encode;
mod groups;
pub(crate) mod have;
mod lru;
pub(crate) mod mend;
mod mending;
pub(crate) mod metrics;
mod outlet;
mod pieces;
mod rebuild;
mod rebuilt;
pub(crate) mod receiving;
mod remote;
pub(crate) mod serve;
pub(crate) mod shelf;
mod trouble;
pub(crate) mod work;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ds_image::{Image, ImageId};
use env::Clock;
use layout::DataServerId;
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::limits::{FRAMES_KEPT_BYTES, LOST_KNOWN_MAX, SILENT_MS};
use groups::Groups;
pub(crate) use groups::{Found, NoGroup};
use lru::Lru;
use mending::Mending;
use metrics::ImageMetrics;
use outlet::Site;
use shelf::Shelf;

/// Images, wherever they are.
pub(crate) struct Images {
    clock: Arc<dyn Clock>,
    shelf: Arc<Shelf>,
    directory: Arc<Directory>,
    groups: Groups,
    elsewhere: Elsewhere,
    mending: Mutex<Mending>,
}

/// What is remembered of images that are not here, or not whole.
struct Elsewhere {
    /// What surrounds their frames.
    lost: Mutex<Lru<ImageId, Image>>,
    /// Frames of them, as content.
    frames: Mutex<Lru<(ImageId, u16), Bytes>>,
    /// Servers that did not answer, and until when others are asked first.
    silent: Mutex<HashMap<u32, u64>>,
}

impl Images {
    pub(crate) fn new(clock: Arc<dyn Clock>, shelf: Arc<Shelf>, directory: Arc<Directory>) -> Self {
        let elsewhere = Elsewhere {
            lost: Mutex::new(Lru::new(LOST_KNOWN_MAX)),
            frames: Mutex::new(Lru::new(FRAMES_KEPT_BYTES)),
            silent: Mutex::default(),
        };
        Self { clock, shelf, directory, groups: Groups::new(), elsewhere, mending: Mutex::default() }
    }

    /// Where images that are made here go.
    fn site(&self) -> Site {
        Site { shelf: Arc::clone(&self.shelf), directory: Arc::clone(&self.directory) }
    }

    /// What images cost and give.
    pub(crate) fn metrics(&self) -> &ImageMetrics {
        &self.shelf.metrics
    }

    /// The group of an image that is, or should be, here, as a metadata server says now, and this
    /// server's slot in it: one of two copies has the same name.
    pub(crate) async fn find_group(&self, image: ImageId) -> Result<Found, NoGroup> {
        let now_ms = self.clock.monotonic_ms();
        let mut found = self.groups.ask_group(&self.directory, image, now_ms).await?;
        let (shape, homes) = (found.group.shape(), found.group.homes());
        let ours = |slot: &usize| {
            homes[*slot] == self.directory.own() && shape.image(*slot).is_some_and(|(one, _)| one == image)
        };
        found.slot = (0..shape.slots()).find(ours).unwrap_or(found.slot);
        assert!(found.slot < shape.slots(), "a slot is one of the group");
        Ok(found)
    }

    /// Whether this server is to have the image of the slot that was found.
    pub(crate) fn is_ours(&self, found: &Found) -> bool {
        found.group.homes()[found.slot] == self.directory.own()
    }

    /// Whether the server did not answer a moment ago: others are asked first.
    fn is_silent(&self, server: DataServerId) -> bool {
        let now_ms = self.clock.monotonic_ms();
        self.elsewhere.silent.lock().get(&server.0).is_some_and(|until_ms| now_ms < *until_ms)
    }

    fn note_silence(&self, server: DataServerId) {
        // As many as the directory has, at most.
        self.elsewhere.silent.lock().insert(server.0, self.clock.monotonic_ms() + SILENT_MS);
    }
}
