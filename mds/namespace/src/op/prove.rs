//! A new primary proves what it has before a former server drops its copy.
//!
//! A replica that takes the place of a primary may have lost its disk a moment before. So those
//! that held everything when the primary last had shown what it has, and left the set since, are
//! *former* servers: they refuse handles and keep their bytes, and one of them is primary again if
//! the new one cannot show that it has them.
//!
//! INVARIANT: from the entry that gives an extent another primary until that primary has shown what
//! it has, work is pending: no handle is given out, and nothing is acknowledged. So every former
//! server, and every replica that holds everything, has every byte that was acknowledged.
//!
//! Spec: docs/protocol/replicate.md §4.

use layout::copies::Formers;
use layout::{DataServerId, EXTENT_BYTES, Epoch, ExtentId};

use crate::codec;
use crate::keys;
use crate::op::extent;
use crate::op::queue::{Action, queue_work};
use crate::op::work;
use crate::store::Txn;
use crate::superblock;
use crate::work::WorkItem;
use crate::{ExtentRecord, FsError};

/// Whether the primary is to show what it has once the copies of an extent have changed so.
pub(super) fn is_due(before: &ExtentRecord, pending: Option<&WorkItem>, after: &ExtentRecord) -> bool {
    match pending {
        Some(WorkItem::Prove { .. }) => true,
        // The old primary keeps what it has until it yields; of a file that goes nothing is to be
        // kept.
        Some(WorkItem::Yield { .. } | WorkItem::Drop { .. } | WorkItem::Adopt { .. }) => false,
        None | Some(WorkItem::Cut { .. } | WorkItem::Fence { .. }) => {
            before.home != after.home && !before.unpromised
        }
    }
}

/// Changes the copies of an extent whose primary is to show what it has, and answers the record
/// afterwards. Nothing changes if a server that has everything would count as one that has not, or
/// the other way round.
pub(super) fn change(
    txn: &mut dyn Txn,
    before: ExtentRecord,
    were: Formers,
    after: ExtentRecord,
) -> Result<ExtentRecord, FsError> {
    let filling = |server| before.backups.iter().any(|one| one.filling && one.server == server);
    let whole: Vec<DataServerId> =
        before.servers().filter(|server| !filling(*server)).chain(were.iter()).collect();
    let counts = after.backups.iter().all(|one| whole.contains(&one.server) != one.filling)
        && after.backups.iter().all(|one| !were.contains(one.server));
    let left = whole.iter().copied().filter(|server| after.servers().all(|stays| stays != *server));
    let Some(formers) = Formers::new(left).filter(|formers| counts && !formers.is_empty()) else {
        return Ok(before);
    };
    assert!(!after.servers().any(|server| formers.contains(server)), "a former server has left");
    let after = queue_work(txn, after, Action::Prove { keep_bytes: EXTENT_BYTES, formers })?.record;
    assert!(after.pending_work.is_some(), "no handle is given out before the proof");
    for server in formers.iter().filter(|server| !were.contains(*server)) {
        fence_at(txn, after.extent, server, after.epoch)?;
    }
    for backup in before.backups.iter().filter(|one| one.filling) {
        if after.servers().all(|stays| stays != backup.server) {
            extent::drop_at(txn, after.extent, backup.server, after.epoch)?;
        }
    }
    Ok(after)
}

/// A primary that was to yield is dead: it keeps what it has until the new one has shown that it
/// has it as well. Of an extent of which nothing was promised it has nothing to keep.
pub(super) fn instead_of_yield(
    txn: &mut dyn Txn,
    mut record: ExtentRecord,
    old: DataServerId,
    keep_bytes: u64,
) -> Result<(), FsError> {
    let Some(number) = record.pending_work else { return Ok(()) };
    if record.unpromised {
        extent::drop_at(txn, record.extent, old, record.epoch)?;
        return work::done(txn, &[number]);
    }
    txn.delete(&keys::work(number))?;
    record.pending_work = None;
    debug_assert!(!record.servers().any(|server| server == old), "a server that yields has left");
    let formers = Formers::new([old]).expect("one is not too many");
    let record = queue_work(txn, record, Action::Prove { keep_bytes, formers })?.record;
    fence_at(txn, record.extent, old, record.epoch)
}

/// A former server is gone for good: it is former no more, and a primary beside which there was no
/// other serves what it has. True if it was one.
pub(super) fn forget_former(
    txn: &mut dyn Txn,
    number: u64,
    item: &WorkItem,
    gone: DataServerId,
) -> Result<bool, FsError> {
    let WorkItem::Prove { extent, home, epoch, keep_bytes, formers } = *item else { return Ok(false) };
    if !formers.contains(gone) {
        return Ok(false);
    }
    let formers = formers.without(gone);
    assert!(!formers.contains(gone), "it is former no more");
    if formers.is_empty() {
        work::done(txn, &[number])?;
        return Ok(true);
    }
    let left = WorkItem::Prove { extent, home, epoch, keep_bytes, formers };
    txn.put(&keys::work(number), &codec::encode_work(&left))?;
    Ok(true)
}

/// Has a server that keeps what it has refuse every handle from before.
fn fence_at(txn: &mut dyn Txn, extent: ExtentId, home: DataServerId, epoch: Epoch) -> Result<(), FsError> {
    let number = superblock::next_work(txn)?;
    let fence = WorkItem::Fence { extent, home, epoch };
    Ok(txn.put(&keys::work(number), &codec::encode_work(&fence))?)
}
