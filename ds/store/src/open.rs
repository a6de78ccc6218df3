//! Opening a store: superblock, list of segments, journal, index; then compaction begins.
//!
//! INVARIANT: what `open` finds in the journal is all there is; nothing else on disk says anything
//! about an extent.
//! Spec: docs/formats/journal.md.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use env::Env;
use layout::ExtentId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wal::{Location, LogEnd, RecordHeader, Wal, WalConfig};

use crate::driver;
use crate::error::OpenError;
use crate::extent::Extent;
use crate::image_source::ImageSource;
use crate::index::Index;
use crate::limits::{RECYCLE_MAX, SEGMENTS_LISTED_MAX, SEGMENTS_MIN};
use crate::manifest::{Listed, Manifest};
use crate::record::{Act, RecordError};
use crate::store::{Inner, Store, StoreConfig};
use crate::superblock_files::load_or_format;
use crate::sync::{InFlight, Stamps};

impl Store {
    /// Opens the store in `config.dir`; formats it if the directory is empty. `images` reads what
    /// is in images. Must be called within a tokio runtime: compaction runs as a task of it until
    /// the last clone is dropped.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub async fn open(
        env: &Env,
        config: &StoreConfig,
        images: Arc<dyn ImageSource>,
    ) -> Result<Self, OpenError> {
        let StoreConfig { dir, capacity_bytes, segment_bytes, accept_damage } = config;
        let (capacity_bytes, segment_bytes) = (*capacity_bytes, *segment_bytes);
        if capacity_bytes / SEGMENTS_MIN < segment_bytes {
            return Err(OpenError::Config { capacity_bytes, segment_bytes });
        }
        let (superblock, bad_superblocks) = load_or_format(env, dir).await?;
        let manifest = Manifest::load(&*env.disk, dir, &superblock.uuid).await?;
        let log = WalConfig {
            number_min: manifest.floor.segment.saturating_add(1).min(wal::limits::SEGMENT_SEQ_MAX),
            segment_bytes,
            recycle_max: RECYCLE_MAX,
            shows_damaged: true,
            ..WalConfig::new(superblock.uuid)
        };
        let mut replay = Replay::default();
        let mut visit = |header: &RecordHeader, at: Location| replay.visit(header, at);
        let (wal, report) = Wal::open(env.disk.clone(), &dir.join("journal"), log, &mut visit).await?;
        if let (Some(first), false) = (report.corrupt.first(), accept_damage) {
            let (segment, offset) = (first.segment, first.offset);
            return Err(OpenError::Damaged { places: report.corrupt.len(), segment, offset });
        }
        let there = wal.segments().iter().map(|one| one.seq).collect();
        let manifest = found_now(manifest, there, wal.durable_end(), *accept_damage)?;
        // Before anything is appended: to start once more must not make more of what was found.
        let is_saved = manifest.save_at_start(&*env.disk, dir, &superblock.uuid).await?;
        let inner = Arc::new(Inner {
            floor: manifest.floor,
            manifest: tokio::sync::Mutex::new(Listed::new(manifest, is_saved)),
            is_loss_accepted: AtomicBool::new(*accept_damage),
            env: env.clone(),
            wal,
            index: replay.into_index(env.clock.monotonic_ms())?,
            images,
            capacity_bytes,
            segment_bytes,
            images_bytes: AtomicU64::new(0),
            keeps_reserve: AtomicBool::new(false),
            stamps: Stamps::default(),
            in_flight: InFlight::default(),
            reserved_bytes: AtomicU64::new(0),
            bad_blocks: AtomicU64::new(0),
            copied_records: AtomicU64::new(0),
            copied_bytes: AtomicU64::new(0),
            rests: AtomicU64::new(0),
            nothing_to_gain: AtomicBool::new(false),
            compacted: Notify::new(),
            wake: Arc::new(Notify::new()),
            closing: AtomicBool::new(false),
            compactor: Mutex::new(None),
            newest_segment: AtomicU64::new(0),
            dir: dir.clone(),
            superblock,
            found_bad: (bad_superblocks + report.partial.len()) as u64,
            instance: env.entropy.u64(),
        });
        inner.empty_bad(&report.partial);
        tracing::info!(records = report.records, segments = report.segments, cut = ?report.cut, "store opened");
        let (store, wake) = (Arc::downgrade(&inner), inner.wake.clone());
        let compactor = driver::run_compaction(store, wake, env.clock.clone());
        *inner.compactor.lock() = Some(tokio::spawn(compactor));
        Ok(Self { inner })
    }
}

/// The manifest of a store that was just opened: nothing that it lists is missing, and what was
/// found is still to be judged.
pub(crate) fn found_now(
    before: Manifest,
    there: BTreeSet<u64>,
    durable_end: LogEnd,
    is_loss_accepted: bool,
) -> Result<Manifest, OpenError> {
    before.check(&there, is_loss_accepted)?;
    let segments = there.into_iter().take(SEGMENTS_LISTED_MAX).collect();
    let found = before.floor.max(durable_end);
    let least = before.unjudged.map_or(found, |least| least.min(found));
    assert!(least <= found, "what is to be judged is the least that was found");
    assert!(before.unjudged.is_none_or(|before| least <= before), "to start again proves nothing");
    Ok(Manifest { floor: before.floor, unjudged: Some(least), segments })
}

/// Gathers what recovery shows.
#[derive(Default)]
struct Replay {
    extents: HashMap<ExtentId, Extent>,
    index: Option<Index>,
    bad: Option<RecordError>,
}

impl Replay {
    fn visit(&mut self, header: &RecordHeader, at: Location) {
        let index = self.index.get_or_insert_with(Index::new);
        match Act::of(header) {
            Ok(act) => index.apply(self.extents.entry(act.extent).or_default(), &act, at),
            Err(error) => {
                self.bad.get_or_insert(error);
            }
        }
    }

    fn into_index(self, now_ms: u64) -> Result<Index, OpenError> {
        if let Some(error) = self.bad {
            return Err(OpenError::Record(error));
        }
        let index = self.index.unwrap_or_else(Index::new);
        for (extent, mut known) in self.extents {
            // The log syncs what it found before it shows it.
            known.epoch_synced = known.epoch;
            // QUIRK(linux): a WRITE of cached pages that is answered STALE is sent later, and
            // O_DIRECT does not wait for it: so a client that holds its layout writes on after a
            // restart with the handle that it has, also from before a CUT.
            known.fence_synced = known.fence_epoch;
            known.opened_epoch = known.epoch;
            known.changed_ms = now_ms;
            index.shard(extent).insert(extent, known);
        }
        Ok(index)
    }
}
