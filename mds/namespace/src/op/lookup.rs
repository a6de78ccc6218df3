//! LOOKUP and LOOKUPP: from a directory and a name to an inode.
//!
//! Spec: RFC 8881 §18.13, §18.14.

use crate::directory;
use crate::inode::{Caller, Ino, Inode, ROOT_INO};
use crate::inode_table;
use crate::name;
use crate::op::access::{self, Permission};
use crate::store::View;
use crate::{FsError, StoreError};

/// Finds `name` in a directory.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::NotDirectory`], the errors of a bad name,
/// [`FsError::AccessDenied`] without search permission, [`FsError::NotFound`].
pub fn lookup(view: &dyn View, caller: &Caller, directory: Ino, name: &[u8]) -> Result<Inode, FsError> {
    find(view, caller, directory, name)?.ok_or(FsError::NotFound)
}

/// As [`lookup`], but a missing name is no error.
///
/// # Errors
/// As [`lookup`], without `NotFound`.
pub fn find(view: &dyn View, caller: &Caller, directory: Ino, name: &[u8]) -> Result<Option<Inode>, FsError> {
    let parent = inode_table::directory(view, directory)?;
    name::check(name)?;
    access::check(&parent, caller, Permission::EXECUTE)?;
    directory::find(view, directory, name)?.map(|found| entry_inode(view, found.ino)).transpose()
}

/// Finds the directory that holds a directory.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::NotDirectory`], [`FsError::AccessDenied`]; [`FsError::NotFound`]
/// for the root.
pub fn parent(view: &dyn View, caller: &Caller, directory: Ino) -> Result<Inode, FsError> {
    let inode = inode_table::directory(view, directory)?;
    access::check(&inode, caller, Permission::EXECUTE)?;
    // RFC 8881 §18.14.3: the root has no parent to go to.
    if directory == ROOT_INO {
        return Err(FsError::NotFound);
    }
    entry_inode(view, inode.parent)
}

/// Reads an inode that a directory entry or a parent link names: if it is missing, the store is
/// corrupt.
pub(crate) fn entry_inode(view: &dyn View, ino: Ino) -> Result<Inode, FsError> {
    match inode_table::inode(view, ino) {
        Err(FsError::Stale) => Err(StoreError::Corrupt("directory entry without an inode").into()),
        other => other,
    }
}
