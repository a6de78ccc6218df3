//! REMOVE, RMDIR and UNLINK: a name is removed, and its object with the last one.
//!
//! A regular file that loses its last name stays as an orphan until `op::reap`: a client may have
//! it open.
//!
//! Spec: RFC 8881 §18.25; POSIX.1-2024 `unlink`, `rmdir`.

use crate::FsError;
use crate::directory;
use crate::inode::{Caller, DirectoryChange, Ino, Inode, Kind, Timestamp};
use crate::inode_table;
use crate::keys;
use crate::name;
use crate::op::access::{self, Permission};
use crate::op::lookup::entry_inode;
use crate::store::Txn;

/// The result of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The object afterwards; `nlink` is 0 if this was its last name.
    pub inode: Inode,
    /// The last name was removed. A regular file is an orphan now: call `op::reap::reap` as soon as
    /// no client has it open. Any other object is removed already (and reaping it does nothing).
    pub last_link: bool,
    /// The directory's change counter.
    pub directory: DirectoryChange,
}

/// Removes a name of anything; a directory must be empty.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::NotDirectory`], the errors of a bad name,
/// [`FsError::AccessDenied`], [`FsError::NotFound`], [`FsError::NotPermitted`] in a sticky
/// directory, [`FsError::NotEmpty`].
pub fn remove(
    txn: &mut dyn Txn,
    caller: &Caller,
    directory: Ino,
    name: &[u8],
    now: Timestamp,
) -> Result<Removed, FsError> {
    remove_if(txn, caller, directory, name, now, |_| Ok(()))
}

/// Removes a name of anything but a directory.
///
/// # Errors
/// As [`remove`]; [`FsError::NotPermitted`] for a directory.
pub fn unlink(
    txn: &mut dyn Txn,
    caller: &Caller,
    directory: Ino,
    name: &[u8],
    now: Timestamp,
) -> Result<Removed, FsError> {
    remove_if(txn, caller, directory, name, now, |victim| {
        if victim.is_directory() { Err(FsError::NotPermitted) } else { Ok(()) }
    })
}

/// Removes an empty directory.
///
/// # Errors
/// As [`remove`]; [`FsError::NotDirectory`] for anything else.
pub fn rmdir(
    txn: &mut dyn Txn,
    caller: &Caller,
    directory: Ino,
    name: &[u8],
    now: Timestamp,
) -> Result<Removed, FsError> {
    remove_if(txn, caller, directory, name, now, |victim| {
        if victim.is_directory() { Ok(()) } else { Err(FsError::NotDirectory) }
    })
}

fn remove_if(
    txn: &mut dyn Txn,
    caller: &Caller,
    directory: Ino,
    name: &[u8],
    now: Timestamp,
    kind_check: impl FnOnce(&Inode) -> Result<(), FsError>,
) -> Result<Removed, FsError> {
    let mut parent = inode_table::directory(txn, directory)?;
    name::check(name)?;
    access::check(&parent, caller, Permission::EXECUTE)?;
    let found = directory::find(txn, directory, name)?.ok_or(FsError::NotFound)?;
    let mut victim = entry_inode(txn, found.ino)?;
    access::check_delete(&parent, &victim, caller)?;
    kind_check(&victim)?;
    if victim.is_directory() && victim.size_bytes != 0 {
        return Err(FsError::NotEmpty);
    }
    directory::remove(txn, directory, found.cookie)?;
    let before = parent.change;
    parent.size_bytes -= 1;
    parent.nlink -= u32::from(victim.is_directory());
    parent.modified(now);
    inode_table::put(txn, &parent)?;
    let last_link = drop_name(txn, &mut victim, now)?;
    let directory = DirectoryChange::between(before, parent.change);
    Ok(Removed { inode: victim, last_link, directory })
}

/// Removes one name of an object whose entry is already gone. Returns whether it was the last one.
pub(crate) fn drop_name(txn: &mut dyn Txn, inode: &mut Inode, now: Timestamp) -> Result<bool, FsError> {
    inode.changed(now);
    inode.nlink = if inode.is_directory() { 0 } else { inode.nlink - 1 };
    if inode.nlink > 0 {
        inode_table::put(txn, inode)?;
        return Ok(false);
    }
    match inode.kind {
        Kind::Regular => {
            inode_table::put(txn, inode)?;
            txn.put(&keys::orphan(inode.ino), &[])?;
        }
        Kind::Symlink => {
            txn.delete(&keys::symlink(inode.ino))?;
            inode_table::delete(txn, inode.ino)?;
        }
        Kind::Directory | Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => {
            inode_table::delete(txn, inode.ino)?;
        }
    }
    Ok(true)
}
