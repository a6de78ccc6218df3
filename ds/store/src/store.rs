//! The store as its user holds it: settings, identity, usage, closing.
//!
//! Spec: docs/formats/journal.md.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use env::Env;
use layout::reserve::{Purpose, kept_from};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use wal::{LogEnd, Wal};

use crate::error::ChangeError;
use crate::image_source::ImageSource;
use crate::index::Index;
use crate::limits::SEGMENT_BYTES_DEFAULT;
use crate::manifest::Listed;
use crate::space::{Room, SegmentUse};
use crate::superblock::Superblock;
use crate::sync::{InFlight, Stamps};

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its directory; made if absent.
    pub dir: PathBuf,
    /// Bytes that journal and images may take on disk. A part of the journal's is kept free for
    /// compaction.
    pub capacity_bytes: u64,
    /// Size of a journal segment. At least sixteen must fit the capacity, and a record must fit a
    /// segment.
    pub segment_bytes: u64,
    /// Opens a store although records that were durable are damaged: their bytes read as older
    /// ones, or zeros.
    pub accept_damage: bool,
}

impl StoreConfig {
    /// A store of `capacity_bytes` with segments that suit it.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, capacity_bytes: u64) -> Self {
        let fitting = (capacity_bytes / 64) >> 20 << 20;
        let segment_bytes = fitting.clamp(4 << 20, SEGMENT_BYTES_DEFAULT);
        Self { dir: dir.into(), capacity_bytes, segment_bytes, accept_damage: false }
    }
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// What may be written in all.
    pub capacity_bytes: u64,
    /// What counts against it: all of it, when nothing more can be written.
    pub used_bytes: u64,
    /// Bytes that can still be read, and the headers of their records.
    pub live_bytes: u64,
    /// Journal files, dead bytes included.
    pub journal_bytes: u64,
    /// Files of images, as they were told with [`Store::set_images_bytes`].
    pub images_bytes: u64,
    /// Extents that are known.
    pub extents: u64,
    /// Syncs of the journal since it was opened.
    pub flushes: u64,
    /// Reads refused because a checksum did not match, and pieces that compaction could not copy.
    pub bad_blocks: u64,
}

/// An open store. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones of a store share.
pub(crate) struct Inner {
    pub(crate) env: Env,
    pub(crate) wal: Wal,
    pub(crate) index: Index,
    pub(crate) images: Arc<dyn ImageSource>,
    /// Bytes that journal and images may take.
    pub(crate) capacity_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) images_bytes: AtomicU64,
    /// Some room is for sealing, and for what is written over.
    pub(crate) keeps_reserve: AtomicBool,
    pub(crate) stamps: Stamps,
    pub(crate) in_flight: InFlight,
    /// Room promised to WRITEs that are not in the index yet.
    pub(crate) reserved_bytes: AtomicU64,
    pub(crate) bad_blocks: AtomicU64,
    /// Records that compaction appended.
    pub(crate) copied_records: AtomicU64,
    /// Their weight.
    pub(crate) copied_bytes: AtomicU64,
    /// Times that compaction found nothing worth doing.
    pub(crate) rests: AtomicU64,
    /// The journal is full, and compaction cannot help: what is dead lies too thinly spread.
    pub(crate) nothing_to_gain: AtomicBool,
    /// Told when compaction has given back a segment, or found nothing worth doing.
    pub(crate) compacted: Notify,
    /// Wakes the compactor.
    pub(crate) wake: Arc<Notify>,
    /// The compactor is to end.
    pub(crate) closing: AtomicBool,
    pub(crate) compactor: Mutex<Option<JoinHandle<()>>>,
    pub(crate) newest_segment: AtomicU64,
    pub(crate) dir: PathBuf,
    pub(crate) superblock: Superblock,
    /// Places that were bad when it was opened.
    pub(crate) found_bad: u64,
    pub(crate) instance: u64,
    /// Which segments ought to be there.
    pub(crate) manifest: tokio::sync::Mutex<Listed>,
    /// The journal went at least as far as this before it was opened.
    pub(crate) floor: LogEnd,
    /// The operator accepts that something may be missing, until a metadata server knows.
    pub(crate) is_loss_accepted: AtomicBool,
}

impl Store {
    /// The store's identity, made when it was formatted.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.inner.superblock.uuid
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Random for each opening: the write verifier. Bytes that were written UNSTABLE and not
    /// committed under another one may be lost.
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.inner.instance
    }

    /// Tells how many bytes the files of images take: what they have, the journal has not.
    pub fn set_images_bytes(&self, bytes: u64) {
        let inner = &self.inner;
        if bytes < inner.images_bytes.swap(bytes, Ordering::Relaxed) {
            inner.nothing_to_gain.store(false, Ordering::Relaxed);
        }
        inner.wake.notify_one();
    }

    /// Why the store takes no more changes, once a write or a sync has failed.
    #[must_use]
    pub fn failure(&self) -> Option<ChangeError> {
        self.inner.wal.failure().map(ChangeError::Failed)
    }

    /// From now on some room is for sealing, and for what is written over (docs/protocol/seal.md
    /// §13).
    pub fn keep_reserve(&self) {
        self.inner.keeps_reserve.store(true, Ordering::Relaxed);
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> StoreUsage {
        let inner = &self.inner;
        let live_bytes = inner.index.segments().live_bytes();
        let images_bytes = inner.images_bytes.load(Ordering::Relaxed);
        let used_bytes = images_bytes + live_bytes + inner.reserved_bytes.load(Ordering::Relaxed);
        // Only the journal needs a reserve.
        let capacity_bytes = inner.room().live_bytes_max() + images_bytes.min(inner.capacity_bytes);
        let full = inner.nothing_to_gain.load(Ordering::Relaxed);
        StoreUsage {
            capacity_bytes,
            used_bytes: if full { used_bytes.max(capacity_bytes) } else { used_bytes },
            live_bytes,
            journal_bytes: inner.wal.disk_bytes(),
            images_bytes,
            extents: inner.index.extents(),
            flushes: inner.wal.counters().flushes,
            bad_blocks: inner.bad_blocks.load(Ordering::Relaxed),
        }
    }

    /// Makes everything durable and takes no more changes.
    ///
    /// # Errors
    /// [`ChangeError::Failed`] if that is not certain.
    pub async fn close(&self) -> Result<(), ChangeError> {
        let inner = &self.inner;
        inner.closing.store(true, Ordering::Relaxed);
        inner.wake.notify_one();
        let compactor = inner.compactor.lock().take();
        if let Some(compactor) = compactor {
            // It ends by itself, between two segments. If it panicked there is nothing more to wait
            // for.
            let _ = compactor.await;
        }
        inner.in_flight.drain().await;
        Ok(inner.wal.close().await?)
    }
}

impl Inner {
    /// The journal's room beside the images.
    pub(crate) fn room(&self) -> Room {
        let images_bytes = self.images_bytes.load(Ordering::Relaxed);
        let journal_bytes_max = self.capacity_bytes.saturating_sub(images_bytes);
        Room { journal_bytes_max, segment_bytes: self.segment_bytes }
    }

    /// Live bytes that there may be once a WRITE has taken what it needs for this.
    pub(crate) fn live_bytes_max_for(&self, purpose: Purpose) -> u64 {
        let live_bytes_max = self.room().live_bytes_max();
        if !self.keeps_reserve.load(Ordering::Relaxed) {
            return live_bytes_max;
        }
        let images_bytes = self.images_bytes.load(Ordering::Relaxed);
        let capacity_bytes = live_bytes_max + images_bytes.min(self.capacity_bytes);
        live_bytes_max.saturating_sub(kept_from(purpose, capacity_bytes))
    }

    /// A record was written to `segment`: if that is a new one, an older one was sealed, and may
    /// have something to give.
    pub(crate) fn note_segment(&self, segment: u64) {
        if self.newest_segment.fetch_max(segment, Ordering::Relaxed) < segment {
            self.wake.notify_one();
        }
    }

    /// Whether a WRITE has room and is not in the index yet, or waits for room.
    pub(crate) fn has_writers(&self) -> bool {
        0 < self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// What compaction chooses from.
    pub(crate) fn segment_uses(&self) -> Vec<SegmentUse> {
        let stats = self.wal.segments();
        let segments = self.index.segments();
        let uses = stats.iter().map(|stat| {
            let (live_bytes, stuck) = segments.of(stat.seq);
            let wal::SegmentStat { seq: segment, bytes, filled_bytes, sealed, .. } = *stat;
            let bad = segments.is_bad(segment);
            SegmentUse { segment, bytes, filled_bytes, live_bytes, sealed, stuck, bad }
        });
        uses.collect()
    }
}
