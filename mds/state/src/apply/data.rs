//! Content, data servers, and the first entry of a file system.
//!
//! Spec: docs/protocol/control.md.

use layout::{Epoch, ExtentId};
use mds_namespace::op::format::Root;
use mds_namespace::op::size::{self, Grown};
use mds_namespace::op::{extent, format as format_op, inline, move_to_extents as move_op, work};
use mds_namespace::{Content, FsError, Superblock, Timestamp, Txn, View};

use super::{extents, layout as layouts, table};
use crate::command::data::{
    Format, MarkStore, MarkStores, Measured, MoveToExtents, Placing, RegisterDataServer, UnderCode, WorkDone,
    WriteInline, Written, WrittenAt,
};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::limits::{DATA_SERVERS_MAX, SERVER_ADDRESSES_MAX};
use crate::record::{DataServer, StoreMark};
use crate::values;

pub(super) fn write_inline(
    txn: &mut dyn Txn,
    now: Timestamp,
    asked: &WriteInline,
) -> Result<Outcome, Refusal> {
    let inode = inline::write(txn, &asked.caller, asked.ino, asked.offset_bytes, &asked.data, now)?;
    assert!(inode.content == Content::Inline, "what was written inline is inline");
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn move_to_extents(txn: &mut dyn Txn, asked: &MoveToExtents) -> Result<Outcome, Refusal> {
    let inode = move_op::move_to_extents(txn, asked.ino, asked.change)?;
    assert!(inode.content == Content::Extents, "the content is in extents from now on");
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn under_code(txn: &mut dyn Txn, asked: &UnderCode) -> Result<Outcome, Refusal> {
    match &asked.what {
        Placing::Allocate(allocate_asked) => extents::allocate(txn, allocate_asked, Some(asked.code)),
        Placing::Layout(place) => layouts::place(txn, place, Some(asked.code)),
    }
}

pub(super) fn written(txn: &mut dyn Txn, now: Timestamp, asked: &Written) -> Result<Outcome, Refusal> {
    let grown = Grown { end_bytes: Some(asked.end_bytes), mtime: None, caller: asked.caller.as_ref() };
    let inode = size::grow(txn, asked.ino, &grown, now)?;
    assert!(asked.end_bytes <= inode.size_bytes, "a file reaches to the end of what was written");
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn written_at(txn: &mut dyn Txn, now: Timestamp, asked: &WrittenAt) -> Result<Outcome, Refusal> {
    for (index, epoch) in &asked.extents {
        check_epoch(txn, ExtentId { ino: asked.ino, index: *index }, *epoch)?;
    }
    let grown = Grown { end_bytes: Some(asked.end_bytes), mtime: None, caller: Some(&asked.caller) };
    let inode = size::grow(txn, asked.ino, &grown, now)?;
    assert!(asked.end_bytes <= inode.size_bytes, "a file reaches to the end of what was written");
    Ok(Outcome::Inode(Box::new(inode)))
}

/// Checks that an extent still has the epoch that the proposer read.
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
    let inode = size::grow(txn, id.ino, &grown, now)?;
    assert!(end_bytes <= inode.size_bytes, "a file reaches to the end of what was measured");
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn work_done(txn: &mut dyn Txn, asked: &WorkDone) -> Result<Outcome, Refusal> {
    work::done(txn, &asked.items)?;
    Ok(Outcome::Done)
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
    let servers: Vec<DataServer> = values::list(txn, key::SERVERS)?;
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
            assert!(id != 0, "zero is no data server");
            assert!(servers.iter().all(|server| server.id != id), "no number is given out twice");
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
    let servers: Vec<DataServer> = values::list(txn, key::SERVERS)?;
    for MarkStore { uuid, mark, lowers } in &asked.marks {
        if !servers.iter().any(|server| server.uuid == *uuid) {
            continue;
        }
        let before: Option<StoreMark> = values::read(txn, &key::mark(uuid))?;
        if *lowers || before < Some(*mark) {
            table::put(txn, &key::mark(uuid), mark)?;
        }
    }
    Ok(Outcome::Done)
}

/// Formatting twice is done once: several nodes may propose it at the start of a cluster.
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
