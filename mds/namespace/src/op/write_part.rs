//! A store's part of an act on several stores: the resulting keys.
//!
//! Writing a part again changes nothing, as long as its keys have no other writer meanwhile
//! (docs/protocol/shards.md §4).

use crate::inode::shard_of;
use crate::keys;
use crate::limits::{PART_WRITES_MAX, SYMLINK_BYTES_MAX};
use crate::store::draft::Write;
use crate::store::{Txn, View};
use crate::{FsError, codec, superblock};

/// Writes a part.
///
/// # Errors
/// [`FsError::Invalid`] for keys of another store or that no such act writes, and for values that
/// do not decode.
pub fn write_part(txn: &mut dyn Txn, writes: &[Write]) -> Result<(), FsError> {
    check(txn, writes)?;
    for Write { key, value } in writes {
        if key.first() == Some(&keys::TAG_INODE) {
            match (txn.get(key)?.is_some(), value.is_some()) {
                (false, true) => superblock::inode_came(txn)?,
                (true, false) => superblock::inode_gone(txn)?,
                (true, true) | (false, false) => {}
            }
        }
        match value {
            Some(value) => txn.put(key, value)?,
            None => txn.delete(key)?,
        }
    }
    Ok(())
}

fn check(view: &dyn View, writes: &[Write]) -> Result<(), FsError> {
    let shard = superblock::shard(view)?;
    let sound = |write: &Write| {
        let ino = keys::ino_of_name_key(&write.key)?;
        let Some(value) = &write.value else { return Some(ino) };
        let is_one = match write.key[0] {
            keys::TAG_INODE => codec::decode_inode(ino, value).is_ok(),
            keys::TAG_DIRENT => codec::decode_dirent(value).is_ok(),
            keys::TAG_SYMLINK => (1..=SYMLINK_BYTES_MAX).contains(&value.len()),
            _ => value.is_empty(),
        };
        is_one.then_some(ino)
    };
    let all = writes.iter().all(|write| sound(write).is_some_and(|ino| shard_of(ino) == shard));
    if all && writes.len() <= PART_WRITES_MAX { Ok(()) } else { Err(FsError::Invalid) }
}
