//! Extent records: where a file's bytes live, and the epochs that say who may touch them.
//!
//! Every rise of an epoch queues work for the extent's home; until that is done `pending_work` is
//! set, and no new handle may be given out. Old ones stay good until a fence or drop is done; a cut
//! refuses none. Work that is not done when more is asked is replaced by one item that asks for
//! both.
//!
//! Spec: docs/protocol/control.md; docs/formats/namespace.md.

use layout::copies::{COPIES_MAX, Copies, Formers};
use layout::ec::Profile;
use layout::{Backup, DataServerId, EXTENT_BYTES, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::inode::Ino;
use crate::inode_table;
use crate::keys;
use crate::op::{prove, seal};
use crate::sealed;
use crate::store::{self, StoreError, Txn, View};
use crate::superblock;
use crate::work::WorkItem;
use crate::{ExtentRecord, FsError};

/// Reads an extent's record.
///
/// # Errors
/// [`FsError::Store`].
pub fn extent(view: &dyn View, id: ExtentId) -> Result<Option<ExtentRecord>, FsError> {
    let mut found = Ok(None);
    view.read(&keys::extent(id), &mut |value| found = codec::decode_extent(id, value).map(Some))?;
    Ok(found?)
}

/// Lists a file's extent records from index `from_index` on, by ascending index, at most
/// `records_max`.
///
/// # Errors
/// [`FsError::Store`].
pub fn extents(
    view: &dyn View,
    ino: Ino,
    from_index: u32,
    records_max: usize,
) -> Result<Vec<ExtentRecord>, FsError> {
    let from = keys::extent(ExtentId { ino, index: from_index });
    let to = keys::extent(ExtentId { ino: ino.saturating_add(1), index: 0 });
    list(view, &from, &to, records_max)
}

fn list(view: &dyn View, from: &[u8], to: &[u8], records_max: usize) -> Result<Vec<ExtentRecord>, FsError> {
    Ok(store::list(view, from, to, records_max, decode)?)
}

/// Reads an extent's record from its key and value.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<ExtentRecord, StoreError> {
    codec::decode_extent(keys::extent_of(key).ok_or(StoreError::Corrupt("extent key"))?, value)
}

/// Lists extent records of all files from one on, in order, at most `records_max`.
///
/// # Errors
/// [`FsError::Store`].
pub fn all_from(view: &dyn View, from: ExtentId, records_max: usize) -> Result<Vec<ExtentRecord>, FsError> {
    list(view, &keys::extent(from), &[keys::TAG_EXTENT + 1], records_max)
}

/// Gives an extent a home and backups, or answers those it has. There is nothing to hold yet, so
/// the backups hold everything. A code is the extent's for good. Does not move the file's content.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::IsDirectory`], [`FsError::WrongKind`].
pub fn allocate(
    txn: &mut dyn Txn,
    id: ExtentId,
    home: DataServerId,
    backups: &[DataServerId],
    code: Option<Profile>,
) -> Result<ExtentRecord, FsError> {
    inode_table::regular(txn, id.ino)?;
    if let Some(record) = extent(txn, id)? {
        return Ok(record);
    }
    let since = Epoch::FIRST;
    let backups = backups.iter().map(|server| Backup { server: *server, since, filling: false }).collect();
    let (epoch, pending_work, unpromised) = (Epoch::FIRST, None, true);
    let record = ExtentRecord { extent: id, home, backups, epoch, pending_work, code, unpromised };
    if !distinct(&record) {
        return Err(FsError::Invalid);
    }
    put(txn, &record)?;
    Ok(record)
}

/// Other copies for an extent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyChange {
    /// Which extent.
    pub extent: ExtentId,
    /// The epoch it must still have.
    pub epoch: Epoch,
    /// Where it is to be kept.
    pub copies: Copies,
}

/// Raises an extent's epoch: handles given out before are refused as soon as the home has done the
/// queued work.
///
/// # Errors
/// [`FsError::NoSuchExtent`].
pub fn fence(txn: &mut dyn Txn, id: ExtentId) -> Result<ExtentRecord, FsError> {
    let record = extent(txn, id)?.ok_or(FsError::NoSuchExtent)?;
    Ok(queue(txn, record, Action::Fence)?.record)
}

/// Changes who keeps an extent, and answers its record afterwards; `None` if there is none. Nothing
/// changes if the epoch is not the expected one any more, or if bytes could be lost: a home must be
/// the old one or a backup that holds everything, and a backup holds everything if it did before,
/// or if it was being filled and `change` says that it is done.
///
/// Whoever leaves is asked to forget the extent, and what the old home was to do is the new one's
/// work. A new home must show first that it has what it is to serve: until then no server that had
/// everything forgets it ([`prove`]).
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
        // A home that has nothing yet can fill nobody.
        Some(WorkItem::Adopt { .. }) => return Ok(Some(before)),
        // Who is still to forget the extent must not get it meanwhile.
        Some(WorkItem::Yield { home, .. }) if change.copies.servers().contains(home) => {
            return Ok(Some(before));
        }
        _ => {}
    }
    let formers = prove::named(pending.as_ref());
    let Some(after) = changed(&before, change, formers) else { return Ok(Some(before)) };
    if prove::is_due(&before, pending.as_ref(), &after) {
        return prove::change(txn, before, formers, after).map(Some);
    }
    let after = requeue(txn, after)?;
    dismiss(txn, &before, &after)?;
    Ok(Some(after))
}

/// The record with other copies, its epoch and work as they were; `None` if bytes could be lost.
pub(super) fn changed(before: &ExtentRecord, change: &CopyChange, formers: Formers) -> Option<ExtentRecord> {
    let was = |server: DataServerId| before.backups.iter().find(|backup| backup.server == server);
    let whole = |server| was(server).is_some_and(|backup| !backup.filling);
    let copies = &change.copies;
    let home_fits = copies.home == before.home || whole(copies.home) || formers.contains(copies.home);
    let backups_fit = copies.backups.iter().all(|(server, filling)| *filling || was(*server).is_some());
    let epoch = before.epoch.next();
    let backup = |(server, filling): &(DataServerId, bool)| {
        let since = was(*server).map_or(epoch, |backup| backup.since);
        Backup { server: *server, since, filling: *filling }
    };
    let after = ExtentRecord {
        home: copies.home,
        backups: copies.backups.iter().map(backup).collect(),
        ..before.clone()
    };
    (home_fits && backups_fit && distinct(&after)).then_some(after)
}

/// Has those who are not in the set any more forget the extent.
pub(super) fn dismiss(txn: &mut dyn Txn, before: &ExtentRecord, after: &ExtentRecord) -> Result<(), FsError> {
    for server in before.servers().filter(|server| after.servers().all(|stays| stays != *server)) {
        drop_at(txn, after.extent, server, after.epoch)?;
    }
    Ok(())
}

/// Has a server that nobody waits for forget an extent.
pub(super) fn drop_at(
    txn: &mut dyn Txn,
    extent: ExtentId,
    home: DataServerId,
    epoch: Epoch,
) -> Result<(), FsError> {
    let number = superblock::next_work(txn)?;
    let gone = WorkItem::Drop { extent, home, epoch };
    Ok(txn.put(&keys::work(number), &codec::encode_work(&gone))?)
}

/// A new home, alone, for an extent whose servers are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// Which extent.
    pub extent: ExtentId,
    /// The epoch it must still have.
    pub epoch: Epoch,
    /// The server that is to adopt it.
    pub home: DataServerId,
}

/// Gives an extent another home that has nothing of it: one that is at rest, which its group can
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
        // What the next home may still have of an earlier stay goes before it serves; so does what
        // was asked of the one before.
        None | Some(WorkItem::Cut { .. } | WorkItem::Fence { .. }) if before.unpromised => {
            Action::Cut { keep_bytes: 0, fences: true }
        }
        _ => return Ok(Some(before)),
    };
    let after = ExtentRecord { home: asked.home, backups: vec![], ..before.clone() };
    let formers = prove::named(pending.as_ref());
    let is_other = before.home != asked.home && !formers.contains(asked.home);
    if before.epoch != asked.epoch || !is_other || !distinct(&after) {
        return Ok(Some(before));
    }
    if !rests {
        seal::forget(txn, asked.extent)?;
    }
    let after = queue(txn, after, action)?.record;
    dismiss(txn, &before, &after)?;
    prove::dismiss(txn, &after, formers)?;
    Ok(Some(after))
}

/// Raises the epoch; unfinished work is done under the new one, by the home there is now.
fn requeue(txn: &mut dyn Txn, mut record: ExtentRecord) -> Result<ExtentRecord, FsError> {
    let Some(item) = unfinished(txn, &record)? else {
        record.epoch = record.epoch.next();
        put(txn, &record)?;
        return Ok(record);
    };
    let action = as_action(&item);
    Ok(queue(txn, record, action)?.record)
}

/// The work that an extent waits for.
pub(super) fn unfinished(view: &dyn View, record: &ExtentRecord) -> Result<Option<WorkItem>, FsError> {
    record.pending_work.map_or(Ok(None), |number| item(view, number))
}

/// No server keeps an extent twice, and none is number 0.
fn distinct(record: &ExtentRecord) -> bool {
    let mut servers: Vec<DataServerId> = record.servers().collect();
    let count = servers.len();
    servers.sort_unstable();
    servers.dedup();
    servers.len() == count && count <= COPIES_MAX && servers.iter().all(|server| server.0 != 0)
}

/// What a home is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Fence,
    Cut {
        keep_bytes: u64,
        fences: bool,
    },
    Drop,
    Adopt {
        keep_bytes: u64,
    },
    /// Asked of `by`, which was home before.
    Yield {
        by: DataServerId,
        keep_bytes: u64,
    },
    Prove {
        keep_bytes: u64,
        formers: Formers,
    },
}

impl Action {
    /// Bytes of the extent that stay.
    pub(crate) fn keep_bytes(self) -> u64 {
        match self {
            Self::Fence => EXTENT_BYTES,
            Self::Cut { keep_bytes, .. }
            | Self::Adopt { keep_bytes }
            | Self::Yield { keep_bytes, .. }
            | Self::Prove { keep_bytes, .. } => keep_bytes,
            Self::Drop => 0,
        }
    }
}

/// Work that stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) number: u64,
    pub(crate) record: ExtentRecord,
    /// What is asked, earlier unfinished work included.
    pub(crate) action: Action,
}

/// Raises the epoch and queues work for it, in place of unfinished work of the extent.
pub(crate) fn queue(txn: &mut dyn Txn, mut record: ExtentRecord, asked: Action) -> Result<Queued, FsError> {
    let mut action = asked;
    if let Some(number) = record.pending_work {
        if let Some(unfinished) = item(txn, number)? {
            action = both(&unfinished, asked);
            if let (WorkItem::Yield { home, .. }, Action::Drop) = (&unfinished, action) {
                drop_at(txn, record.extent, *home, record.epoch.next())?;
            }
            if action == Action::Drop {
                let gone = ExtentRecord { epoch: record.epoch.next(), ..record.clone() };
                prove::dismiss(txn, &gone, prove::named(Some(&unfinished)))?;
            }
        }
        txn.delete(&keys::work(number))?;
    }
    let number = superblock::next_work(txn)?;
    record.epoch = record.epoch.next();
    record.pending_work = Some(number);
    put(txn, &record)?;
    let ExtentRecord { extent, home, epoch, .. } = record.clone();
    if let Action::Cut { .. } = asked {
        seal::note_cut(txn, extent, epoch)?;
    }
    let item = match action {
        Action::Adopt { keep_bytes } => WorkItem::Adopt { extent, home, epoch, keep_bytes },
        Action::Fence => WorkItem::Fence { extent, home, epoch },
        Action::Cut { keep_bytes, fences } => WorkItem::Cut { extent, home, epoch, keep_bytes, fences },
        Action::Drop => WorkItem::Drop { extent, home, epoch },
        Action::Yield { by, keep_bytes } => WorkItem::Yield { extent, home: by, epoch, keep_bytes },
        Action::Prove { keep_bytes, formers } => WorkItem::Prove { extent, home, epoch, keep_bytes, formers },
    };
    txn.put(&keys::work(number), &codec::encode_work(&item))?;
    Ok(Queued { number, record, action })
}

/// The least that does both. A cut refuses no handle, so a fence must not be lost in one. The
/// smaller of two cuts takes no byte that somebody was promised: while a cut is not done, its
/// truncation is not answered, or the home has no lease and serves no WRITE. To take an extent up
/// is to fence it, and so is to yield or to prove it: no handle was given out since that was asked.
fn both(unfinished: &WorkItem, asked: Action) -> Action {
    match (as_action(unfinished), asked) {
        (Action::Drop, _) | (_, Action::Drop) => Action::Drop,
        (Action::Fence, Action::Fence) => Action::Fence,
        (Action::Yield { by, keep_bytes }, other) | (other, Action::Yield { by, keep_bytes }) => {
            Action::Yield { by, keep_bytes: keep_bytes.min(other.keep_bytes()) }
        }
        (Action::Adopt { keep_bytes }, other) | (other, Action::Adopt { keep_bytes }) => {
            Action::Adopt { keep_bytes: keep_bytes.min(other.keep_bytes()) }
        }
        // Who was former before is among those that are asked for now.
        (Action::Prove { keep_bytes, .. }, Action::Prove { formers, keep_bytes: asked }) => {
            Action::Prove { keep_bytes: keep_bytes.min(asked), formers }
        }
        (Action::Prove { keep_bytes, formers }, other) | (other, Action::Prove { keep_bytes, formers }) => {
            Action::Prove { keep_bytes: keep_bytes.min(other.keep_bytes()), formers }
        }
        (Action::Fence, Action::Cut { keep_bytes, .. }) | (Action::Cut { keep_bytes, .. }, Action::Fence) => {
            Action::Cut { keep_bytes, fences: true }
        }
        (Action::Cut { keep_bytes, fences }, Action::Cut { keep_bytes: asked, fences: asks }) => {
            Action::Cut { keep_bytes: asked.min(keep_bytes), fences: fences || asks }
        }
    }
}

fn as_action(item: &WorkItem) -> Action {
    match *item {
        WorkItem::Fence { .. } => Action::Fence,
        WorkItem::Cut { keep_bytes, fences, .. } => Action::Cut { keep_bytes, fences },
        WorkItem::Drop { .. } => Action::Drop,
        WorkItem::Adopt { keep_bytes, .. } => Action::Adopt { keep_bytes },
        WorkItem::Yield { home, keep_bytes, .. } => Action::Yield { by: home, keep_bytes },
        WorkItem::Prove { keep_bytes, formers, .. } => Action::Prove { keep_bytes, formers },
    }
}

/// An item of work, by its number; `None` once it is done.
///
/// # Errors
/// [`FsError::Store`].
pub fn item(view: &dyn View, number: u64) -> Result<Option<WorkItem>, FsError> {
    let mut found = Ok(None);
    view.read(&keys::work(number), &mut |value| found = codec::decode_work(value).map(Some))?;
    Ok(found?)
}

pub(crate) fn put(txn: &mut dyn Txn, record: &ExtentRecord) -> Result<(), FsError> {
    Ok(txn.put(&keys::extent(record.extent), &codec::encode_extent(record))?)
}
