//! READLINK: the target of a symbolic link.
//!
//! Spec: RFC 8881 §18.24.

use crate::inode::{Ino, Kind};
use crate::inode_table;
use crate::keys;
use crate::store::View;
use crate::{FsError, StoreError};

/// Reads a symlink's target. Any caller that has the handle may.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::Invalid`] for anything but a symlink.
pub fn readlink(view: &dyn View, ino: Ino) -> Result<Vec<u8>, FsError> {
    if inode_table::inode(view, ino)?.kind != Kind::Symlink {
        return Err(FsError::Invalid);
    }
    view.get(&keys::symlink(ino))?.ok_or_else(|| StoreError::Corrupt("symlink without a target").into())
}
