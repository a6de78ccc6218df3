//! Reads protocol state from the store, and checks stateids against it.
//!
//! Shared by `apply` (on the transaction) and [`StateView`](crate::StateView) (on a snapshot).
//! Reads only.
//!
//! Spec: RFC 8881 §8.2.2 to §8.2.4: a stateid's seqid of zero means the current one; a smaller one
//! than the current is old; a larger one was never given out. Sequences skip zero when they wrap.

use std::ops::ControlFlow;

use layout::state::LayoutRecord;
use mds_namespace::{Ino, StoreError, View, store, superblock};

use crate::command::lock::Conflict;
use crate::command::open::Share;
use crate::command::session::SlotMark;
use crate::command::{Refusal, StateidValue};
use crate::key::{self, OTHER_BYTES};
use crate::lock_ranges::Span;
use crate::lock_tree;
use crate::record::{ExportList, HandleKeys, LockRecord, OpenRecord, SlotRecord, StateKind, Value};
use crate::values::{list, read};

/// The access that a stateid of READ, WRITE or SETATTR gives its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoRight {
    /// The access of its open.
    pub share: Share,
    /// The open's identity.
    pub open: [u8; OTHER_BYTES],
}

/// Access bit of a share mode: read.
pub(crate) const READ: u32 = 1;
/// Access bit of a share mode: write.
pub(crate) const WRITE: u32 = 2;

/// The cluster's number of shards. A file system of a version that did not store it has one.
pub(crate) fn shards(view: &dyn View) -> Result<Option<u32>, Refusal> {
    if let Some(bytes) = view.get(key::SHARDS)? {
        let shards = bytes.as_slice().try_into().map(u32::from_be_bytes);
        return Ok(Some(shards.map_err(|_| StoreError::Corrupt("number of shards"))?));
    }
    match superblock::superblock(view) {
        Ok(_) => Ok(Some(1)),
        Err(StoreError::NotFormatted) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The cluster's exports; version 0 before there is a list.
pub(crate) fn exports(view: &dyn View) -> Result<ExportList, Refusal> {
    Ok(read(view, key::EXPORTS)?.unwrap_or_default())
}

/// The good keys of data-server handles.
pub(crate) fn handle_keys(view: &dyn View) -> Result<HandleKeys, Refusal> {
    Ok(read(view, key::HANDLE_KEYS)?.unwrap_or_default())
}

/// The data servers that are drained.
pub(crate) fn draining(view: &dyn View) -> Result<Vec<u32>, Refusal> {
    store::list(view, key::DRAINING, &key::after(key::DRAINING), usize::MAX, |key, _| {
        let id = key::parse_draining(key);
        id.ok_or_else(|| StoreError::Corrupt("key of a draining data server").into())
    })
}

/// State of one kind of a client, at most `limit` items.
pub(crate) fn of_kind(
    view: &dyn View,
    client: u64,
    kind: StateKind,
    limit: usize,
) -> Result<Vec<(Ino, [u8; OTHER_BYTES])>, Refusal> {
    let mut found = Vec::new();
    let from = key::of_kind(client, kind);
    view.range(&from, &key::after(&from), &mut |key, _| {
        if limit <= found.len() {
            return ControlFlow::Break(());
        }
        found.extend(key::parse_state_of(key).map(|(_, _, ino, other)| (ino, other)));
        ControlFlow::Continue(())
    })?;
    assert!(found.len() <= limit, "no more is returned than was asked for");
    Ok(found)
}

pub(crate) fn layouts(view: &dyn View, ino: Ino) -> Result<Vec<(u64, LayoutRecord)>, Refusal> {
    let from = key::layouts(ino);
    let mut clients = Vec::new();
    view.range(&from, &key::after(&from), &mut |key, _| {
        clients.extend(key::parse_layout(key).map(|(_, client)| client));
        ControlFlow::Continue(())
    })?;
    let records = list(view, &from)?;
    assert!(clients.len() == records.len(), "every layout key names a client");
    Ok(clients.into_iter().zip(records).collect())
}

/// The next sequence of a stateid: zero is skipped, it means "the current one".
pub(crate) const fn next_seqid(seqid: u32) -> u32 {
    match seqid.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// Checks a client's sequence against the current one. Half of the number space is "before", so
/// that this holds across a wrap.
pub(crate) fn check_seqid(shown: u32, current: u32) -> Result<(), Refusal> {
    if shown == 0 || shown == current {
        Ok(())
    } else if current.wrapping_sub(shown) < u32::MAX / 2 {
        Err(Refusal::OldStateid)
    } else {
        Err(Refusal::BadStateid)
    }
}

/// An open, if the stateid is a good one of this client and file.
pub(crate) fn open(
    view: &dyn View,
    client: u64,
    ino: Ino,
    stateid: StateidValue,
) -> Result<OpenRecord, Refusal> {
    let open: OpenRecord = read(view, &key::open(ino, &stateid.other))?.ok_or(Refusal::BadStateid)?;
    if open.client != client {
        return Err(Refusal::BadStateid);
    }
    debug_assert!(open.other == stateid.other, "an open is stored under its identity");
    check_seqid(stateid.seqid, open.seqid)?;
    Ok(open)
}

/// A lock, if the stateid is a good one of this client and file.
pub(crate) fn lock(
    view: &dyn View,
    client: u64,
    ino: Ino,
    stateid: StateidValue,
) -> Result<LockRecord, Refusal> {
    let lock: LockRecord = read(view, &key::lock(ino, &stateid.other))?.ok_or(Refusal::BadStateid)?;
    if lock.client != client {
        return Err(Refusal::BadStateid);
    }
    debug_assert!(lock.other == stateid.other, "a lock is stored under its identity");
    check_seqid(stateid.seqid, lock.seqid)?;
    Ok(lock)
}

/// A layout, if the stateid is a good one of this client and file.
pub(crate) fn layout(
    view: &dyn View,
    client: u64,
    ino: Ino,
    stateid: StateidValue,
) -> Result<LayoutRecord, Refusal> {
    let layout: LayoutRecord = read(view, &key::layout(ino, client))?.ok_or(Refusal::BadStateid)?;
    if layout.other != stateid.other {
        return Err(Refusal::BadStateid);
    }
    check_seqid(stateid.seqid, layout.seqid)?;
    Ok(layout)
}

/// The access of the open behind an open or lock stateid; `OpenMode` if that is not enough.
pub(crate) fn io_right(
    view: &dyn View,
    client: u64,
    ino: Ino,
    stateid: StateidValue,
    write: bool,
) -> Result<IoRight, Refusal> {
    let open = match StateKind::of_number(stateid.other[0]) {
        Some(StateKind::Open) => open(view, client, ino, stateid)?,
        Some(StateKind::Lock) => {
            let lock = lock(view, client, ino, stateid)?;
            read(view, &key::open(ino, &lock.open))?.ok_or(Refusal::BadStateid)?
        }
        Some(StateKind::Layout) | None => return Err(Refusal::BadStateid),
    };
    if write && open.share.access & WRITE == 0 {
        return Err(Refusal::OpenMode);
    }
    Ok(IoRight { share: open.share, open: open.other })
}

/// A conflicting lock of another lock stateid than `own`.
pub(crate) fn lock_conflict(
    view: &dyn View,
    ino: Ino,
    span: Span,
    exclusive: bool,
    own: Option<[u8; OTHER_BYTES]>,
) -> Result<Option<Conflict>, Refusal> {
    let mut first = None;
    lock_tree::conflicts(view, ino, span, exclusive, own, &mut |other, range| {
        first = Some((other, range));
        ControlFlow::Break(())
    })?;
    let Some((other, held)) = first else { return Ok(None) };
    assert!(Some(other) != own, "an owner does not conflict with itself");
    assert!(exclusive || held.exclusive, "two read locks do not conflict");
    assert!(held.first <= span.last && span.first <= held.last, "a conflict lies in the span");
    let lock: LockRecord = read(view, &key::lock(ino, &other))?.ok_or(Refusal::BadStateid)?;
    let LockRecord { client, owner, .. } = lock;
    Ok(Some(Conflict { range: held.range(), exclusive: held.exclusive, client, owner }))
}

/// Slots of a session that have a record.
pub(crate) fn marks(view: &dyn View, session: &[u8; 16]) -> Result<Vec<SlotMark>, Refusal> {
    let from = key::slots(session);
    Ok(mds_namespace::store::list(view, &from, &key::after(&from), usize::MAX, |key, bytes| {
        let SlotRecord { sequence, request, .. } = SlotRecord::decode(bytes)?;
        let (_, slot) = key::parse_slot(key).ok_or(StoreError::Corrupt("key of a slot"))?;
        Ok::<_, mds_namespace::FsError>(SlotMark { slot, sequence, request })
    })?)
}
