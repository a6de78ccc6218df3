//! The superblock (identity and keys, written once) and the counters (the next numbers).
//!
//! INVARIANT: counters only grow, but for the count of inodes.

use crate::codec::{put_u64, u64_at};
use crate::inode::{Ino, shard_of};
use crate::keys;
use crate::store::{StoreError, Txn, View};

/// Bytes of the superblock.
pub const SUPERBLOCK_BYTES: usize = 84;
/// Bytes of the counters.
pub const COUNTERS_BYTES: usize = 28;

/// Version of the counters.
const VERSION: u8 = 1;
/// Version of the store as a whole: stores of version 1 lack replicas of extents and are not
/// opened.
const STORE_VERSION: u8 = 2;
/// Identifies the store to a reader of its bytes.
const MAGIC: [u8; 3] = *b"SHO";

/// Identity and keys of a file system; never changes after `op::format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Identity of the file system.
    pub file_system: [u8; 16],
    /// Key that data-server handles are sealed with.
    pub handle_key: [u8; 32],
    /// Key that directory cookies are made with.
    pub cookie_key: [u8; 32],
}

/// Bytes of the superblock before its keys.
const COOKIE_KEY_AT: usize = 52;

const _: () = assert!(COOKIE_KEY_AT == 20 + 32, "the first key ends where the second begins");
const _: () = assert!(COOKIE_KEY_AT + 32 == SUPERBLOCK_BYTES, "the second key ends the superblock");
const _: () = assert!(COUNTERS_BYTES == 4 + 3 * 8, "three counters behind the version");

/// Reads the superblock.
///
/// # Errors
/// [`StoreError::NotFormatted`] if there is none yet, [`StoreError::Corrupt`] for bytes no version
/// wrote.
pub fn superblock(view: &dyn View) -> Result<Superblock, StoreError> {
    let mut found = Err(StoreError::NotFormatted);
    view.read(&keys::SUPERBLOCK, &mut |value| found = decode(value))?;
    found
}

/// Reads only the key for directory cookies.
///
/// # Errors
/// As [`superblock`].
pub(crate) fn cookie_key(view: &dyn View) -> Result<[u8; 32], StoreError> {
    let mut found = Err(StoreError::NotFormatted);
    view.read(&keys::SUPERBLOCK, &mut |value| {
        found = checked(value).map(|bytes| *bytes.last_chunk().expect("the key ends the superblock"));
    })?;
    found
}

/// Writes the superblock.
pub(crate) fn put_superblock(txn: &mut dyn Txn, superblock: &Superblock) -> Result<(), StoreError> {
    let mut out = [0; SUPERBLOCK_BYTES];
    out[0] = STORE_VERSION;
    out[1..4].copy_from_slice(&MAGIC);
    out[4..20].copy_from_slice(&superblock.file_system);
    out[20..COOKIE_KEY_AT].copy_from_slice(&superblock.handle_key);
    out[COOKIE_KEY_AT..].copy_from_slice(&superblock.cookie_key);
    txn.put(&keys::SUPERBLOCK, &out)
}

fn decode(value: &[u8]) -> Result<Superblock, StoreError> {
    let value = checked(value)?;
    Ok(Superblock {
        file_system: value[4..20].try_into().expect("sixteen bytes"),
        handle_key: value[20..COOKIE_KEY_AT].try_into().expect("thirty-two bytes"),
        cookie_key: value[COOKIE_KEY_AT..].try_into().expect("thirty-two bytes"),
    })
}

fn checked(value: &[u8]) -> Result<&[u8; SUPERBLOCK_BYTES], StoreError> {
    let value: &[u8; SUPERBLOCK_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("superblock length"))?;
    if value[1..4] != MAGIC {
        return Err(StoreError::Corrupt("superblock magic"));
    }
    if value[0] != STORE_VERSION {
        return Err(StoreError::OtherVersion(value[0]));
    }
    Ok(value)
}

/// The next numbers, and the count of inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// The next inode number.
    pub next_inode: u64,
    /// Number of the next work item.
    pub next_work: u64,
    /// The number of inodes, orphans included.
    pub inodes: u64,
}

/// Reads the counters.
///
/// # Errors
/// As [`superblock`].
pub fn counters(view: &dyn View) -> Result<Counters, StoreError> {
    let mut found = Err(StoreError::NotFormatted);
    view.read(&keys::COUNTERS, &mut |value| found = decode_counters(value))?;
    found
}

pub(crate) fn put_counters(txn: &mut dyn Txn, counters: &Counters) -> Result<(), StoreError> {
    let mut out = [0; COUNTERS_BYTES];
    out[0] = VERSION;
    put_u64(&mut out, 4, counters.next_inode);
    put_u64(&mut out, 12, counters.next_work);
    put_u64(&mut out, 20, counters.inodes);
    txn.put(&keys::COUNTERS, &out)
}

fn decode_counters(value: &[u8]) -> Result<Counters, StoreError> {
    let value: &[u8; COUNTERS_BYTES] =
        value.try_into().map_err(|_| StoreError::Corrupt("counters length"))?;
    if value[0] != VERSION {
        return Err(StoreError::Corrupt("counters version"));
    }
    Ok(Counters { next_inode: u64_at(value, 4), next_work: u64_at(value, 12), inodes: u64_at(value, 20) })
}

/// Takes the next inode number of this shard and counts the inode.
pub(crate) fn next_ino(txn: &mut dyn Txn) -> Result<Ino, StoreError> {
    let mut counters = counters(txn)?;
    let ino = counters.next_inode;
    counters.next_inode += 1;
    assert!(shard_of(ino) == shard_of(counters.next_inode), "the sequence of a shard fits below its number");
    counters.inodes += 1;
    put_counters(txn, &counters)?;
    Ok(ino)
}

/// The shard of this store.
///
/// # Errors
/// As [`superblock`].
pub fn shard(view: &dyn View) -> Result<u16, StoreError> {
    Ok(shard_of(counters(view)?.next_inode))
}

/// Reserves `count` inode numbers, and returns the first. Unused numbers are lost.
///
/// # Errors
/// As [`superblock`].
pub fn reserve_inodes(txn: &mut dyn Txn, count: u32) -> Result<Ino, StoreError> {
    let mut counters = counters(txn)?;
    let first = counters.next_inode;
    counters.next_inode += u64::from(count);
    assert!(first <= counters.next_inode, "a counter only grows");
    assert!(
        shard_of(first) == shard_of(counters.next_inode),
        "the sequence of a shard fits below its number"
    );
    put_counters(txn, &counters)?;
    Ok(first)
}

/// Counts an inode that was made without [`next_ino`].
pub(crate) fn inode_came(txn: &mut dyn Txn) -> Result<(), StoreError> {
    let mut counters = counters(txn)?;
    counters.inodes += 1;
    put_counters(txn, &counters)
}

/// Takes the next work item number.
pub(crate) fn next_work(txn: &mut dyn Txn) -> Result<u64, StoreError> {
    let mut counters = counters(txn)?;
    let number = counters.next_work;
    counters.next_work += 1;
    assert!(shard_of(number) == shard_of(counters.next_work), "the sequence fits below its shard");
    put_counters(txn, &counters)?;
    Ok(number)
}

/// Counts an inode that was removed.
pub(crate) fn inode_gone(txn: &mut dyn Txn) -> Result<(), StoreError> {
    let mut counters = counters(txn)?;
    counters.inodes = counters.inodes.checked_sub(1).ok_or(StoreError::Corrupt("count of inodes"))?;
    put_counters(txn, &counters)
}
