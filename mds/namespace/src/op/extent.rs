//! Extent records: where a file's bytes live, and the epochs that say who may touch them.
//!
//! `queue.rs` raises epochs, `copies.rs` moves extents to other servers.
//!
//! Spec: docs/protocol/control.md; docs/formats/namespace.md.

use layout::copies::{COPIES_MAX, Copies, Formers};
use layout::ec::Profile;
use layout::{Backup, DataServerId, Epoch, ExtentId};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::inode::Ino;
use crate::inode_table;
use crate::keys;
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

/// Gives an extent a primary and replicas, or answers those it has. There is nothing to hold yet,
/// so the replicas hold everything. A code is the extent's for good. Does not move the file's
/// content.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::IsDirectory`], [`FsError::WrongKind`].
pub fn allocate(
    txn: &mut dyn Txn,
    id: ExtentId,
    primary: DataServerId,
    replicas: &[DataServerId],
    code: Option<Profile>,
) -> Result<ExtentRecord, FsError> {
    inode_table::regular(txn, id.ino)?;
    if let Some(record) = extent(txn, id)? {
        return Ok(record);
    }
    let since = Epoch::FIRST;
    let full = |server: &DataServerId| Backup { server: *server, since, filling: false };
    let (home, backups) = (primary, replicas.iter().map(full).collect());
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

/// The record with other copies, its epoch and work as they were; `None` if bytes could be lost.
pub(super) fn changed(before: &ExtentRecord, change: &CopyChange, formers: Formers) -> Option<ExtentRecord> {
    let was = |server: DataServerId| before.backups.iter().find(|backup| backup.server == server);
    let whole = |server| was(server).is_some_and(|backup| !backup.filling);
    let copies = &change.copies;
    let primary_fits = copies.home == before.home || whole(copies.home) || formers.contains(copies.home);
    let replicas_fit = copies.backups.iter().all(|(server, filling)| *filling || was(*server).is_some());
    let epoch = before.epoch.next();
    let replica = |(server, filling): &(DataServerId, bool)| {
        let since = was(*server).map_or(epoch, |backup| backup.since);
        Backup { server: *server, since, filling: *filling }
    };
    let after = ExtentRecord {
        home: copies.home,
        backups: copies.backups.iter().map(replica).collect(),
        ..before.clone()
    };
    (primary_fits && replicas_fit && distinct(&after)).then_some(after)
}

/// Has the servers that are not in the set any more forget the extent.
pub(super) fn dismiss(txn: &mut dyn Txn, before: &ExtentRecord, after: &ExtentRecord) -> Result<(), FsError> {
    for server in before.servers().filter(|server| after.servers().all(|stays| stays != *server)) {
        drop_at(txn, after.extent, server, after.epoch)?;
    }
    Ok(())
}

/// Has a server forget an extent, which does not wait for that.
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

/// The work that an extent waits for.
pub(super) fn unfinished(view: &dyn View, record: &ExtentRecord) -> Result<Option<WorkItem>, FsError> {
    record.pending_work.map_or(Ok(None), |number| item(view, number))
}

/// No server keeps an extent twice, and none is number 0.
pub(super) fn distinct(record: &ExtentRecord) -> bool {
    let mut servers: Vec<DataServerId> = record.servers().collect();
    let count = servers.len();
    servers.sort_unstable();
    servers.dedup();
    servers.len() == count && count <= COPIES_MAX && servers.iter().all(|server| server.0 != 0)
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
    debug_assert!(distinct(record), "no server keeps an extent twice");
    check_successor(txn, record)?;
    Ok(txn.put(&keys::extent(record.extent), &codec::encode_extent(record))?)
}

/// Checks a record against the one in its place, in builds with assertions.
fn check_successor(view: &dyn View, record: &ExtentRecord) -> Result<(), FsError> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let Some(before) = extent(view, record.extent)? else { return Ok(()) };
    assert!(before.epoch <= record.epoch, "an epoch never falls");
    assert!(before.unpromised || !record.unpromised, "what was promised once stays promised");
    assert_eq!(before.code, record.code, "the code of an extent never changes");
    let moved = before.servers().ne(record.servers());
    assert!(!moved || before.epoch < record.epoch, "no set of servers changes within an epoch");
    Ok(())
}
