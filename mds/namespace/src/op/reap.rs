//! Removes a file without names and opens.
//!
//! Its extents become work for their primaries and replicas; the inode is removed at once. Numbers
//! are never used again, so the dropped extents need no record.
//!
//! Spec: docs/formats/namespace.md.

use std::ops::ControlFlow;

use crate::FsError;
use crate::codec;
use crate::inode::Ino;
use crate::inode_table;
use crate::keys;
use crate::op::extent;
use crate::op::queue::{Action, queue_work};
use crate::op::{seal, settle};
use crate::store::{StoreError, Txn, View};
use crate::superblock;
use crate::work::WorkItem;

/// Removes a file without a name, and returns the work queued for data servers. A removed file is
/// no error.
///
/// # Errors
/// [`FsError::Busy`] if the file still has a name.
pub fn reap(txn: &mut dyn Txn, ino: Ino) -> Result<Vec<(u64, WorkItem)>, FsError> {
    let inode = match inode_table::inode(txn, ino) {
        Ok(inode) => inode,
        Err(FsError::Stale) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if inode.nlink != 0 {
        return Err(FsError::Busy);
    }
    let (mut work, mut copies) = (Vec::new(), 0);
    for record in extent::extents(txn, ino, 0, usize::MAX)? {
        let id = record.extent;
        copies += record.servers().count();
        let queued = queue_work(txn, record, Action::Drop)?;
        txn.delete(&keys::extent(id))?;
        seal::forget(txn, id)?;
        let epoch = queued.record.epoch;
        work.push((queued.number, WorkItem::Drop { extent: id, home: queued.record.home, epoch }));
        for backup in &queued.record.backups {
            let (number, home) = (superblock::next_work(txn)?, backup.server);
            let item = WorkItem::Drop { extent: id, home, epoch };
            txn.put(&keys::work(number), &codec::encode_work(&item))?;
            work.push((number, item));
        }
    }
    assert_eq!(work.len(), copies, "each copy of each extent is dropped");
    settle::forget(txn, ino)?;
    txn.delete(&keys::inline(ino))?;
    txn.delete(&keys::exclusive(ino))?;
    txn.delete(&keys::orphan(ino))?;
    inode_table::delete(txn, ino)?;
    Ok(work)
}

/// Whether a file has lost its last name, and still exists.
///
/// # Errors
/// [`FsError::Store`].
pub fn is_orphan(view: &dyn View, ino: Ino) -> Result<bool, FsError> {
    Ok(view.get(&keys::orphan(ino))?.is_some())
}

/// Lists files without a name, with a number above `after` (0: all), at most `files_max`.
///
/// # Errors
/// [`FsError::Store`].
pub fn orphans(view: &dyn View, after: Ino, files_max: usize) -> Result<Vec<Ino>, FsError> {
    let mut found = Vec::new();
    let mut corrupt = false;
    let (from, to) = (keys::orphan(after.saturating_add(1)), [keys::TAG_ORPHAN + 1]);
    view.range(&from, &to, &mut |key, _| {
        if found.len() == files_max {
            return ControlFlow::Break(());
        }
        match keys::number_of(key) {
            Some(ino) => found.push(ino),
            None => corrupt = true,
        }
        if corrupt { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    assert!(found.len() <= files_max, "no more files than were asked for");
    if corrupt { Err(StoreError::Corrupt("orphan key").into()) } else { Ok(found) }
}
