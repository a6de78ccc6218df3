//! Work items: listed for their data servers, and deleted when done.
//!
//! Spec: docs/protocol/control.md.

use layout::EXTENT_BYTES;

use crate::codec;
use crate::keys;
use crate::op::extent;
use crate::op::{formers, seal};
use crate::store::{self, StoreError, Txn, View};
use crate::superblock;
use crate::work::WorkItem;
use crate::{ExtentRecord, FsError};

/// Lists work items with a number above `after` (0: all), oldest first, at most `items_max`.
///
/// # Errors
/// [`FsError::Store`].
pub fn pending(view: &dyn View, after: u64, items_max: usize) -> Result<Vec<(u64, WorkItem)>, FsError> {
    let (from, to) = (keys::work(after.saturating_add(1)), [keys::TAG_WORK + 1]);
    store::list(view, &from, &to, items_max, |key, value| {
        let number = keys::number_of(key).ok_or(StoreError::Corrupt("work item key"))?;
        Ok((number, codec::decode_work(value)?))
    })
}

/// Deletes finished items and makes their extents usable again. A cut that also fences leaves the
/// fence to do; a primary's yielding, or a new primary's proof, leaves a cut that was queued
/// meanwhile. After a proof, former servers drop the extent. Skips numbers that do not exist (done
/// before, or replaced by later work).
///
/// # Errors
/// [`FsError::Store`].
pub fn done(txn: &mut dyn Txn, numbers: &[u64]) -> Result<(), FsError> {
    for &number in numbers {
        let Some(item) = extent::item(txn, number)? else { continue };
        txn.delete(&keys::work(number))?;
        // The record is removed with the file.
        if let Some(mut record) = extent::extent(txn, item.extent())?
            && record.pending_work == Some(number)
        {
            record.pending_work = rest(txn, &record, &item)?;
            formers::dismiss(txn, &record, formers::named(Some(&item)))?;
            extent::put(txn, &record)?;
            // docs/protocol/seal.md §7: earlier images cannot be read any more.
            if let WorkItem::Cut { keep_bytes: 0, .. }
            | WorkItem::Adopt { keep_bytes: 0, .. }
            | WorkItem::Drop { .. } = item
            {
                seal::forget_below(txn, item.extent(), item.epoch())?;
            }
        }
    }
    Ok(())
}

/// Queues the work that a finished item leaves: the number of the new item, if there is one.
fn rest(txn: &mut dyn Txn, record: &ExtentRecord, item: &WorkItem) -> Result<Option<u64>, FsError> {
    let left = match *item {
        WorkItem::Cut { extent, home, epoch, fences: true, .. } => WorkItem::Fence { extent, home, epoch },
        WorkItem::Yield { extent, epoch, keep_bytes, .. }
        | WorkItem::Prove { extent, epoch, keep_bytes, .. }
            if keep_bytes < EXTENT_BYTES =>
        {
            WorkItem::Cut { extent, home: record.home, epoch, keep_bytes, fences: false }
        }
        _ => return Ok(None),
    };
    assert_eq!(left.extent(), item.extent(), "what an item leaves is of the same extent");
    assert_eq!(left.epoch(), item.epoch(), "what an item leaves is done within its epoch");
    let number = superblock::next_work(txn)?;
    txn.put(&keys::work(number), &codec::encode_work(&left))?;
    Ok(Some(number))
}
