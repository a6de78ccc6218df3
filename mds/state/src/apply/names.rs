//! CREATE, LINK, REMOVE, RENAME, SETATTR: operations of the namespace, and their effect on open
//! files.
//!
//! Spec: RFC 8881 §18.4, §18.9, §18.25, §18.26, §18.30.

use mds_namespace::op::create::NewObject;
use mds_namespace::op::rename::Place;
use mds_namespace::op::{
    access_time, create as create_op, link as link_op, remove as remove_op, rename as rename_op, setattr,
    settle,
};
use mds_namespace::{FsError, Kind, Timestamp, Txn};

use super::open::{open, reap_if_gone};
use super::staged::Staged;
use crate::command::governor::{AboutNames, Bound};
use crate::command::namespace::{
    Accessed, AttributesAnswer, Create, EntryAnswer, Link, Remove, Rename, Renamed, SetAttributesOf,
    SetMeasured,
};
use crate::command::{Outcome, Refusal};
use crate::limits::MEASURED_EXTENTS_MAX;

/// INVARIANT: of the existing inodes a bound command changes only those it is bound to.
pub(super) fn bound(staged: &mut Staged<'_>, now: Timestamp, asked: &Bound) -> Result<Outcome, Refusal> {
    let outcome = match &asked.what {
        AboutNames::Open(asked) => open(staged, now, asked),
        AboutNames::Create(asked) => create(staged, now, asked),
        AboutNames::Link(asked) => link(staged, now, asked),
        AboutNames::Remove(asked) => remove(staged, now, asked),
        AboutNames::Rename(asked) => rename(staged, now, asked),
    }?;
    // An act on several shards may have read any other inode, and is about to write its result.
    match staged.changes_inode_but(&asked.inodes)? {
        true => Err(Refusal::NamesMoved),
        false => Ok(outcome),
    }
}

pub(super) fn create(txn: &mut dyn Txn, now: Timestamp, asked: &Create) -> Result<Outcome, Refusal> {
    // Regular files are created by OPEN.
    if asked.kind == Kind::Regular {
        return Err(FsError::WrongKind.into());
    }
    let new = NewObject {
        kind: asked.kind,
        symlink_target: &asked.symlink_target,
        attributes: &asked.attributes,
        verifier: None,
    };
    let made = create_op::create(txn, &asked.caller, asked.directory, &asked.name, &new, now)?;
    assert!(made.inode.kind == asked.kind, "the object is of the kind that was asked for");
    assert!(made.directory.before != made.directory.after, "a new name changes its directory");
    Ok(Outcome::Entry(Box::new(EntryAnswer { inode: made.inode, directory: made.directory })))
}

pub(super) fn link(txn: &mut dyn Txn, now: Timestamp, asked: &Link) -> Result<Outcome, Refusal> {
    let made = link_op::link(txn, &asked.caller, asked.ino, asked.directory, &asked.name, now)?;
    assert!(made.inode.ino == asked.ino, "the new name is one of the file");
    assert!(made.directory.before != made.directory.after, "a new name changes its directory");
    Ok(Outcome::Entry(Box::new(EntryAnswer { inode: made.inode, directory: made.directory })))
}

pub(super) fn remove(txn: &mut dyn Txn, now: Timestamp, asked: &Remove) -> Result<Outcome, Refusal> {
    let gone = remove_op::remove(txn, &asked.caller, asked.directory, &asked.name, now)?;
    assert!(gone.directory.before != gone.directory.after, "a removed name changes its directory");
    if gone.last_link {
        reap_if_gone(txn, gone.inode.ino)?;
    }
    Ok(Outcome::Entry(Box::new(EntryAnswer { inode: gone.inode, directory: gone.directory })))
}

pub(super) fn rename(txn: &mut dyn Txn, now: Timestamp, asked: &Rename) -> Result<Outcome, Refusal> {
    let from = Place { directory: asked.from_directory, name: &asked.from_name };
    let to = Place { directory: asked.to_directory, name: &asked.to_name };
    let renamed = rename_op::rename(txn, &asked.caller, from, to, now)?;
    if let Some(replaced) = renamed.replaced
        && replaced.nlink == 0
    {
        reap_if_gone(txn, replaced.ino)?;
    }
    Ok(Outcome::Renamed(Renamed { from: renamed.from, to: renamed.to }))
}

pub(super) fn set_attributes(
    txn: &mut dyn Txn,
    now: Timestamp,
    asked: &SetAttributesOf,
) -> Result<Outcome, Refusal> {
    let set =
        setattr::set_attributes(txn, &asked.caller, asked.ino, &asked.attributes, asked.by_write_open, now)?;
    assert!(set.inode.ino == asked.ino, "the attributes are those of the object");
    Ok(Outcome::Attributes(Box::new(AttributesAnswer { inode: set.inode, truncated: set.truncated })))
}

pub(super) fn accessed(txn: &mut dyn Txn, now: Timestamp, asked: &Accessed) -> Result<Outcome, Refusal> {
    access_time::note(txn, asked.ino, asked.seen, now)?;
    Ok(Outcome::Done)
}

pub(super) fn set_measured(
    txn: &mut dyn Txn,
    now: Timestamp,
    asked: &SetMeasured,
) -> Result<Outcome, Refusal> {
    if MEASURED_EXTENTS_MAX < asked.written.len() || asked.settlement.ino != asked.set.ino {
        return Err(Refusal::TableFull);
    }
    settle::absorb(txn, &asked.settlement, &asked.written, now)?.ok_or(Refusal::ContentMoved)?;
    set_attributes(txn, now, &asked.set)
}
