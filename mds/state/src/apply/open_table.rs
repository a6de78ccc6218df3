//! Writes opens, and the sum of the share modes of a file's opens.
//!
//! INVARIANT: the sum of a file counts each of its opens once, and is absent without opens.
//! Spec: docs/formats/state.md, rules between keys.

use mds_namespace::{Ino, Txn, View};

use super::{lock_table, table};
use crate::command::Refusal;
use crate::key::{self, OTHER_BYTES};
use crate::limits::OPENS_PER_FILE_MAX;
use crate::query::{READ, WRITE};
use crate::record::{OpenRecord, Shares, StateKind};
use crate::values;

pub(super) fn shares(view: &dyn View, ino: Ino) -> Result<Shares, Refusal> {
    Ok(values::read(view, &key::shares(ino))?.unwrap_or_default())
}

/// The sum without one of the opens.
pub(super) fn shares_without(shares: &Shares, open: &OpenRecord) -> Shares {
    let less =
        |count: u32, holds: bool| count.checked_sub(u32::from(holds)).expect("the sum holds every open");
    Shares {
        opens: less(shares.opens, true),
        read: less(shares.read, open.share.access & READ != 0),
        write: less(shares.write, open.share.access & WRITE != 0),
        deny_read: less(shares.deny_read, open.share.deny & READ != 0),
        deny_write: less(shares.deny_write, open.share.deny & WRITE != 0),
    }
}

fn shares_with(shares: &Shares, open: &OpenRecord) -> Shares {
    Shares {
        opens: shares.opens + 1,
        read: shares.read + u32::from(open.share.access & READ != 0),
        write: shares.write + u32::from(open.share.access & WRITE != 0),
        deny_read: shares.deny_read + u32::from(open.share.deny & READ != 0),
        deny_write: shares.deny_write + u32::from(open.share.deny & WRITE != 0),
    }
}

fn put_shares(txn: &mut dyn Txn, ino: Ino, shares: &Shares) -> Result<(), Refusal> {
    assert!(shares.opens <= OPENS_PER_FILE_MAX, "a file has no more opens than it may");
    assert!(shares.read.max(shares.write) <= shares.opens, "an open reads and writes once");
    assert!(shares.deny_read.max(shares.deny_write) <= shares.opens, "an open denies once");
    assert!(shares.opens <= shares.read + shares.write, "an open reads or writes");
    if shares.opens == 0 {
        Ok(txn.delete(&key::shares(ino))?)
    } else {
        table::put(txn, &key::shares(ino), shares)
    }
}

/// The open of an open-owner on a file.
pub(super) fn open_of(
    view: &dyn View,
    ino: Ino,
    client: u64,
    owner: &[u8],
) -> Result<Option<OpenRecord>, Refusal> {
    let Some(other) = view.get(&key::opener(ino, client, owner))? else { return Ok(None) };
    let other: [u8; OTHER_BYTES] = other.try_into().map_err(|_| table::corrupt("opener"))?;
    values::read(view, &key::open(ino, &other))
}

/// Enters a new open. `make` gets the identity.
pub(super) fn add_open(
    txn: &mut dyn Txn,
    ino: Ino,
    client: u64,
    make: impl FnOnce([u8; OTHER_BYTES]) -> OpenRecord,
) -> Result<OpenRecord, Refusal> {
    let shares = shares(txn, ino)?;
    if OPENS_PER_FILE_MAX <= shares.opens {
        return Err(Refusal::TableFull);
    }
    let open = make(table::enter(txn, StateKind::Open, client, ino)?);
    assert!(open.client == client, "an open belongs to the client that enters it");
    assert!(open.seqid == 1, "an open stateid begins at 1");
    assert!(open.seen != 0, "an open has seen the share mode that made it");
    put_shares(txn, ino, &shares_with(&shares, &open))?;
    txn.put(&key::opener(ino, client, &open.owner), &open.other)?;
    table::put(txn, &key::open(ino, &open.other), &open)?;
    Ok(open)
}

/// Writes an open whose share mode has changed from `before`.
pub(super) fn change_open(
    txn: &mut dyn Txn,
    ino: Ino,
    before: &OpenRecord,
    after: &OpenRecord,
) -> Result<(), Refusal> {
    assert!(before.other == after.other, "a change keeps the identity");
    assert!(before.client == after.client, "a change keeps the client");
    assert!(before.owner == after.owner, "a change keeps the owner");
    assert!(before.seqid != after.seqid, "a change moves the sequence");
    let shares = shares_with(&shares_without(&shares(txn, ino)?, before), after);
    put_shares(txn, ino, &shares)?;
    table::put(txn, &key::open(ino, &after.other), after)
}

/// Removes an open and the locks under it. Returns how many opens the file has left.
pub(super) fn drop_open(txn: &mut dyn Txn, ino: Ino, open: &OpenRecord) -> Result<u32, Refusal> {
    // Most clients lock nothing.
    if 0 < table::tally(txn, open.client)?.locks {
        lock_table::drop_under(txn, ino, &open.other)?;
    }
    let shares = shares_without(&shares(txn, ino)?, open);
    put_shares(txn, ino, &shares)?;
    txn.delete(&key::opener(ino, open.client, &open.owner))?;
    txn.delete(&key::open(ino, &open.other))?;
    table::strike(txn, StateKind::Open, open.client, ino, &open.other)?;
    debug_assert!(
        open_of(txn, ino, open.client, &open.owner)?.is_none(),
        "an owner has one open of a file at most"
    );
    Ok(shares.opens)
}
