//! LAYOUTGET, LAYOUTRETURN, LAYOUTCOMMIT and recalls, on the records that `layout::state` decides
//! about.
//!
//! Spec: RFC 8881 §12.5, §18.42, §18.43, §18.44, §20.3.

use layout::ec::Profile;
use layout::state::{self as decide, Kept, LayoutError, LayoutRecord, Shown};
use layout::{DataServerId, ExtentId, Iomode};
use mds_namespace::op::settle::{self, Settlement};
use mds_namespace::op::size::{self, Grown};
use mds_namespace::op::{extent, inline, move_to_extents};
use mds_namespace::{Content, Granted, Timestamp, Txn, View, inode_table};

use super::{extents, table};
use crate::command::data::Allocate;
use crate::command::layout::{
    LayoutAnswer, LayoutCommit, LayoutGet, LayoutPlace, LayoutRecall, LayoutReturn, LayoutWrite, Recall,
    Returned,
};
use crate::command::{Outcome, Refusal, StateidValue};
use crate::key::{self, OTHER_BYTES};
use crate::limits::GRANTED_EXTENTS_MAX;
use crate::query::{self, WRITE};
use crate::record::{OpenRecord, StateKind};
use crate::values;

impl From<LayoutError> for Refusal {
    fn from(error: LayoutError) -> Self {
        match error {
            // QUIRK(linux): it never commits without a read-write part; any other client that does
            // asks for a layout it was not given.
            LayoutError::BadStateid | LayoutError::ReadOnly => Self::BadStateid,
            LayoutError::OldStateid => Self::OldStateid,
            LayoutError::Recalled => Self::Recalled,
        }
    }
}

fn record(view: &dyn View, ino: u64, client: u64) -> Result<Option<LayoutRecord>, Refusal> {
    values::read(view, &key::layout(ino, client))
}

/// The record that a layout stateid names.
fn named(view: &dyn View, ino: u64, client: u64, other: &[u8; OTHER_BYTES]) -> Result<LayoutRecord, Refusal> {
    record(view, ino, client)?.filter(|record| record.other == *other).ok_or(Refusal::BadStateid)
}

fn stateid(record: &LayoutRecord) -> StateidValue {
    StateidValue { seqid: record.seqid, other: record.other }
}

/// Whether the client has the file open in a mode that allows this. The layout stateid does not
/// show it: it may be one for reading, and the client may have closed the open with which it got
/// the layout.
fn check_open(view: &dyn View, ino: u64, client: u64, iomode: Iomode) -> Result<(), Refusal> {
    let opens: Vec<OpenRecord> = values::list(view, &key::opens(ino))?;
    let mut own = opens.iter().filter(|open| open.client == client).peekable();
    own.peek().ok_or(Refusal::BadStateid)?;
    let allows = own.any(|open| !iomode.writes() || open.share.access & WRITE != 0);
    if allows { Ok(()) } else { Err(Refusal::OpenMode) }
}

/// Grants a layout of an extent that has a primary. Such an entry lacks the primary's report of the
/// extent.
pub(super) fn get(txn: &mut dyn Txn, asked: &LayoutGet) -> Result<Outcome, Refusal> {
    get_noting(txn, asked, &[Granted { index: asked.extent.index, seen: None }], false)
}

/// As [`get`]; `granted` are the extents that the client may then write.
fn get_noting(
    txn: &mut dyn Txn,
    asked: &LayoutGet,
    granted: &[Granted],
    drops_set_id: bool,
) -> Result<Outcome, Refusal> {
    table::check_client(txn, asked.client)?;
    let ino = asked.extent.ino;
    let held = record(txn, ino, asked.client)?;
    let shown = match StateKind::of_number(asked.stateid.other[0]) {
        Some(StateKind::Layout) => {
            named(txn, ino, asked.client, &asked.stateid.other)?;
            check_open(txn, ino, asked.client, asked.iomode)?;
            Shown::Layout { seqid: asked.stateid.seqid }
        }
        _ => {
            query::io_right(txn, asked.client, ino, asked.stateid, asked.iomode.writes())?;
            Shown::Open
        }
    };
    let inode = inode_table::regular(txn, ino)?;
    if inode.content != Content::Extents {
        return Err(Refusal::ContentMoved);
    }
    let extent = extent::extent(txn, asked.extent)?.ok_or(Refusal::NoSuchExtent)?;
    let extent = extents::settled(extent)?;
    let fresh = match &held {
        Some(held) => held.other,
        None => table::add_layout(txn, ino, asked.client)?,
    };
    let layout = decide::grant(held.as_ref(), shown, asked.iomode, fresh)?;
    assert!(layout.other == fresh, "a layout keeps its identity");
    assert!(layout.holds(Some(asked.iomode)), "what is granted is held");
    assert!(layout.recall_seqid.is_none(), "nothing is granted during a recall");
    assert!(extent.extent == asked.extent, "the record is of the extent that was asked for");
    if asked.iomode.writes() {
        settle::grant(txn, ino, granted, drops_set_id)?;
    }
    table::put_layout(txn, ino, asked.client, &layout)?;
    Ok(Outcome::Layout(LayoutAnswer { stateid: stateid(&layout), extent, inode }))
}

/// LAYOUTGET for writing.
pub(super) fn write(txn: &mut dyn Txn, asked: &LayoutWrite) -> Result<Outcome, Refusal> {
    if GRANTED_EXTENTS_MAX < asked.granted.len() || !asked.get.iomode.writes() {
        return Err(Refusal::TableFull);
    }
    if let Some((home, backups)) = &asked.place {
        make_room(txn, asked.get.extent, *home, backups, asked.code)?;
    }
    get_noting(txn, &asked.get, &asked.granted, asked.drops_set_id)
}

pub(super) fn place(
    txn: &mut dyn Txn,
    asked: &LayoutPlace,
    code: Option<Profile>,
) -> Result<Outcome, Refusal> {
    make_room(txn, asked.get.extent, asked.home, &asked.backups, code)?;
    get(txn, &asked.get)
}

/// Gives an extent a primary and replicas; an inline file without bytes becomes one with extents.
fn make_room(
    txn: &mut dyn Txn,
    extent: ExtentId,
    home: DataServerId,
    backups: &[DataServerId],
    code: Option<Profile>,
) -> Result<(), Refusal> {
    let inode = inode_table::regular(txn, extent.ino)?;
    if inode.content == Content::Inline {
        // Such a record remains from a move that did not end, and bytes may lie behind it.
        let tried = extent::extent(txn, ExtentId { ino: extent.ino, index: 0 })?.is_some();
        if tried || !inline::stored(txn, extent.ino)?.is_empty() {
            return Err(Refusal::ContentMoved);
        }
        move_to_extents::move_to_extents(txn, extent.ino, inode.change)?;
    }
    extents::allocate(txn, &Allocate { extent, home, backups: backups.to_vec() }, code).map(drop)
}

/// Whether any client may write the file through a layout.
fn is_written(view: &dyn View, ino: u64) -> Result<bool, Refusal> {
    Ok(query::layouts(view, ino)?.iter().any(|(_, layout)| layout.read_write))
}

/// Removes a layout for writing. If it was the last one, and the primaries were queried before,
/// this settles the size. Else it voids the sizes that primaries reported so far.
fn end_writing(
    txn: &mut dyn Txn,
    now: Timestamp,
    ino: u64,
    settlement: Option<&Settlement>,
) -> Result<(), Refusal> {
    if let Some(settlement) = settlement.filter(|settlement| settlement.ino == ino)
        && !is_written(txn, ino)?
        && settle::settle(txn, settlement, now)?.is_some()
    {
        return Ok(());
    }
    Ok(settle::turn(txn, ino)?)
}

/// The size of a file that no client may write through a layout any more.
pub(super) fn settle_size(txn: &mut dyn Txn, now: Timestamp, asked: &Settlement) -> Result<Outcome, Refusal> {
    if is_written(txn, asked.ino)? {
        return Err(Refusal::Busy);
    }
    let inode = settle::settle(txn, asked, now)?.ok_or(Refusal::ContentMoved)?;
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn give_back(
    txn: &mut dyn Txn,
    now: Timestamp,
    asked: &LayoutReturn,
    settlement: Option<&Settlement>,
) -> Result<Outcome, Refusal> {
    let client = asked.client;
    match &asked.what {
        Returned::File { ino, iomode, whole, stateid: shown } => {
            let held = named(txn, *ino, client, &shown.other)?;
            let kept = keep(txn, *ino, client, &held, shown.seqid, *iomode, *whole)?;
            if held.read_write && !record(txn, *ino, client)?.is_some_and(|left| left.read_write) {
                end_writing(txn, now, *ino, settlement)?;
            }
            Ok(Outcome::LayoutReturned(kept))
        }
        Returned::All { iomode } => {
            for (ino, _) in query::of_kind(txn, client, StateKind::Layout, usize::MAX)? {
                let held = record(txn, ino, client)?.ok_or(Refusal::BadStateid)?;
                keep(txn, ino, client, &held, held.seqid, *iomode, true)?;
                if held.read_write && *iomode != Some(Iomode::Read) {
                    end_writing(txn, now, ino, None)?;
                }
            }
            Ok(Outcome::LayoutReturned(None))
        }
        Returned::Revoked { ino } => {
            if let Some(held) = record(txn, *ino, client)? {
                revoke(txn, *ino, client, &held)?;
            }
            Ok(Outcome::LayoutReturned(None))
        }
        Returned::Recalled { ino, other } => {
            let held = named(txn, *ino, client, other)?;
            // Without a pending recall the client has returned the recalled part, and may keep the
            // rest.
            held.recall_seqid.ok_or(Refusal::BadStateid)?;
            revoke(txn, *ino, client, &held)?;
            Ok(Outcome::LayoutReturned(None))
        }
    }
}

fn keep(
    txn: &mut dyn Txn,
    ino: u64,
    client: u64,
    held: &LayoutRecord,
    seqid: u32,
    iomode: Option<Iomode>,
    whole: bool,
) -> Result<Option<StateidValue>, Refusal> {
    match decide::give_back(held, seqid, iomode, whole)? {
        Kept::Nothing => {
            table::drop_layout(txn, ino, client, held)?;
            Ok(None)
        }
        Kept::Record(left) => {
            assert!(left.other == held.other, "a layout keeps its identity");
            assert!(left.seqid != held.seqid, "each return moves the sequence");
            assert!(held.read_write || !left.read_write, "a return adds no part");
            table::put_layout(txn, ino, client, &left)?;
            Ok(Some(stateid(&left)))
        }
    }
}

/// Revokes a layout that a client did not return. Returns whether the client could have written.
pub(super) fn revoke(txn: &mut dyn Txn, ino: u64, client: u64, held: &LayoutRecord) -> Result<bool, Refusal> {
    table::drop_layout(txn, ino, client, held)?;
    if held.read_write {
        settle::turn(txn, ino)?;
        // The client may still hold handles: data servers refuse them from the new epochs on.
        extents::fence_file(txn, ino)?;
    }
    Ok(held.read_write)
}

pub(super) fn commit(txn: &mut dyn Txn, now: Timestamp, asked: &LayoutCommit) -> Result<Outcome, Refusal> {
    let held = named(txn, asked.ino, asked.client, &asked.stateid.other)?;
    decide::check_commit(&held, asked.stateid.seqid)?;
    // A truncation may have removed what the client wrote: only the primaries know the file's end.
    let grown = Grown { end_bytes: None, mtime: asked.mtime, caller: Some(&asked.caller) };
    let inode = size::grow(txn, asked.ino, &grown, now)?;
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn recall(txn: &mut dyn Txn, asked: &LayoutRecall) -> Result<Outcome, Refusal> {
    let mut recalls = Vec::new();
    for (client, held) in query::layouts(txn, asked.ino)? {
        if asked.except_client == Some(client) {
            continue;
        }
        let Some(next) = decide::recall(&held, asked.iomode) else { continue };
        assert!(next.other == held.other, "a layout keeps its identity");
        assert!(next.recall_seqid == Some(next.seqid), "a recall has the stateid's sequence");
        table::put_layout(txn, asked.ino, client, &next)?;
        recalls.push(Recall { client, stateid: stateid(&next), iomode: next.held() });
    }
    Ok(Outcome::Recalls(recalls))
}
