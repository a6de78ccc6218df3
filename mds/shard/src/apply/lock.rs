//! LOCK, LOCKU, FREE_STATEID.
//!
//! A lock-owner of a client has one lock stateid on a file; its ranges follow POSIX. Nothing waits here: a lock that is
//! in the way is an answer.
//!
//! Spec: RFC 8881 §9.1 to §9.4, §18.10, §18.12, §18.38.

use mds_namespace::{Txn, View};

use super::lock_ranges::{self, Span};
use super::table;
use crate::command::lock::{FreeStateid, Lock, Locker, Unlock};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::limits::{LOCKS_PER_FILE_MAX, RANGES_PER_LOCK_MAX};
use crate::record::{LockRecord, OpenRecord, StateKind, StateidTarget};
use crate::state::{self, READ, WRITE};

pub(super) fn lock(txn: &mut dyn Txn, asked: &Lock) -> Result<Outcome, Refusal> {
    table::check_client(txn, asked.client)?;
    let span = Span::of(asked.range).ok_or(Refusal::BadRange)?;
    let (open, owner, held) = locker(txn, asked)?;
    // RFC 8881 §18.10.3: a read lock needs an open for reading, a write lock one for writing.
    let needed = if asked.exclusive { WRITE } else { READ };
    if open.share.access & needed == 0 {
        return Err(Refusal::OpenMode);
    }
    // There may be many: they are read once.
    let locks: Vec<LockRecord> = state::list(txn, &key::locks(asked.ino))?;
    if let Some(conflict) = state::conflict_among(&locks, span, asked.exclusive, asked.client, &owner) {
        return Err(Refusal::LockDenied(conflict));
    }
    let lock = match held {
        Some(held) => {
            let ranges = lock_ranges::lock(&held.ranges, span, asked.exclusive);
            if RANGES_PER_LOCK_MAX < ranges.len() {
                return Err(Refusal::TableFull);
            }
            let lock = LockRecord { seqid: state::next_seqid(held.seqid), ranges, ..held };
            table::put_lock(txn, asked.ino, &lock)?;
            lock
        }
        None if LOCKS_PER_FILE_MAX <= locks.len() => return Err(Refusal::TableFull),
        None => table::add_lock(txn, asked.ino, asked.client, |other| LockRecord {
            other,
            seqid: 1,
            client: asked.client,
            owner,
            open: open.other,
            ranges: lock_ranges::lock(&[], span, asked.exclusive),
        })?,
    };
    Ok(Outcome::Stateid(lock.stateid()))
}

/// The open a lock is under, its owner, and what the owner holds on the file.
fn locker(view: &dyn View, asked: &Lock) -> Result<(OpenRecord, Vec<u8>, Option<LockRecord>), Refusal> {
    match &asked.locker {
        Locker::New { open, owner } => {
            table::check_owner(owner)?;
            let open = state::open(view, asked.client, asked.ino, *open)?;
            // An owner that already has a lock stateid here goes on with it.
            let held = table::lock_of(view, asked.ino, asked.client, owner)?;
            Ok((open, owner.clone(), held))
        }
        Locker::Existing { stateid } => {
            let held = state::lock(view, asked.client, asked.ino, *stateid)?;
            let open = state::read(view, &key::open(asked.ino, &held.open))?.ok_or(Refusal::BadStateid)?;
            Ok((open, held.owner.clone(), Some(held)))
        }
    }
}

pub(super) fn unlock(txn: &mut dyn Txn, asked: &Unlock) -> Result<Outcome, Refusal> {
    let held = state::lock(txn, asked.client, asked.ino, asked.stateid)?;
    let span = Span::of(asked.range).ok_or(Refusal::BadRange)?;
    let ranges = lock_ranges::unlock(&held.ranges, span);
    if RANGES_PER_LOCK_MAX < ranges.len() {
        return Err(Refusal::TableFull);
    }
    let lock = LockRecord { seqid: state::next_seqid(held.seqid), ranges, ..held };
    table::put_lock(txn, asked.ino, &lock)?;
    Ok(Outcome::Stateid(lock.stateid()))
}

pub(super) fn free_stateid(txn: &mut dyn Txn, asked: &FreeStateid) -> Result<Outcome, Refusal> {
    let target: StateidTarget =
        state::read(txn, &key::stateid(&asked.stateid.other))?.ok_or(Refusal::BadStateid)?;
    if target.client != asked.client {
        return Err(Refusal::BadStateid);
    }
    match target.kind {
        StateKind::Lock => {
            let lock = state::lock(txn, asked.client, target.ino, asked.stateid)?;
            if !lock.ranges.is_empty() {
                return Err(Refusal::LocksHeld);
            }
            table::drop_lock(txn, target.ino, &lock)?;
            Ok(Outcome::Done)
        }
        // RFC 8881 §18.38.3: only CLOSE and LAYOUTRETURN end these while they are valid.
        StateKind::Open | StateKind::Layout => Err(Refusal::LocksHeld),
    }
}
