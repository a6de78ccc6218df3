//! Becoming the primary of an extent of which only an image is left.
//!
//! What says that it was done is a CUT's epoch: nothing of an epoch at or above an adoption's but
//! the adoption itself, and what came after it, can have raised it. An epoch alone would not say
//! it: a handle, a fence, or an adoption that was cut short may have.
//!
//! INVARIANT: the CUT follows the IMAGE in the log, so it is never there without it. The IMAGE is
//! above everything that is here.
//! Spec: docs/protocol/seal.md §9; docs/formats/journal.md §2.

use bytes::Bytes;
use layout::{Epoch, ExtentId};

use crate::control::{Controlled, detached};
use crate::error::ChangeError;
use crate::extent::Extent;
use crate::limits::EXTENT_BYTES;
use crate::record::{Act, Kind, SEQUENCE_END};
use crate::store::Store;
use layout::ec::ImageRef;

/// Where an adoption goes.
struct Place {
    extent: ExtentId,
    epoch: Epoch,
    sequence: u64,
    keep_bytes: u32,
}

impl Store {
    /// Makes the extent what the image says, cut at `keep_bytes`, whatever is here of it, and
    /// fences all handles of a lower epoch. The image's sequence is `sequence` or a
    /// higher one. Returns the epoch as known afterwards, when all is on stable storage. Nothing is
    /// done if it was before, or if a CUT, DROP or attach of this epoch or a higher one was: that
    /// came later.
    ///
    /// # Units
    /// `keep_bytes` counts from the start of the extent; from the content's end on it cuts nothing.
    /// # Errors
    /// [`ChangeError::Range`] for an image, a sequence or a cut that cannot be;
    /// [`ChangeError::Stale`] if the extent is at a higher epoch and was not adopted at this one:
    /// it was used since; otherwise as [`fence`](Self::fence).
    pub async fn adopt(
        &self,
        extent: ExtentId,
        epoch: Epoch,
        sequence: u64,
        keep_bytes: u32,
        image: &ImageRef,
    ) -> Result<Epoch, ChangeError> {
        let cannot_be = sequence == 0 || SEQUENCE_END <= sequence || EXTENT_BYTES < keep_bytes;
        if cannot_be || image.check().is_err() {
            return Err(ChangeError::Range);
        }
        let (inner, image) = (self.inner.clone(), *image);
        detached(async move {
            let take = |known: &mut Extent| place(known, epoch, sequence);
            let (controlled, free) = Controlled::turn(&inner, extent, epoch, true, take).await?;
            if let Some(sequence) = free {
                let [base, cut] = acts(&Place { extent, epoch, sequence, keep_bytes }, &image);
                let payload = vec![Bytes::copy_from_slice(&image.encode())];
                let records = vec![base.record(payload), cut.record(vec![])];
                controlled.append_records(vec![base, cut], records).await?;
                inner.wake.notify_one();
            }
            // A request may have raised it meanwhile.
            controlled.sync_epochs().await
        })
        .await
    }
}

/// Takes two sequences above all that is here; `None` if nothing is to be done.
fn place(known: &mut Extent, epoch: Epoch, sequence: u64) -> Result<Option<u64>, ChangeError> {
    if epoch <= known.cut_epoch {
        return Ok(None);
    }
    if epoch < known.epoch {
        return Err(ChangeError::Stale { known: known.epoch });
    }
    let free = sequence.max(known.sequence + 1);
    if SEQUENCE_END <= free + 2 {
        return Err(ChangeError::NoSpace);
    }
    assert!(known.sequence < free && sequence <= free, "an adoption is above all that is here");
    known.sequence = free + 1;
    known.is_replica = false;
    Ok(Some(free))
}

fn acts(place: &Place, image: &ImageRef) -> [Act; 2] {
    let &Place { extent, epoch, sequence, keep_bytes } = place;
    let content = image.content_bytes;
    let rest = |offset: u32| EXTENT_BYTES - offset;
    // Behind the content there is nothing to cut: then it says the epoch, and no byte.
    let (after, offset) = if keep_bytes < content { (sequence + 1, keep_bytes) } else { (0, EXTENT_BYTES) };
    let base = Act { kind: Kind::Image, extent, epoch, sequence, offset: content, length: rest(content) };
    let cut = Act { kind: Kind::Cut, extent, epoch, sequence: after, offset, length: rest(offset) };
    assert!(base.sequence < cut.sequence || cut.says_nothing(), "the CUT is above the IMAGE");
    assert!(cut.fences() || cut.length != 0, "a CUT that says nothing fences");
    [base, cut]
}
