//! A primary that is alive hands an extent over to one of its replicas.
//!
//! INVARIANT: until the old primary has reported that it no longer serves the extent, or surely has
//! no lease and gets none before it learns of the change, the extent has pending work, and no
//! handle for the new primary is given out.
//!
//! Spec: docs/protocol/admin.md §4.

use layout::EXTENT_BYTES;
use layout::copies::Formers;

use crate::op::extent::{self, CopyChange};
use crate::op::prove;
use crate::op::queue::{Action, queue_work};
use crate::store::Txn;
use crate::work::WorkItem;
use crate::{ExtentRecord, FsError};

/// Makes a complete replica the primary, and has the old primary yield. Returns the record
/// afterwards, `None` if there is none. Changes nothing if the epoch is not the expected one any
/// more, if work is pending, if bytes could be lost, or if the old primary would stay in the set.
///
/// # Errors
/// [`FsError::Store`].
pub fn hand_over(txn: &mut dyn Txn, change: &CopyChange) -> Result<Option<ExtentRecord>, FsError> {
    let Some(before) = extent::extent(txn, change.extent)? else { return Ok(None) };
    let fits = before.epoch == change.epoch
        && before.pending_work.is_none()
        && !change.copies.servers().contains(&before.home);
    let Some(after) = extent::changed(&before, change, Formers::default()).filter(|_| fits) else {
        return Ok(Some(before));
    };
    let old = before.home;
    assert!(after.servers().all(|server| server != old), "the server that yields leaves the set");
    let asked = Action::Yield { by: old, keep_bytes: EXTENT_BYTES };
    let after = queue_work(txn, after, asked)?.record;
    let others = ExtentRecord { home: after.home, ..before };
    extent::dismiss(txn, &others, &after)?;
    Ok(Some(after))
}

/// Stops waiting for primaries that should yield: they are dead. Each is fenced before it gets a
/// lease, and keeps its copy until the new primary has proved itself. Skips items that do not
/// exist, or are of another kind.
///
/// The caller ensures that these servers hold no lease and get none before their work is read
/// again.
///
/// # Errors
/// [`FsError::Store`].
pub fn wait_no_longer(txn: &mut dyn Txn, numbers: &[u64]) -> Result<(), FsError> {
    for &number in numbers {
        let Some(WorkItem::Yield { extent, home, keep_bytes, .. }) = extent::item(txn, number)? else {
            continue;
        };
        if let Some(record) =
            extent::extent(txn, extent)?.filter(|record| record.pending_work == Some(number))
        {
            prove::instead_of_yield(txn, record, home, keep_bytes)?;
        }
    }
    Ok(())
}
