//! Inodes in the store: read and written by number.

use crate::FsError;
use crate::codec;
use crate::inode::{Content, Ino, Inode, MODE_MASK};
use crate::keys;
use crate::store::{Txn, View};
use crate::superblock;

/// Reads an inode.
///
/// # Errors
/// [`FsError::Stale`] if there is none.
pub fn inode(view: &dyn View, ino: Ino) -> Result<Inode, FsError> {
    let mut found = Err(FsError::Stale);
    view.read(&keys::inode(ino), &mut |value| {
        found = codec::decode_inode(ino, value).map_err(FsError::from)
    })?;
    found
}

/// Reads an inode that must be a directory.
///
/// # Errors
/// [`FsError::Stale`] if there is none, [`FsError::NotDirectory`].
pub fn directory(view: &dyn View, ino: Ino) -> Result<Inode, FsError> {
    let inode = inode(view, ino)?;
    if inode.is_directory() { Ok(inode) } else { Err(FsError::NotDirectory) }
}

/// Reads an inode that must be a regular file.
///
/// # Errors
/// [`FsError::Stale`] if there is none, [`FsError::IsDirectory`], [`FsError::WrongKind`].
pub fn regular(view: &dyn View, ino: Ino) -> Result<Inode, FsError> {
    let inode = inode(view, ino)?;
    match inode.is_regular() {
        true => Ok(inode),
        false if inode.is_directory() => Err(FsError::IsDirectory),
        false => Err(FsError::WrongKind),
    }
}

pub(crate) fn put(txn: &mut dyn Txn, inode: &Inode) -> Result<(), FsError> {
    assert!(inode.ino != 0, "an inode that is stored has its number");
    debug_assert!(inode.mode & !MODE_MASK == 0, "a mode has its 12 bits");
    debug_assert!(inode.content == Content::Inline || inode.is_regular(), "only files leave it");
    debug_assert_eq!(inode.parent != 0, inode.is_directory(), "directories have a parent");
    Ok(txn.put(&keys::inode(inode.ino), &codec::encode_inode(inode))?)
}

/// Removes an inode that has no content and no extents.
pub(crate) fn delete(txn: &mut dyn Txn, ino: Ino) -> Result<(), FsError> {
    txn.delete(&keys::inode(ino))?;
    Ok(superblock::inode_gone(txn)?)
}
