//! LOCK, LOCKU, FREE_STATEID.
//!
//! A lock-owner of a client has one lock stateid on a file; its ranges follow POSIX. A lock never
//! blocks here: the result names the conflicting lock.
//!
//! Spec: RFC 8881 §9.1 to §9.4, §18.10, §18.12, §18.38.

use mds_namespace::{Txn, View};

use super::lock_table::{self, LockTable};
use super::table;
use crate::command::lock::{FreeStateid, Lock, Locker, Unlock};
use crate::command::{Outcome, Refusal};
use crate::key;
use crate::lock_ranges::{self, Span};
use crate::query::{self, READ, WRITE};
use crate::record::{LockRecord, OpenRecord, Ranges, StateKind, StateidTarget};
use crate::values;

pub(super) fn lock(txn: &mut dyn Txn, asked: &Lock) -> Result<Outcome, Refusal> {
    table::check_client(txn, asked.client)?;
    let span = Span::of(asked.range).ok_or(Refusal::BadRange)?;
    let (open, owner, held) = locker(txn, asked)?;
    // RFC 8881 §18.10.3: a read lock needs an open for reading, a write lock one for writing.
    let needed = if asked.exclusive { WRITE } else { READ };
    if open.share.access & needed == 0 {
        return Err(Refusal::OpenMode);
    }
    let own = held.as_ref().map(|held| held.other);
    if let Some(conflict) = query::lock_conflict(txn, asked.ino, span, asked.exclusive, own)? {
        return Err(Refusal::LockDenied(conflict));
    }
    let mut table = LockTable::open(txn, asked.ino)?;
    let lock = match held {
        // Read again: the table may have been converted.
        Some(held) => LockRecord {
            seqid: query::next_seqid(held.seqid),
            ..values::read(txn, &key::lock(asked.ino, &held.other))?.ok_or(Refusal::BadStateid)?
        },
        None => {
            table.check_room()?;
            let lock = table::add_lock(txn, asked.ino, asked.client, |other| LockRecord {
                other,
                seqid: 1,
                client: asked.client,
                owner,
                open: open.other,
                ranges: Ranges::Apart(0),
            })?;
            table.enter(txn, &lock)?;
            lock
        }
    };
    let lock = table.change(txn, lock, span, |held| lock_ranges::lock(held, span, asked.exclusive))?;
    assert!(lock.client == asked.client, "a lock is the client's that asked");
    assert!(0 < lock.count(), "a lock that is granted has a range");
    lock_table::put_lock(txn, asked.ino, &lock)?;
    table.finish(txn)?;
    Ok(Outcome::Stateid(lock.stateid()))
}

/// The open of a lock, its lock-owner, and the owner's lock stateid on the file.
fn locker(view: &dyn View, asked: &Lock) -> Result<(OpenRecord, Vec<u8>, Option<LockRecord>), Refusal> {
    match &asked.locker {
        Locker::New { open, owner } => {
            table::check_owner(owner)?;
            let open = query::open(view, asked.client, asked.ino, *open)?;
            // An owner that already has a lock stateid here keeps it.
            let held = table::lock_of(view, asked.ino, asked.client, owner)?;
            Ok((open, owner.clone(), held))
        }
        Locker::Existing { stateid } => {
            let held = query::lock(view, asked.client, asked.ino, *stateid)?;
            let open = values::read(view, &key::open(asked.ino, &held.open))?.ok_or(Refusal::BadStateid)?;
            Ok((open, held.owner.clone(), Some(held)))
        }
    }
}

pub(super) fn unlock(txn: &mut dyn Txn, asked: &Unlock) -> Result<Outcome, Refusal> {
    let held = query::lock(txn, asked.client, asked.ino, asked.stateid)?;
    let span = Span::of(asked.range).ok_or(Refusal::BadRange)?;
    let mut table = LockTable::open(txn, asked.ino)?;
    let lock = LockRecord {
        seqid: query::next_seqid(held.seqid),
        ..values::read(txn, &key::lock(asked.ino, &held.other))?.ok_or(Refusal::BadStateid)?
    };
    let lock = table.change(txn, lock, span, |held| lock_ranges::unlock(held, span))?;
    assert!(lock.seqid != held.seqid, "each change moves the sequence");
    lock_table::put_lock(txn, asked.ino, &lock)?;
    table.finish(txn)?;
    Ok(Outcome::Stateid(lock.stateid()))
}

pub(super) fn free_stateid(txn: &mut dyn Txn, asked: &FreeStateid) -> Result<Outcome, Refusal> {
    let target: StateidTarget =
        values::read(txn, &key::stateid(&asked.stateid.other))?.ok_or(Refusal::BadStateid)?;
    if target.client != asked.client {
        return Err(Refusal::BadStateid);
    }
    match target.kind {
        StateKind::Lock => {
            let lock = query::lock(txn, asked.client, target.ino, asked.stateid)?;
            if lock.count() != 0 {
                return Err(Refusal::LocksHeld);
            }
            lock_table::drop_lock(txn, target.ino, &lock.other)?;
            Ok(Outcome::Done)
        }
        // RFC 8881 §18.38.3: only CLOSE and LAYOUTRETURN end these while they are valid.
        StateKind::Open | StateKind::Layout => Err(Refusal::LocksHeld),
    }
}
