//! Extents: gives them homes, changes their copies and raises their epochs.
//!
//! Spec: docs/protocol/control.md.

use layout::ec::Profile;
use layout::{DataServerId, FILE_BYTES_MAX};
use mds_namespace::op::{copies, extent, queue};
use mds_namespace::{ExtentRecord, FsError, Txn, View};

use super::own_shard;
use crate::command::data::{Allocate, ChangeCopies, Fence};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::limits::COPY_CHANGES_MAX;
use crate::record::DataServer;
use crate::values;

/// An extent's record, if handles for it may be given out.
pub(super) fn settled(record: ExtentRecord) -> Result<ExtentRecord, Refusal> {
    if record.pending_work.is_some() { Err(Refusal::Busy) } else { Ok(told(record)) }
}

/// A record as an answer has it. The answer is kept for a request that is sent again, and by then
/// the promise may have changed.
pub(super) fn told(record: ExtentRecord) -> ExtentRecord {
    ExtentRecord { unpromised: false, ..record }
}

/// The code is for an extent that is made; `None` is the cluster's.
pub(super) fn allocate(
    txn: &mut dyn Txn,
    asked: &Allocate,
    code: Option<Profile>,
) -> Result<Outcome, Refusal> {
    if FILE_BYTES_MAX <= asked.extent.first_byte() {
        return Err(FsError::TooLarge.into());
    }
    all_known(txn, std::iter::once(asked.home).chain(asked.backups.iter().copied()))?;
    let record = extent::allocate(txn, asked.extent, asked.home, &asked.backups, code)?;
    assert!(record.extent == asked.extent, "the record is of the extent that gets a home");
    Ok(Outcome::Extent(settled(record)?))
}

pub(super) fn all_known(
    view: &dyn View,
    servers: impl IntoIterator<Item = DataServerId>,
) -> Result<(), Refusal> {
    // Only shard 0 knows data servers: the others take the governor's word.
    if !own_shard::is_first(view)? {
        return Ok(());
    }
    for id in servers {
        if server(view, id.0)?.is_none() {
            return Err(FsError::Invalid.into());
        }
    }
    Ok(())
}

pub(super) fn change_copies(txn: &mut dyn Txn, asked: &ChangeCopies) -> Result<Outcome, Refusal> {
    if COPY_CHANGES_MAX < asked.changes.len() {
        return Err(Refusal::TableFull);
    }
    let mut records = Vec::with_capacity(asked.changes.len());
    for change in &asked.changes {
        all_known(txn, change.copies.servers())?;
        records.push(copies::change_copies(txn, change)?.map(told));
    }
    assert!(records.len() == asked.changes.len(), "each change has its answer");
    Ok(Outcome::Copies(records))
}

fn server(view: &dyn View, id: u32) -> Result<Option<DataServer>, Refusal> {
    values::read(view, &key::server(id))
}

pub(super) fn fence(txn: &mut dyn Txn, asked: &Fence) -> Result<Outcome, Refusal> {
    let record = queue::fence(txn, asked.extent)?;
    assert!(record.extent == asked.extent, "the record is of the extent that is fenced");
    assert!(record.pending_work.is_some(), "a fence is work for the primary");
    Ok(Outcome::Extent(told(record)))
}

/// Raises the epochs of all extents of a file: a client that could write there no longer may.
pub(super) fn fence_file(txn: &mut dyn Txn, ino: u64) -> Result<(), Refusal> {
    for record in extent::extents(txn, ino, 0, usize::MAX)? {
        assert!(record.extent.ino == ino, "the extents are those of the file");
        let fenced = queue::fence(txn, record.extent)?;
        assert!(record.epoch < fenced.epoch, "a fence raises the epoch");
    }
    Ok(())
}
