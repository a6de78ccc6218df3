//! LOCK, LOCKU, FREE_STATEID, LOCKT.

use super::*;
use crate::command::lock::{Conflict, FreeStateid, Lock, Locker, Range, Unlock};

fn range(offset_bytes: u64, length_bytes: u64) -> Range {
    Range { offset_bytes, length_bytes }
}

struct Owner {
    client: u64,
    open: Opened,
}

impl Owner {
    fn new(stage: &mut Stage, client: u64, share: Share) -> Self {
        let open = stage.open(client, "o", share, create_target("f", How::Unchecked));
        Self { client, open }
    }

    fn command(&self, exclusive: bool, range: Range, locker: Locker) -> Command {
        Command::Lock(Lock { client: self.client, ino: self.open.inode.ino, exclusive, range, locker })
    }

    fn first(&self, exclusive: bool, range: Range) -> Command {
        let locker = Locker::New { open: self.open.stateid, owner: b"owner".to_vec() };
        self.command(exclusive, range, locker)
    }

    fn unlock(&self, stateid: StateidValue, range: Range) -> Command {
        Command::Unlock(Unlock { client: self.client, ino: self.open.inode.ino, stateid, range })
    }
}

fn stateid(outcome: Outcome) -> StateidValue {
    match outcome {
        Outcome::Stateid(stateid) => stateid,
        outcome => panic!("{outcome:?}"),
    }
}

/// Spec: RFC 8881 §9.1.3, §18.10.3.
#[test]
fn lock_stateid_begins_at_one_and_moves() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let owner = Owner::new(&mut stage, client, BOTH);
    let first = stateid(stage.run(owner.first(true, range(0, 10))));
    assert_eq!(first.seqid, 1);
    let existing = |stateid| Locker::Existing { stateid };
    let second = stateid(stage.run(owner.command(true, range(10, 10), existing(first))));
    assert_eq!(second, StateidValue { seqid: 2, ..first });
    assert_eq!(stage.refused(owner.command(true, range(1, 1), existing(first))), Refusal::OldStateid);
    let third = stateid(stage.run(owner.unlock(second, range(5, 10))));
    assert_eq!(third.seqid, 3);
    // The same owner, named as a new one, keeps its lock stateid.
    let fourth = stateid(stage.run(owner.first(false, range(100, u64::MAX))));
    assert_eq!(fourth, StateidValue { seqid: 4, ..first });
    let ino = owner.open.inode.ino;
    assert_eq!(stage.view().lock(client, ino, fourth).unwrap().count(), 3);
    assert!(stage.view().io_right(client, ino, fourth, true).is_ok());
    stage.check();
}

/// Spec: RFC 8881 §18.10.3, §18.11.
#[test]
fn conflicts_are_reported() {
    let mut stage = Stage::new();
    let (one, two) = (stage.client("a"), stage.client("b"));
    let (one, two) = (Owner::new(&mut stage, one, BOTH), Owner::new(&mut stage, two, BOTH));
    let ino = one.open.inode.ino;
    stage.run(one.first(false, range(10, 10)));
    assert!(matches!(stage.run(two.first(false, range(0, 15))), Outcome::Stateid(_)));
    let conflict =
        Conflict { range: range(10, 10), exclusive: false, client: one.client, owner: b"owner".to_vec() };
    assert_eq!(stage.refused(two.first(true, range(15, 1))), Refusal::LockDenied(conflict.clone()));
    let asked = |exclusive, client| {
        stage.view().lock_conflict(ino, range(19, u64::MAX), exclusive, client, b"owner").unwrap()
    };
    assert_eq!(asked(true, two.client), Some(conflict));
    assert_eq!(asked(false, two.client), None);
    assert_eq!(asked(true, one.client), None);
    let wraps = stage.view().lock_conflict(ino, range(u64::MAX, 2), true, one.client, b"owner");
    assert_eq!(wraps, Err(Refusal::BadRange));
}

#[test]
fn lock_needs_the_right_open() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let owner = Owner::new(&mut stage, client, READ);
    assert_eq!(stage.refused(owner.first(true, range(0, 1))), Refusal::OpenMode);
    assert_eq!(stage.refused(owner.first(false, range(0, 0))), Refusal::BadRange);
    assert!(matches!(stage.run(owner.first(false, range(0, 1))), Outcome::Stateid(_)));
    let unknown = StateidValue { seqid: 1, other: [9; 12] };
    let locker = Locker::Existing { stateid: unknown };
    assert_eq!(stage.refused(owner.command(false, range(0, 1), locker)), Refusal::BadStateid);
}

/// Spec: RFC 8881 §18.38.3, §18.2.3.
#[test]
fn stateid_is_freed_without_locks_and_goes_with_its_open() {
    let mut stage = Stage::new();
    let client = stage.client("a");
    let owner = Owner::new(&mut stage, client, BOTH);
    let ino = owner.open.inode.ino;
    let held = stateid(stage.run(owner.first(true, range(0, 10))));
    let free = |stateid| Command::FreeStateid(FreeStateid { client, stateid });
    assert_eq!(stage.refused(free(held)), Refusal::LocksHeld);
    assert_eq!(stage.refused(free(owner.open.stateid)), Refusal::LocksHeld);
    let empty = stateid(stage.run(owner.unlock(held, range(0, u64::MAX))));
    assert_eq!(stage.run(free(empty)), Outcome::Done);
    assert_eq!(stage.refused(free(empty)), Refusal::BadStateid);
    let held = stateid(stage.run(owner.first(true, range(0, 10))));
    assert_eq!(held.seqid, 1);
    stage.close(client, ino, owner.open.stateid);
    assert_eq!(stage.view().lock(client, ino, held), Err(Refusal::BadStateid));
    assert_eq!(stage.view().locks_of(ino).unwrap(), []);
    stage.check();
}
