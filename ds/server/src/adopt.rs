//! ADOPT: becoming the home of an extent of which only its image is left, in a group.
//!
//! Nothing of the image need be here: it is read, and backups are filled, as anywhere else.
//!
//! INVARIANT: when it was answered, nothing that this server had of the extent before shows any
//! more, nor may be written.
//! Spec: docs/protocol/seal.md §9.

use std::sync::Arc;

use ds_store::{ChangeError, ImageRef};
use layout::Epoch;
use wire_nfs::control::Refusal;
use wire_nfs::control::extent::KnownEpoch;
use wire_nfs::control::images::Adopt;

use crate::core::Core;
use crate::extent_name::id_of;

/// Carries out ADOPT.
///
/// # Errors
/// INVALID for what cannot be; STALE if the extent is at a higher epoch, and was not adopted at
/// this one; else what the store says.
pub(crate) async fn run(core: &Arc<Core>, ask: &Adopt) -> Result<KnownEpoch, Refusal> {
    let image = ImageRef::decode(&ask.image).map_err(|_| Refusal::Invalid)?;
    let (extent, epoch) = (id_of(ask.extent), Epoch(ask.epoch));
    let adopted = core.store.adopt(extent, epoch, ask.sequence, ask.keep_bytes, &image).await;
    let known = adopted.map_err(|error| refusal(core, &error))?;
    // What we knew as its home of long ago; not what we know if this is asked once more, and
    // clients write by now.
    core.copies.forget_below(extent, epoch);
    core.shown.look_at(image.image);
    core.images.metrics.adopted.inc();
    tracing::info!(%extent, image = %image.image, epoch = known.0, "adopted");
    Ok(KnownEpoch { epoch: known.0 })
}

fn refusal(core: &Core, error: &ChangeError) -> Refusal {
    core.note(error);
    match error {
        ChangeError::Stale { .. } => Refusal::Stale,
        ChangeError::Range => Refusal::Invalid,
        ChangeError::NoSpace | ChangeError::Busy | ChangeError::Closed => Refusal::Busy,
        ChangeError::Failed(_) => Refusal::Io,
    }
}
