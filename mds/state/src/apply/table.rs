//! Writes the tables of protocol state and keeps their cross references consistent
//! (docs/formats/state.md, rules between keys).

use layout::state::LayoutRecord;
use mds_namespace::{Ino, Txn, View};

use super::own_shard;
use crate::command::Refusal;
use crate::key::{self, OTHER_BYTES};
use crate::limits::{LAYOUTS_PER_CLIENT_MAX, LOCKS_PER_CLIENT_MAX, OPENS_PER_CLIENT_MAX, OWNER_BYTES_MAX};
use crate::record::{self, Counters, LockRecord, StateKind, StateidTarget, StoredClient, Tally, Value};
use crate::values;

pub(super) fn put<T: Value>(txn: &mut dyn Txn, key: &[u8], value: &T) -> Result<(), Refusal> {
    let bytes = value.encode();
    debug_assert!(T::decode(&bytes).is_ok(), "a value that is written can be read");
    Ok(txn.put(key, &bytes)?)
}

/// A client that may hold state: it is confirmed.
pub(super) fn confirmed_client(view: &dyn View, client: u64) -> Result<StoredClient, Refusal> {
    let stored: Option<StoredClient> = values::read(view, &key::client(client))?;
    stored.filter(|stored| stored.record.confirmed).ok_or(Refusal::StaleClient)
}

/// Checks that a client may hold state in this shard. Only shard 0 knows clients: the others rely
/// on the governor's check.
pub(super) fn check_client(view: &dyn View, client: u64) -> Result<(), Refusal> {
    if own_shard::is_first(view)? { confirmed_client(view, client).map(drop) } else { Ok(()) }
}

/// Owners come from the wire; the front's decoder has the same bound.
pub(super) fn check_owner(owner: &[u8]) -> Result<(), Refusal> {
    if owner.len() <= OWNER_BYTES_MAX { Ok(()) } else { Err(Refusal::TableFull) }
}

pub(super) fn counters(view: &dyn View) -> Result<Counters, Refusal> {
    Ok(values::read(view, key::COUNTERS)?.unwrap_or_default())
}

pub(super) fn tally(view: &dyn View, client: u64) -> Result<Tally, Refusal> {
    Ok(values::read(view, &key::tally(client))?.unwrap_or_default())
}

fn tally_of(tally: &mut Tally, kind: StateKind) -> (&mut u32, u32) {
    match kind {
        StateKind::Open => (&mut tally.opens, OPENS_PER_CLIENT_MAX),
        StateKind::Lock => (&mut tally.locks, LOCKS_PER_CLIENT_MAX),
        StateKind::Layout => (&mut tally.layouts, LAYOUTS_PER_CLIENT_MAX),
    }
}

/// Makes a stateid's identity and enters it everywhere but in the table of its kind.
pub(super) fn enter(
    txn: &mut dyn Txn,
    kind: StateKind,
    client: u64,
    ino: Ino,
) -> Result<[u8; OTHER_BYTES], Refusal> {
    let mut tally = tally(txn, client)?;
    let (count, count_max) = tally_of(&mut tally, kind);
    if count_max <= *count {
        return Err(Refusal::TableFull);
    }
    *count += 1;
    assert!(*count <= count_max, "a client has no more than it may");
    put(txn, &key::tally(client), &tally)?;
    let mut counters = counters(txn)?;
    let other = record::other(kind, own_shard::number(txn)?, counters.other);
    counters.other += 1;
    debug_assert!(txn.get(&key::stateid(&other))?.is_none(), "no identity is given out twice");
    put(txn, key::COUNTERS, &counters)?;
    put(txn, &key::stateid(&other), &StateidTarget { kind, ino, client })?;
    txn.put(&key::state_of(client, kind, ino, &other), &[])?;
    Ok(other)
}

pub(super) fn strike(
    txn: &mut dyn Txn,
    kind: StateKind,
    client: u64,
    ino: Ino,
    other: &[u8; OTHER_BYTES],
) -> Result<(), Refusal> {
    let mut tally = tally(txn, client)?;
    let (count, _) = tally_of(&mut tally, kind);
    assert!(0 < *count, "the tally counts what is struck off");
    *count -= 1;
    debug_assert!(txn.get(&key::stateid(other))?.is_some(), "what is struck off was entered");
    put(txn, &key::tally(client), &tally)?;
    txn.delete(&key::stateid(other))?;
    txn.delete(&key::state_of(client, kind, ino, other))?;
    Ok(())
}

/// The lock stateid of a lock-owner on a file.
pub(super) fn lock_of(
    view: &dyn View,
    ino: Ino,
    client: u64,
    owner: &[u8],
) -> Result<Option<LockRecord>, Refusal> {
    let Some(other) = view.get(&key::locker(ino, client, owner))? else { return Ok(None) };
    let other: [u8; OTHER_BYTES] = other.try_into().map_err(|_| corrupt("locker"))?;
    values::read(view, &key::lock(ino, &other))
}

pub(super) fn corrupt(what: &'static str) -> Refusal {
    mds_namespace::StoreError::Corrupt(what).into()
}

/// Enters a new lock-owner on a file, without ranges. `make` gets the identity.
pub(super) fn add_lock(
    txn: &mut dyn Txn,
    ino: Ino,
    client: u64,
    make: impl FnOnce([u8; OTHER_BYTES]) -> LockRecord,
) -> Result<LockRecord, Refusal> {
    let lock = make(enter(txn, StateKind::Lock, client, ino)?);
    assert!(lock.client == client, "a lock belongs to the client that enters it");
    assert!(lock.seqid == 1, "a lock stateid begins at 1");
    assert!(lock.count() == 0, "a lock is entered without ranges");
    txn.put(&key::locker(ino, client, &lock.owner), &lock.other)?;
    Ok(lock)
}

/// Counts byte ranges of a client; an increase must stay within `ranges_max`.
pub(super) fn count_ranges(
    txn: &mut dyn Txn,
    client: u64,
    delta: i64,
    ranges_max: u32,
) -> Result<(), Refusal> {
    if delta == 0 {
        return Ok(());
    }
    let mut tally = tally(txn, client)?;
    let ranges = u32::try_from(i64::from(tally.ranges) + delta).map_err(|_| corrupt("tally of ranges"))?;
    if 0 < delta && ranges_max < ranges {
        return Err(Refusal::TableFull);
    }
    assert!((0 < delta) == (tally.ranges < ranges), "a tally moves with what it counts");
    tally.ranges = ranges;
    put(txn, &key::tally(client), &tally)
}

/// The identity for a first layout of a client on a file.
pub(super) fn add_layout(txn: &mut dyn Txn, ino: Ino, client: u64) -> Result<[u8; OTHER_BYTES], Refusal> {
    enter(txn, StateKind::Layout, client, ino)
}

pub(super) fn put_layout(
    txn: &mut dyn Txn,
    ino: Ino,
    client: u64,
    layout: &LayoutRecord,
) -> Result<(), Refusal> {
    assert!(layout.holds(None), "a layout that is kept has a part");
    assert!(layout.seqid != 0, "zero means the current sequence, and is none");
    put(txn, &key::layout(ino, client), layout)
}

pub(super) fn drop_layout(
    txn: &mut dyn Txn,
    ino: Ino,
    client: u64,
    layout: &LayoutRecord,
) -> Result<(), Refusal> {
    txn.delete(&key::layout(ino, client))?;
    strike(txn, StateKind::Layout, client, ino, &layout.other)
}
