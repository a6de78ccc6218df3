//! The first change of a store: superblock, counters, root directory.
//!
//! Spec: docs/formats/namespace.md.

use crate::inode::{Content, Inode, Kind, MODE_MASK, ROOT_INO, Timestamp, first_of_shard, shard_of};
use crate::inode_table;
use crate::store::{Txn, View};
use crate::superblock::{self, Counters, Superblock};
use crate::{FsError, StoreError};

/// Owner and mode of the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Mode, low 12 bits.
    pub mode: u32,
}

/// Makes the empty store of a shard other than shard 0.
///
/// # Errors
/// [`FsError::Exists`] if the store is formatted, [`FsError::Invalid`] for shard 0.
pub fn format_shard(txn: &mut dyn Txn, superblock: &Superblock, shard: u16) -> Result<(), FsError> {
    check_empty(txn)?;
    if shard == 0 {
        return Err(FsError::Invalid);
    }
    let first = first_of_shard(shard);
    assert!(shard_of(first) == shard, "a shard's numbers lead to it");
    superblock::put_superblock(txn, superblock)?;
    Ok(superblock::put_counters(txn, &Counters { next_inode: first, next_work: first, inodes: 0 })?)
}

fn check_empty(view: &dyn View) -> Result<(), FsError> {
    match superblock::superblock(view) {
        Ok(_) => Err(FsError::Exists),
        Err(StoreError::NotFormatted) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes an empty file system and returns its root.
///
/// # Errors
/// [`FsError::Exists`] if the store is formatted, [`FsError::Invalid`] for a mode with other bits.
pub fn format(
    txn: &mut dyn Txn,
    superblock: &Superblock,
    root: Root,
    now: Timestamp,
) -> Result<Inode, FsError> {
    check_empty(txn)?;
    if root.mode & !MODE_MASK != 0 {
        return Err(FsError::Invalid);
    }
    superblock::put_superblock(txn, superblock)?;
    superblock::put_counters(txn, &Counters { next_inode: ROOT_INO + 1, next_work: 1, inodes: 1 })?;
    let inode = Inode {
        ino: ROOT_INO,
        generation: 1,
        kind: Kind::Directory,
        mode: root.mode,
        nlink: 2,
        uid: root.uid,
        gid: root.gid,
        size_bytes: 0,
        used_bytes: 0,
        change: 1,
        atime: now,
        mtime: now,
        ctime: now,
        parent: ROOT_INO,
        content: Content::Inline,
    };
    inode_table::put(txn, &inode)?;
    Ok(inode)
}
