//! Content, extents, data servers, and the first entry of a file system.
//!
//! Spec: docs/protocol/control.md.

use layout::ec::Profile;
use layout::{DataServerId, Epoch, ExtentId, FILE_BYTES_MAX};
use mds_namespace::op::format::Root;
use mds_namespace::op::size::{self, Grown};
use mds_namespace::op::{
    copies, extent, format as format_op, inline, move_to_extents as move_op, queue, work,
};
use mds_namespace::{ExtentRecord, FsError, Superblock, Timestamp, Txn, View};

use super::{governor, layout as layouts, table};
use crate::command::data::{
    Allocate, ChangeCopies, Fence, Format, MarkStore, MarkStores, Measured, MoveToExtents, Placing,
    RegisterDataServer, UnderCode, WorkDone, WriteInline, Written, WrittenAt,
};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::limits::{COPY_CHANGES_MAX, DATA_SERVERS_MAX, SERVER_ADDRESSES_MAX};
use crate::record::{DataServer, StoreMark};
use crate::state;

pub(super) fn write_inline(
    txn: &mut dyn Txn,
    now: Timestamp,
    asked: &WriteInline,
) -> Result<Outcome, Refusal> {
    let inode = inline::write(txn, &asked.caller, asked.ino, asked.offset_bytes, &asked.data, now)?;
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn move_to_extents(txn: &mut dyn Txn, asked: &MoveToExtents) -> Result<Outcome, Refusal> {
    let inode = move_op::move_to_extents(txn, asked.ino, asked.change)?;
    Ok(Outcome::Inode(Box::new(inode)))
}

/// An extent's record, if handles for it may be given out.
pub(super) fn settled(record: ExtentRecord) -> Result<ExtentRecord, Refusal> {
    if record.pending_work.is_some() { Err(Refusal::Busy) } else { Ok(told(record)) }
}

/// A record as an answer has it, which is kept for a request that is sent again: whether anything
/// was promised may be otherwise by then, and is no caller's business.
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
    Ok(Outcome::Extent(settled(record)?))
}

pub(super) fn under_code(txn: &mut dyn Txn, asked: &UnderCode) -> Result<Outcome, Refusal> {
    match &asked.what {
        Placing::Allocate(allocate_asked) => allocate(txn, allocate_asked, Some(asked.code)),
        Placing::Layout(place) => layouts::place(txn, place, Some(asked.code)),
    }
}

pub(super) fn all_known(
    view: &dyn View,
    servers: impl IntoIterator<Item = DataServerId>,
) -> Result<(), Refusal> {
    // Only shard 0 knows data servers: the others take the governor's word.
    if !governor::is_first(view)? {
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
    Ok(Outcome::Copies(records))
}

fn server(view: &dyn View, id: u32) -> Result<Option<DataServer>, Refusal> {
    state::read(view, &key::server(id))
}

pub(super) fn written(txn: &mut dyn Txn, now: Timestamp, asked: &Written) -> Result<Outcome, Refusal> {
    let grown = Grown { end_bytes: Some(asked.end_bytes), mtime: None, caller: asked.caller.as_ref() };
    let inode = size::grow(txn, asked.ino, &grown, now)?;
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn written_at(txn: &mut dyn Txn, now: Timestamp, asked: &WrittenAt) -> Result<Outcome, Refusal> {
    for (index, epoch) in &asked.extents {
        check_epoch(txn, ExtentId { ino: asked.ino, index: *index }, *epoch)?;
    }
    let grown = Grown { end_bytes: Some(asked.end_bytes), mtime: None, caller: Some(&asked.caller) };
    Ok(Outcome::Inode(Box::new(size::grow(txn, asked.ino, &grown, now)?)))
}

/// Whether an extent is as it was when somebody looked at it.
fn check_epoch(view: &dyn View, id: ExtentId, epoch: Epoch) -> Result<(), Refusal> {
    let record = extent::extent(view, id)?;
    if record.is_some_and(|record| record.epoch == epoch) { Ok(()) } else { Err(Refusal::ContentMoved) }
}

pub(super) fn measured(txn: &mut dyn Txn, now: Timestamp, asked: &Measured) -> Result<Outcome, Refusal> {
    let Measured { extent: id, epoch, end_bytes } = *asked;
    if id.end_byte() < end_bytes {
        return Err(FsError::Invalid.into());
    }
    check_epoch(txn, id, epoch)?;
    let grown = Grown { end_bytes: Some(end_bytes), mtime: None, caller: None };
    Ok(Outcome::Inode(Box::new(size::grow(txn, id.ino, &grown, now)?)))
}

pub(super) fn work_done(txn: &mut dyn Txn, asked: &WorkDone) -> Result<Outcome, Refusal> {
    work::done(txn, &asked.items)?;
    Ok(Outcome::Done)
}

pub(super) fn fence(txn: &mut dyn Txn, asked: &Fence) -> Result<Outcome, Refusal> {
    Ok(Outcome::Extent(told(queue::fence(txn, asked.extent)?)))
}

/// Raises the epochs of all extents of a file: somebody who could write there no longer may.
pub(super) fn fence_file(txn: &mut dyn Txn, ino: u64) -> Result<(), Refusal> {
    let extents: Vec<ExtentId> =
        extent::extents(txn, ino, 0, usize::MAX)?.into_iter().map(|record| record.extent).collect();
    for id in extents {
        queue::fence(txn, id)?;
    }
    Ok(())
}

/// A data server that comes back keeps its number: its extents are found by it.
pub(super) fn register(
    txn: &mut dyn Txn,
    asked: &RegisterDataServer,
    name: &str,
) -> Result<Outcome, Refusal> {
    if SERVER_ADDRESSES_MAX < asked.addresses.len() {
        return Err(Refusal::TableFull);
    }
    // docs/protocol/admin.md §2: what is on its disk may be of files that are gone.
    if txn.get(&key::removed(&asked.uuid))?.is_some() {
        return Err(FsError::NotPermitted.into());
    }
    let servers: Vec<DataServer> = state::list(txn, key::SERVERS)?;
    let known = servers.iter().find(|server| server.uuid == asked.uuid).map(|server| server.id);
    let id = match known {
        Some(id) => id,
        None => {
            if DATA_SERVERS_MAX <= servers.len() {
                return Err(Refusal::TableFull);
            }
            let mut counters = table::counters(txn)?;
            let id = counters.server;
            counters.server += 1;
            table::put(txn, key::COUNTERS, &counters)?;
            id
        }
    };
    let server = DataServer {
        id,
        uuid: asked.uuid,
        addresses: asked.addresses.clone(),
        control: asked.control.clone(),
        capacity_bytes: asked.capacity_bytes,
        zone: asked.zone.clone(),
        rack: asked.rack.clone(),
        host: asked.host.clone(),
        name: name.to_owned(),
    };
    table::put(txn, &key::server(id), &server)?;
    Ok(Outcome::DataServer(id))
}

/// A mark only goes up, but where an operator has accepted a loss.
pub(super) fn mark_stores(txn: &mut dyn Txn, asked: &MarkStores) -> Result<Outcome, Refusal> {
    if DATA_SERVERS_MAX < asked.marks.len() {
        return Err(Refusal::TableFull);
    }
    let servers: Vec<DataServer> = state::list(txn, key::SERVERS)?;
    for MarkStore { uuid, mark, lowers } in &asked.marks {
        if !servers.iter().any(|server| server.uuid == *uuid) {
            continue;
        }
        let before: Option<StoreMark> = state::read(txn, &key::mark(uuid))?;
        if *lowers || before < Some(*mark) {
            table::put(txn, &key::mark(uuid), mark)?;
        }
    }
    Ok(Outcome::Done)
}

/// Formatting twice is done once: whoever starts first proposes it, and several may think they are
/// first.
pub(super) fn format(txn: &mut dyn Txn, now: Timestamp, asked: &Format) -> Result<Outcome, Refusal> {
    let superblock = Superblock {
        file_system: asked.file_system,
        handle_key: asked.handle_key,
        cookie_key: asked.cookie_key,
    };
    let root = Root { uid: asked.root_uid, gid: asked.root_gid, mode: asked.root_mode };
    match format_op::format(txn, &superblock, root, now) {
        Ok(_) | Err(FsError::Exists) => Ok(Outcome::Done),
        Err(error) => Err(error.into()),
    }
}
