//! LINK: one more name for an object.
//!
//! Spec: RFC 8881 §18.9; POSIX.1-2024 `link`.

use crate::FsError;
use crate::directory;
use crate::inode::{Caller, DirectoryChange, Ino, Named, Timestamp};
use crate::inode_table;
use crate::limits::LINKS_MAX;
use crate::name;
use crate::op::access::{self, Permission};
use crate::store::Txn;

/// Gives inode `ino` the further name `name`.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::NotDirectory`], the errors of a bad name,
/// [`FsError::AccessDenied`], [`FsError::Exists`], [`FsError::NotPermitted`] for a directory,
/// [`FsError::NotFound`] if it has no name any more, [`FsError::TooManyLinks`],
/// [`FsError::NoSpace`].
pub fn link(
    txn: &mut dyn Txn,
    caller: &Caller,
    ino: Ino,
    directory: Ino,
    name: &[u8],
    now: Timestamp,
) -> Result<Named, FsError> {
    let mut inode = inode_table::inode(txn, ino)?;
    let mut parent = inode_table::directory(txn, directory)?;
    name::check(name)?;
    access::check(&parent, caller, Permission::EXECUTE)?;
    if directory::find(txn, directory, name)?.is_some() {
        return Err(FsError::Exists);
    }
    access::check(&parent, caller, Permission::WRITE)?;
    if inode.is_directory() {
        return Err(FsError::NotPermitted);
    }
    if inode.nlink == 0 {
        return Err(FsError::NotFound);
    }
    if inode.nlink >= LINKS_MAX {
        return Err(FsError::TooManyLinks);
    }
    directory::insert(txn, directory, &directory::entry(ino, inode.kind.file_type(), name))?;
    inode.nlink += 1;
    assert!(inode.nlink <= LINKS_MAX, "an object has no more names than it may have");
    inode.changed(now);
    inode_table::put(txn, &inode)?;
    let before = parent.change;
    parent.size_bytes += 1;
    parent.modified(now);
    inode_table::put(txn, &parent)?;
    Ok(Named { inode, directory: DirectoryChange::between(before, parent.change) })
}
