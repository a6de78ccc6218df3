//! Sealing: writes extents that rest as images, a few at a time and slowly, and gives up where a
//! client comes back.
//!
//! What becomes of an image is not decided here: `shown` asks metadata servers, and carries out
//! what they say.
//!
//! INVARIANT: an image says its extent exactly as of a sequence that is on the stable storage of
//! the whole set, and that no act had passed when the last of its bytes had been read.
//! Spec: docs/protocol/seal.md §1.

pub(crate) mod known;
pub(crate) mod shown;
mod uses;

use std::sync::Arc;

use bytes::Bytes;
use ds_image::{FinishError, Identity, ImageId, ImageWriter, Sealed};
use ds_store::{Ripe, Run};
use layout::reserve::Purpose;
use layout::{Epoch, ExtentId};

use crate::copies::{self, Asked};
use crate::core::Core;
use crate::limits::{
    SEAL_AGAIN_MS, SEAL_PERIOD_MS, SEAL_READ_BYTES, SEAL_RETRY_MS, SEAL_ROUND_MAX, SETTLE_MS_MAX,
};

/// What came of sealing an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// There is an image.
    Sealed,
    /// Somebody else is its home.
    NotHome,
    /// A client came back.
    GivenUp,
    /// Not now.
    Later,
}

/// Seals what rests, for ever.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        core.env.clock.sleep_ms(SEAL_PERIOD_MS).await;
        core.images.forget_unfinished();
        let Some(idle_ms) = core.seal_idle_ms().filter(|_| core.is_serving()) else { continue };
        for ripe in core.store.ripe(core.env.clock.monotonic_ms(), idle_ms, SEAL_ROUND_MAX) {
            let outcome = seal(&core, &ripe).await;
            let wait_ms = match outcome {
                Outcome::Sealed | Outcome::NotHome => SEAL_AGAIN_MS,
                Outcome::GivenUp => idle_ms,
                Outcome::Later => SEAL_RETRY_MS,
            };
            core.store.defer_sealing(ripe.extent, core.env.clock.monotonic_ms() + wait_ms);
        }
    }
}

async fn seal(core: &Arc<Core>, ripe: &Ripe) -> Outcome {
    let extent = ripe.extent;
    if core.shown.waits(extent).is_some_and(|sequence| core.store.is_at(extent, sequence)) {
        return Outcome::Sealed;
    }
    let set = match copies::ask(core, extent).await {
        Asked::Home(set) => set,
        Asked::NotHome => return Outcome::NotHome,
        Asked::Unknown => return Outcome::Later,
    };
    let has_room = core.has_room(u64::from(ripe.end_bytes), Purpose::Image).is_ok();
    if set.backups.iter().any(|one| one.filling) || !has_room {
        return Outcome::Later;
    }
    let Some(sequence) = mark(core, extent, &set).await else { return Outcome::Later };
    let Some(runs) = core.store.capture(extent, sequence) else { return Outcome::GivenUp };
    let Some(end) = runs.iter().map(|run| run.offset + run.length).max() else { return Outcome::Later };
    let mut image = [0; 16];
    core.env.entropy.fill(&mut image);
    let identity = Identity { image: ImageId(image), extent, epoch: Epoch(set.epoch), sequence };
    let sealed = match write(core, identity, &runs, end).await {
        Ok(Some(sealed)) => sealed,
        Ok(None) => {
            core.images.metrics.given_up.inc();
            return Outcome::GivenUp;
        }
        Err(error) => {
            tracing::warn!(%extent, %error, "an extent cannot be sealed");
            return Outcome::Later;
        }
    };
    core.images.metrics.sealed.inc();
    core.images.metrics.sealed_bytes.inc_by(u64::from(end));
    tracing::debug!(%extent, image = %identity.image, sequence, bytes = sealed.info.image_bytes, "sealed");
    core.shown.sealed(&sealed);
    core.note_images();
    Outcome::Sealed
}

/// Gives a sequence to seal at, once the whole set has everything up to it.
async fn mark(core: &Arc<Core>, extent: ExtentId, set: &wire_nfs::control::copies::CopySet) -> Option<u64> {
    let kept = copies::keep(core, set);
    if let Some(kept) = &kept {
        kept.opened(core).await.ok()?;
    }
    let sequence = core.store.mark(extent).await.inspect_err(|error| core.note(error)).ok()?;
    // Whoever is known by now: a backup that joined meanwhile must have it too.
    if let Some(kept) = core.copies.find(extent) {
        kept.behind(sequence);
        kept.settle(core, sequence, SETTLE_MS_MAX).await.ok()?;
        // An image of a set that is no more would go into no group.
        if !kept.is_at_epoch(Epoch(set.epoch)) {
            return None;
        }
    }
    Some(sequence)
}

/// Writes the image; `None` if a client came back.
async fn write(core: &Core, identity: Identity, runs: &[Run], end: u32) -> Result<Option<Sealed>, String> {
    let writer = core.images.dir.create(identity).await.map_err(|error| error.to_string())?;
    let mut writer = writer;
    let is_at = || core.store.is_at(identity.extent, identity.sequence);
    match fill(core, &mut writer, identity, runs).await {
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
    if is_at() {
        return Ok(Some(sealed));
    }
    // Still the extent as it was, but soon to be sealed again.
    core.images.delete(identity.image).await.map_err(|error| error.to_string())?;
    Ok(None)
}

async fn fill(core: &Core, writer: &mut ImageWriter, identity: Identity, runs: &[Run]) -> Result<(), String> {
    for run in runs {
        let (mut at, end) = (run.offset, run.offset + run.length);
        while at < end {
            let read = core.store.peek(identity.extent, at, (end - at).min(SEAL_READ_BYTES)).await;
            let data = read.map_err(|error| error.to_string())?;
            // Only now: what was read before an act came above is as of the sequence.
            if !core.store.is_at(identity.extent, identity.sequence) {
                return Ok(());
            }
            let bytes: usize = data.iter().map(Bytes::len).sum();
            writer.write(at, data).await.map_err(|error| error.to_string())?;
            at += u32::try_from(bytes).expect("no more than was asked for");
            core.seal_pass(bytes as u64).await;
        }
    }
    Ok(())
}
