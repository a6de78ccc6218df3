//! Keys of the namespace: one tag byte, then fixed-width big-endian fields (docs/formats/namespace.md).
//!
//! `state/` and every other key that starts with a byte not listed here belongs to the shard above.
//!
//! INVARIANT: tags are unique, and no tag is `s`.

use layout::ExtentId;

use crate::inode::Ino;

/// Directory entry: `d`, directory, cookie.
pub const TAG_DIRENT: u8 = b'd';
/// Extent record: `e`, file, index.
pub const TAG_EXTENT: u8 = b'e';
/// Superblock and counters: `f`, which.
pub const TAG_SUPER: u8 = b'f';
/// Inode: `i`, inode number.
pub const TAG_INODE: u8 = b'i';
/// Symlink target: `l`, inode number.
pub const TAG_SYMLINK: u8 = b'l';
/// Inline content: `n`, inode number.
pub const TAG_INLINE: u8 = b'n';
/// Inode without a name that may still be open: `o`, inode number.
pub const TAG_ORPHAN: u8 = b'o';
/// Work item: `w`, number.
pub const TAG_WORK: u8 = b'w';
/// Verifier of an exclusive create: `x`, inode number.
pub const TAG_EXCLUSIVE: u8 = b'x';

/// Keys that belong to the shard above start with this.
pub const STATE_PREFIX: &[u8] = b"state/";

/// Key of the superblock: what never changes.
pub const SUPERBLOCK: [u8; 2] = [TAG_SUPER, 0];
/// Key of the counters: what is next.
pub const COUNTERS: [u8; 2] = [TAG_SUPER, 1];

/// Key of an inode.
#[must_use]
pub fn inode(ino: Ino) -> [u8; 9] {
    tagged(TAG_INODE, ino)
}

/// Key of a symlink's target.
#[must_use]
pub fn symlink(ino: Ino) -> [u8; 9] {
    tagged(TAG_SYMLINK, ino)
}

/// Key of a file's inline content.
#[must_use]
pub fn inline(ino: Ino) -> [u8; 9] {
    tagged(TAG_INLINE, ino)
}

/// Key of an exclusive create's verifier.
#[must_use]
pub fn exclusive(ino: Ino) -> [u8; 9] {
    tagged(TAG_EXCLUSIVE, ino)
}

/// Key of an inode without a name.
#[must_use]
pub fn orphan(ino: Ino) -> [u8; 9] {
    tagged(TAG_ORPHAN, ino)
}

/// Key of a work item.
#[must_use]
pub fn work(number: u64) -> [u8; 9] {
    tagged(TAG_WORK, number)
}

/// Key of a directory entry.
#[must_use]
pub fn dirent(directory: Ino, cookie: u64) -> [u8; 17] {
    let mut key = [0; 17];
    key[0] = TAG_DIRENT;
    key[1..9].copy_from_slice(&directory.to_be_bytes());
    key[9..].copy_from_slice(&cookie.to_be_bytes());
    key
}

/// Key of an extent record.
#[must_use]
pub fn extent(id: ExtentId) -> [u8; 13] {
    let mut key = [0; 13];
    key[0] = TAG_EXTENT;
    key[1..9].copy_from_slice(&id.ino.to_be_bytes());
    key[9..].copy_from_slice(&id.index.to_be_bytes());
    key
}

/// The number behind the tag of a nine-byte key (inode, symlink, inline, exclusive, orphan, work).
#[must_use]
pub fn number_of(key: &[u8]) -> Option<u64> {
    let key: &[u8; 9] = key.try_into().ok()?;
    Some(u64::from_be_bytes(key[1..].try_into().ok()?))
}

/// Directory and cookie of a dirent key.
#[must_use]
pub fn dirent_of(key: &[u8]) -> Option<(Ino, u64)> {
    let key: &[u8; 17] = key.try_into().ok()?;
    Some((u64::from_be_bytes(key[1..9].try_into().ok()?), u64::from_be_bytes(key[9..].try_into().ok()?)))
}

/// The extent an extent key names.
#[must_use]
pub fn extent_of(key: &[u8]) -> Option<ExtentId> {
    let key: &[u8; 13] = key.try_into().ok()?;
    let ino = u64::from_be_bytes(key[1..9].try_into().ok()?);
    Some(ExtentId { ino, index: u32::from_be_bytes(key[9..].try_into().ok()?) })
}

fn tagged(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = tag;
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}
