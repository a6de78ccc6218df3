//! LAYOUTGET, LAYOUTRETURN, LAYOUTCOMMIT and recalls, on the records that `layout::state` decides about.
//!
//! Spec: RFC 8881 §12.5, §18.42, §18.43, §18.44, §20.3.

use layout::Iomode;
use layout::state::{self as decide, Kept, LayoutError, LayoutRecord, Shown};
use mds_namespace::op::size::{self, Grown};
use mds_namespace::op::{extent, inline, move_to_extents};
use mds_namespace::{Content, Timestamp, Txn, View, inode_table};

use super::{data, table};
use crate::command::data::Allocate;
use crate::command::layout::{
    LayoutAnswer, LayoutCommit, LayoutGet, LayoutPlace, LayoutRecall, LayoutReturn, Recall, Returned,
};
use crate::command::{Outcome, Refusal, StateidValue};
use crate::key::{self, OTHER_BYTES};
use crate::record::StateKind;
use crate::state;

impl From<LayoutError> for Refusal {
    fn from(error: LayoutError) -> Self {
        match error {
            // QUIRK(linux): a commit without a read-write part never comes from it; anyone else asks for a layout
            // it was not given.
            LayoutError::BadStateid | LayoutError::ReadOnly => Self::BadStateid,
            LayoutError::OldStateid => Self::OldStateid,
            LayoutError::Recalled => Self::Recalled,
        }
    }
}

fn record(view: &dyn View, ino: u64, client: u64) -> Result<Option<LayoutRecord>, Refusal> {
    state::read(view, &key::layout(ino, client))
}

/// The record that a layout stateid names.
fn named(view: &dyn View, ino: u64, client: u64, other: &[u8; OTHER_BYTES]) -> Result<LayoutRecord, Refusal> {
    record(view, ino, client)?.filter(|record| record.other == *other).ok_or(Refusal::BadStateid)
}

fn stateid(record: &LayoutRecord) -> StateidValue {
    StateidValue { seqid: record.seqid, other: record.other }
}

pub(super) fn get(txn: &mut dyn Txn, asked: &LayoutGet) -> Result<Outcome, Refusal> {
    table::check_client(txn, asked.client)?;
    let ino = asked.extent.ino;
    let held = record(txn, ino, asked.client)?;
    let shown = match StateKind::of_number(asked.stateid.other[0]) {
        Some(StateKind::Layout) => {
            named(txn, ino, asked.client, &asked.stateid.other)?;
            Shown::Layout { seqid: asked.stateid.seqid }
        }
        _ => {
            state::io_right(txn, asked.client, ino, asked.stateid, asked.iomode.writes())?;
            Shown::Open
        }
    };
    let inode = inode_table::regular(txn, ino)?;
    if inode.content != Content::Extents {
        return Err(Refusal::ContentMoved);
    }
    let extent = extent::extent(txn, asked.extent)?.ok_or(Refusal::NoSuchExtent)?;
    let extent = data::settled(extent)?;
    let fresh = match &held {
        Some(held) => held.other,
        None => table::add_layout(txn, ino, asked.client)?,
    };
    let granted = decide::grant(held.as_ref(), shown, asked.iomode, fresh)?;
    table::put_layout(txn, ino, asked.client, &granted)?;
    Ok(Outcome::Layout(LayoutAnswer { stateid: stateid(&granted), extent, inode }))
}

pub(super) fn place(
    txn: &mut dyn Txn,
    asked: &LayoutPlace,
    code: Option<::layout::ec::Profile>,
) -> Result<Outcome, Refusal> {
    let extent = asked.get.extent;
    let inode = inode_table::regular(txn, extent.ino)?;
    if inode.content == Content::Inline {
        // A record from before is of a move that was cut short, and bytes may lie behind it.
        let tried = extent::extent(txn, ::layout::ExtentId { ino: extent.ino, index: 0 })?.is_some();
        if tried || !inline::stored(txn, extent.ino)?.is_empty() {
            return Err(Refusal::ContentMoved);
        }
        move_to_extents::move_to_extents(txn, extent.ino, inode.change)?;
    }
    let allocate = Allocate { extent, home: asked.home, backups: asked.backups.clone() };
    data::allocate(txn, &allocate, code)?;
    get(txn, &asked.get)
}

pub(super) fn give_back(txn: &mut dyn Txn, asked: &LayoutReturn) -> Result<Outcome, Refusal> {
    let client = asked.client;
    match &asked.what {
        Returned::File { ino, iomode, whole, stateid: shown } => {
            let held = named(txn, *ino, client, &shown.other)?;
            let kept = keep(txn, *ino, client, &held, shown.seqid, *iomode, *whole)?;
            Ok(Outcome::LayoutReturned(kept))
        }
        Returned::All { iomode } => {
            for (ino, _) in state::of_kind(txn, client, StateKind::Layout, usize::MAX)? {
                let held = record(txn, ino, client)?.ok_or(Refusal::BadStateid)?;
                keep(txn, ino, client, &held, held.seqid, *iomode, true)?;
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
            // Else what was asked for came back, and the rest may be kept.
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
            table::put_layout(txn, ino, client, &left)?;
            Ok(Some(stateid(&left)))
        }
    }
}

/// Takes a layout away from a client that did not give it back. Answers whether it could have written.
pub(super) fn revoke(txn: &mut dyn Txn, ino: u64, client: u64, held: &LayoutRecord) -> Result<bool, Refusal> {
    table::drop_layout(txn, ino, client, held)?;
    if held.read_write {
        // It may still hold handles: from the new epochs on the data servers refuse them.
        data::fence_file(txn, ino)?;
    }
    Ok(held.read_write)
}

pub(super) fn commit(txn: &mut dyn Txn, now: Timestamp, asked: &LayoutCommit) -> Result<Outcome, Refusal> {
    let held = named(txn, asked.ino, asked.client, &asked.stateid.other)?;
    decide::check_commit(&held, asked.stateid.seqid)?;
    // What it wrote may have been cut off since: that is why layouts are recalled by who cuts a file. Whoever asks for this looks at the homes.
    let end_bytes = asked.end_bytes.filter(|_| held.recall_seqid.is_none());
    let grown = Grown { end_bytes, mtime: asked.mtime, caller: Some(&asked.caller) };
    let inode = size::grow(txn, asked.ino, &grown, now)?;
    Ok(Outcome::Inode(Box::new(inode)))
}

pub(super) fn recall(txn: &mut dyn Txn, asked: &LayoutRecall) -> Result<Outcome, Refusal> {
    let mut recalls = Vec::new();
    for (client, held) in state::layouts(txn, asked.ino)? {
        if asked.except_client == Some(client) {
            continue;
        }
        let Some(next) = decide::recall(&held, asked.iomode) else { continue };
        table::put_layout(txn, asked.ino, client, &next)?;
        recalls.push(Recall { client, stateid: stateid(&next), iomode: next.held() });
    }
    Ok(Outcome::Recalls(recalls))
}
