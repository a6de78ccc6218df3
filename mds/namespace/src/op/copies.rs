//! Gives extents to other servers: copies that change, and new primaries for extents whose servers
//! are lost.
//!
//! Spec: docs/protocol/replicate.md §3, §4; docs/protocol/seal.md §9.

use layout::{DataServerId, EXTENT_BYTES, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

use crate::op::extent::{CopyChange, changed, dismiss, distinct, extent, unfinished};
use crate::op::queue::{Action, queue_work, requeue};
use crate::op::{formers, prove, seal};
use crate::sealed;
use crate::store::Txn;
use crate::work::WorkItem;
use crate::{ExtentRecord, FsError};

/// Changes who keeps an extent, and answers its record afterwards; `None` if there is none. Nothing
/// changes if the epoch is not the expected one any more, or if bytes could be lost: a primary must
/// be the old one or a replica that holds everything, and a replica holds everything if it did
/// before, or if it was being filled and `change` says that it is done.
///
/// A server that leaves is asked to forget the extent, and what the old primary was to do is the
/// new one's work. A new primary must show first that it has what it is to serve: until then no
/// server that had everything forgets it ([`prove`]).
///
/// # Errors
/// [`FsError::Store`].
pub fn change_copies(txn: &mut dyn Txn, change: &CopyChange) -> Result<Option<ExtentRecord>, FsError> {
    let Some(before) = extent(txn, change.extent)? else { return Ok(None) };
    if before.epoch != change.epoch || before.copies() == change.copies {
        return Ok(Some(before));
    }
    let pending = unfinished(txn, &before)?;
    match &pending {
        // A primary that has nothing yet can fill no other.
        Some(WorkItem::Adopt { .. }) => return Ok(Some(before)),
        // A server that is still to forget the extent must not get it meanwhile.
        Some(WorkItem::Yield { home, .. }) if change.copies.servers().contains(home) => {
            return Ok(Some(before));
        }
        _ => {}
    }
    let were = formers::named(pending.as_ref());
    let Some(after) = changed(&before, change, were) else { return Ok(Some(before)) };
    if prove::is_due(&before, pending.as_ref(), &after) {
        return prove::change(txn, before, were, after).map(Some);
    }
    let after = requeue(txn, after)?;
    assert!(before.epoch < after.epoch, "other copies have a higher epoch");
    dismiss(txn, &before, &after)?;
    Ok(Some(after))
}

/// A new primary, alone, for an extent whose servers are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// Which extent.
    pub extent: ExtentId,
    /// The epoch it must still have.
    pub epoch: Epoch,
    /// The server that is to adopt it.
    pub home: DataServerId,
}

/// Gives an extent another primary that has nothing of it: one that is at rest, which its group can
/// tell, or one of which nothing was promised, which begins empty. Answers its record afterwards,
/// `None` if there is none. Nothing changes if the epoch is not the expected one any more, if the
/// extent is neither, or if other work is pending for it than may be left out then.
///
/// The caller knows that no server of the set serves the extent or can promise anything of it.
///
/// # Errors
/// [`FsError::Store`].
pub fn adopt(txn: &mut dyn Txn, asked: &Adoption) -> Result<Option<ExtentRecord>, FsError> {
    let Some(before) = extent(txn, asked.extent)? else { return Ok(None) };
    let images = sealed::images(txn, asked.extent)?;
    let pending = unfinished(txn, &before)?;
    let rests = match pending {
        None => before.pending_work.is_none() && images.at_rest().is_some(),
        // What was cut since it began is said with the work.
        Some(WorkItem::Adopt { .. }) => images.whole_but_for_cuts().is_some(),
        Some(WorkItem::Prove { .. }) => images.at_rest().is_some(),
        Some(
            WorkItem::Cut { .. } | WorkItem::Drop { .. } | WorkItem::Fence { .. } | WorkItem::Yield { .. },
        ) => false,
    };
    let action = match pending {
        _ if rests => Action::Adopt { keep_bytes: EXTENT_BYTES },
        // What the next primary may still have of an earlier stay goes before it serves; so does
        // what was asked of the one before.
        None | Some(WorkItem::Cut { .. } | WorkItem::Fence { .. }) if before.unpromised => {
            Action::Cut { keep_bytes: 0, fences: true }
        }
        _ => return Ok(Some(before)),
    };
    let after = ExtentRecord { home: asked.home, backups: vec![], ..before.clone() };
    let were = formers::named(pending.as_ref());
    let is_other = before.home != asked.home && !were.contains(asked.home);
    if before.epoch != asked.epoch || !is_other || !distinct(&after) {
        return Ok(Some(before));
    }
    if !rests {
        seal::forget(txn, asked.extent)?;
    }
    let after = queue_work(txn, after, action)?.record;
    assert!(after.pending_work.is_some(), "no handle is given out before the extent is adopted");
    dismiss(txn, &before, &after)?;
    formers::dismiss(txn, &after, were)?;
    Ok(Some(after))
}
