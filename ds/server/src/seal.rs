//! Sealing: writes extents that rest as images, a few at a time and slowly, and gives up where a
//! client comes back.
//!
//! What becomes of an image is not decided here: `shown` asks metadata servers, and carries out
//! their decisions.
//!
//! INVARIANT: an image says its extent exactly as of a sequence that is on the stable storage of
//! the whole set, and that no act had passed when the last of its bytes had been read.
//! Spec: docs/protocol/seal.md §1.

pub(crate) mod known;
pub(crate) mod shown;
pub(crate) mod uses;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use ds_image::{FinishError, Identity, ImageId, ImageWriter, Sealed};
use ds_store::{Ripe, Run, Store};
use env::Env;
use layout::reserve::Purpose;
use layout::{Epoch, ExtentId};
use wire_nfs::control::copies::CopySet;

use crate::copies::Replication;
use crate::copies::image::Asked;
use crate::images::receiving::Incoming;
use crate::images::shelf::Shelf;
use crate::lease::Serving;
use crate::limits::{
    SEAL_AGAIN_MS, SEAL_PERIOD_MS, SEAL_READ_BYTES, SEAL_RETRY_MS, SEAL_ROUND_MAX, SETTLE_MS_MAX,
};
use crate::space::Space;
use known::Shown;

/// How long an extent rests before it is sealed, as metadata servers say it.
#[derive(Debug, Default)]
pub(crate) struct RestTime {
    /// Milliseconds; 0: nothing is sealed.
    ms: AtomicU32,
}

impl RestTime {
    /// Notes what a metadata server has told; 0: nothing is sealed.
    pub(crate) fn set_ms(&self, ms: u32) {
        self.ms.store(ms, Ordering::Relaxed);
    }

    fn ms(&self) -> Option<u64> {
        Some(u64::from(self.ms.load(Ordering::Relaxed))).filter(|ms| *ms != 0)
    }
}

/// Seals extents.
pub(crate) struct Sealer {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) replication: Arc<Replication>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) incoming: Arc<Incoming>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) space: Arc<Space>,
    pub(crate) rest: Arc<RestTime>,
}

/// What became of sealing an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// There is an image.
    Sealed,
    /// Another data server is primary.
    NotPrimary,
    /// A client came back.
    GivenUp,
    /// Not now.
    Later,
}

impl Sealer {
    /// Seals what rests, for ever.
    pub(crate) async fn seal_extents(self) {
        let clock = &self.env.clock;
        loop {
            clock.sleep_ms(SEAL_PERIOD_MS).await;
            self.incoming.forget_unfinished();
            let Some(idle_ms) = self.rest.ms().filter(|_| self.serving.is_serving()) else { continue };
            let ripe = self.store.ripe(clock.monotonic_ms(), idle_ms, SEAL_ROUND_MAX);
            assert!(ripe.len() <= SEAL_ROUND_MAX, "a round is bounded");
            for ripe in ripe {
                let outcome = self.seal_extent(&ripe).await;
                let wait_ms = match outcome {
                    Outcome::Sealed | Outcome::NotPrimary => SEAL_AGAIN_MS,
                    Outcome::GivenUp => idle_ms,
                    Outcome::Later => SEAL_RETRY_MS,
                };
                self.store.defer_sealing(ripe.extent, clock.monotonic_ms() + wait_ms);
            }
        }
    }

    async fn seal_extent(&self, ripe: &Ripe) -> Outcome {
        let extent = ripe.extent;
        let waiting = self.shown.waiting_sequence(extent);
        if waiting.is_some_and(|sequence| self.store.is_at(extent, sequence)) {
            return Outcome::Sealed;
        }
        let set = match self.replication.ask_set_at_rest(extent).await {
            Asked::Primary(set) => set,
            Asked::NotPrimary => return Outcome::NotPrimary,
            Asked::Unknown => return Outcome::Later,
        };
        let has_room = self.space.check_room(u64::from(ripe.end_bytes), Purpose::Image).is_ok();
        if set.backups.iter().any(|one| one.filling) || !has_room {
            return Outcome::Later;
        }
        let Some(sequence) = self.mark_extent(extent, &set).await else { return Outcome::Later };
        let Some(runs) = self.store.capture(extent, sequence) else { return Outcome::GivenUp };
        let Some(end) = runs.iter().map(|run| run.offset + run.length).max() else { return Outcome::Later };
        assert!(end <= ds_store::limits::EXTENT_BYTES, "what is sealed lies within its extent");
        let mut image = [0; 16];
        self.env.entropy.fill(&mut image);
        let identity = Identity { image: ImageId(image), extent, epoch: Epoch(set.epoch), sequence };
        let sealed = match self.write_image(identity, &runs, end).await {
            Ok(Some(sealed)) => sealed,
            Ok(None) => {
                self.shelf.metrics.given_up.inc();
                return Outcome::GivenUp;
            }
            Err(error) => {
                tracing::warn!(%extent, %error, "an extent cannot be sealed");
                return Outcome::Later;
            }
        };
        self.shelf.metrics.sealed.inc();
        self.shelf.metrics.sealed_bytes.inc_by(u64::from(end));
        tracing::debug!(
            %extent, image = %identity.image, sequence, bytes = sealed.info.image_bytes,
            "sealed"
        );
        self.shown.add_sealed(&sealed);
        self.space.note_images();
        Outcome::Sealed
    }

    /// Gives a sequence to seal at, once the whole set has everything up to it.
    async fn mark_extent(&self, extent: ExtentId, set: &CopySet) -> Option<u64> {
        let kept = self.replication.adopt_set(set);
        if let Some(kept) = &kept {
            kept.wait_for_open(&self.replication).await.ok()?;
        }
        let marked = self.store.mark(extent).await;
        let sequence = marked.inspect_err(|error| self.serving.note_error(error)).ok()?;
        // The copies that are known by now: a replica that joined meanwhile must have it too.
        if let Some(kept) = self.replication.table.find(extent) {
            kept.mark_unsent(sequence);
            kept.settle(&self.replication, sequence, SETTLE_MS_MAX).await.ok()?;
            // An image of a set that is no more would go into no group.
            if !kept.is_at_epoch(Epoch(set.epoch)) {
                return None;
            }
        }
        Some(sequence)
    }

    /// Writes the image; `None` if a client came back.
    async fn write_image(
        &self,
        identity: Identity,
        runs: &[Run],
        end: u32,
    ) -> Result<Option<Sealed>, String> {
        let mut writer = self.shelf.dir.create(identity).await.map_err(|error| error.to_string())?;
        let is_at = || self.store.is_at(identity.extent, identity.sequence);
        match self.copy_runs(&mut writer, identity, runs).await {
            Ok(()) if is_at() => {}
            Ok(()) => {
                writer.abandon().await;
                return Ok(None);
            }
            Err(error) => {
                writer.abandon().await;
                return Err(error);
            }
        }
        let sealed = writer.finish(end).await.map_err(|error: FinishError| error.to_string())?;
        assert_eq!(sealed.info.identity.image, identity.image, "it is the image that was begun");
        if is_at() {
            return Ok(Some(sealed));
        }
        // Still the extent as it was, but soon to be sealed again.
        self.shelf.delete_image(identity.image).await.map_err(|error| error.to_string())?;
        Ok(None)
    }

    async fn copy_runs(
        &self,
        writer: &mut ImageWriter,
        identity: Identity,
        runs: &[Run],
    ) -> Result<(), String> {
        for run in runs {
            let (mut at, end) = (run.offset, run.offset + run.length);
            while at < end {
                let read = self.store.peek(identity.extent, at, (end - at).min(SEAL_READ_BYTES)).await;
                let data = read.map_err(|error| error.to_string())?;
                // Only now: what was read before an act came above is as of the sequence.
                if !self.store.is_at(identity.extent, identity.sequence) {
                    return Ok(());
                }
                let bytes: usize = data.iter().map(Bytes::len).sum();
                writer.write(at, data).await.map_err(|error| error.to_string())?;
                at += u32::try_from(bytes).expect("no more than was asked for");
                assert!(at <= end, "the store gives no more than it was asked for");
                self.space.pace_sealing(bytes as u64).await;
            }
        }
        Ok(())
    }
}
