//! ADOPT: this server becomes primary of an extent of which only its image is left, in a group.
//!
//! Nothing of the image need be here: this server reads it, and fills replicas, as anywhere else.
//!
//! INVARIANT: when ADOPT was answered, nothing that this server had of the extent before shows any
//! more, nor may be written.
//! Spec: docs/protocol/seal.md §9.

use ds_store::{ChangeError, ImageRef, Store};
use layout::Epoch;
use wire_nfs::control::Refusal;
use wire_nfs::control::extent::KnownEpoch;
use wire_nfs::control::images::Adopt;

use crate::copies::CopyTable;
use crate::images::shelf::Shelf;
use crate::lease::Serving;
use crate::link::extent_id;
use crate::seal::known::Shown;

/// Carries out ADOPT.
///
/// # Errors
/// INVALID for what cannot be; STALE if the extent is at a higher epoch, and was not adopted at
/// this one; else what the store says.
pub(crate) async fn adopt_extent(
    store: &Store,
    serving: &Serving,
    table: &CopyTable,
    (shelf, shown): (&Shelf, &Shown),
    ask: &Adopt,
) -> Result<KnownEpoch, Refusal> {
    let image = ImageRef::decode(&ask.image).map_err(|_| Refusal::Invalid)?;
    let (extent, epoch) = (extent_id(ask.extent), Epoch(ask.epoch));
    let adopted = store.adopt(extent, epoch, ask.sequence, ask.keep_bytes, &image).await;
    let known = adopted.map_err(|error| refuse(serving, &error))?;
    assert!(epoch <= known, "an extent is adopted at the epoch of the call, or a higher one");
    // What this server knew as its primary of long ago; not what it knows if the metadata server
    // asks once more, and clients write by now.
    table.forget_below(extent, epoch);
    shown.forget_report(image.image);
    shelf.metrics.adopted.inc();
    tracing::info!(%extent, image = %image.image, epoch = known.0, "adopted");
    Ok(KnownEpoch { epoch: known.0 })
}

fn refuse(serving: &Serving, error: &ChangeError) -> Refusal {
    serving.note_error(error);
    match error {
        ChangeError::Stale { .. } => Refusal::Stale,
        ChangeError::Range => Refusal::Invalid,
        ChangeError::NoSpace | ChangeError::Busy | ChangeError::Closed => Refusal::Busy,
        ChangeError::Failed(_) => Refusal::Io,
    }
}
