//! Keys of the namespace: one tag byte, then fixed-width big-endian fields
//! (docs/formats/namespace.md).
//!
//! `state/` and every other key that starts with a byte not listed here belongs to the shard's
//! protocol state.
//!
//! INVARIANT: tags are unique, and no tag is `s`.

use layout::ExtentId;
use layout::ec::{GroupId, ImageId};

use crate::inode::Ino;

/// Directory entry: `d`, directory, cookie.
pub const TAG_DIRENT: u8 = b'd';
/// Extent record: `e`, file, index.
pub const TAG_EXTENT: u8 = b'e';
/// Superblock and counters: `f`, number.
pub const TAG_SUPER: u8 = b'f';
/// Group's record: `g`, number.
pub const TAG_GROUP: u8 = b'g';
/// Inode: `i`, inode number.
pub const TAG_INODE: u8 = b'i';
/// Symlink target: `l`, inode number.
pub const TAG_SYMLINK: u8 = b'l';
/// Images of an extent: `m`, file, index.
pub const TAG_EXTENT_IMAGES: u8 = b'm';
/// Inline content: `n`, inode number.
pub const TAG_INLINE: u8 = b'n';
/// Inode without a name that may still be open: `o`, inode number.
pub const TAG_ORPHAN: u8 = b'o';
/// Place of an image: `p`, image id.
pub const TAG_IMAGE: u8 = b'p';
/// File whose size is not settled: `u`, inode number.
pub const TAG_UNSETTLED: u8 = b'u';
/// Extent of such a file that was granted for writing: `v`, file, index.
pub const TAG_GRANTED: u8 = b'v';
/// Work item: `w`, number.
pub const TAG_WORK: u8 = b'w';
/// Verifier of an exclusive create: `x`, inode number.
pub const TAG_EXCLUSIVE: u8 = b'x';

/// All tags, in order.
const TAGS: [u8; 14] = [
    TAG_DIRENT,
    TAG_EXTENT,
    TAG_SUPER,
    TAG_GROUP,
    TAG_INODE,
    TAG_SYMLINK,
    TAG_EXTENT_IMAGES,
    TAG_INLINE,
    TAG_ORPHAN,
    TAG_IMAGE,
    TAG_UNSETTLED,
    TAG_GRANTED,
    TAG_WORK,
    TAG_EXCLUSIVE,
];
const _: () = {
    let mut at = 0;
    while at < TAGS.len() {
        assert!(TAGS[at] != STATE_PREFIX[0], "no tag is that of the protocol state");
        assert!(TAGS[at] < u8::MAX, "a key follows all keys of a tag");
        assert!(at == 0 || TAGS[at - 1] < TAGS[at], "tags are unique");
        at += 1;
    }
};

/// Prefix of the keys of the shard's protocol state.
pub const STATE_PREFIX: &[u8] = b"state/";

/// Key of the superblock, which never changes.
pub const SUPERBLOCK: [u8; 2] = [TAG_SUPER, 0];
/// Key of the counters of the next numbers.
pub const COUNTERS: [u8; 2] = [TAG_SUPER, 1];

/// Key of the number of the next group; absent before the first.
pub const GROUP_COUNTER: [u8; 2] = [TAG_SUPER, 2];

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

/// Key of a file whose size is not settled.
#[must_use]
pub fn unsettled(ino: Ino) -> [u8; 9] {
    tagged(TAG_UNSETTLED, ino)
}

/// Key of an extent that was granted for writing since its file's size was settled.
#[must_use]
pub fn granted(id: ExtentId) -> [u8; 13] {
    of_extent(TAG_GRANTED, id)
}

/// Key of a directory entry.
#[must_use]
pub fn dirent(directory: Ino, cookie: u64) -> [u8; 17] {
    let mut key = [0; 17];
    key[0] = TAG_DIRENT;
    key[1..9].copy_from_slice(&directory.to_be_bytes());
    key[9..].copy_from_slice(&cookie.to_be_bytes());
    debug_assert_eq!(dirent_of(&key), Some((directory, cookie)), "a key leads back to its entry");
    key
}

/// Key of an extent record.
#[must_use]
pub fn extent(id: ExtentId) -> [u8; 13] {
    of_extent(TAG_EXTENT, id)
}

/// Key of the images of an extent.
#[must_use]
pub fn extent_images(id: ExtentId) -> [u8; 13] {
    of_extent(TAG_EXTENT_IMAGES, id)
}

/// Key of a group's record.
#[must_use]
pub fn group(id: GroupId) -> [u8; 9] {
    tagged(TAG_GROUP, id.0)
}

/// Key of the place of an image.
#[must_use]
pub fn image(id: ImageId) -> [u8; 17] {
    let mut key = [0; 17];
    key[0] = TAG_IMAGE;
    key[1..].copy_from_slice(&id.0);
    debug_assert_eq!(image_of(&key), Some(id), "a key leads back to its image");
    key
}

/// The image of an image place's key.
#[must_use]
pub fn image_of(key: &[u8]) -> Option<ImageId> {
    let key: &[u8; 17] = key.try_into().ok()?;
    Some(ImageId(*key.last_chunk()?))
}

/// The number behind the tag of a nine-byte key (inode, symlink, inline, exclusive, orphan,
/// unsettled, work, group).
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

/// The extent of the key of an extent record, of a granted extent, or of an extent's images.
#[must_use]
pub fn extent_of(key: &[u8]) -> Option<ExtentId> {
    let key: &[u8; 13] = key.try_into().ok()?;
    let ino = u64::from_be_bytes(key[1..9].try_into().ok()?);
    Some(ExtentId { ino, index: u32::from_be_bytes(key[9..].try_into().ok()?) })
}

/// The inode number of a key that an act on several shards may write: inode, directory entry,
/// target of a symlink, orphan.
#[must_use]
pub fn ino_of_name_key(key: &[u8]) -> Option<Ino> {
    let bytes = match *key.first()? {
        TAG_INODE | TAG_SYMLINK | TAG_ORPHAN => 9,
        TAG_DIRENT => 17,
        _ => return None,
    };
    (key.len() == bytes).then(|| u64::from_be_bytes(*key[1..].first_chunk().expect("eight bytes at least")))
}

fn of_extent(tag: u8, id: ExtentId) -> [u8; 13] {
    let mut key = [0; 13];
    key[0] = tag;
    key[1..9].copy_from_slice(&id.ino.to_be_bytes());
    key[9..].copy_from_slice(&id.index.to_be_bytes());
    debug_assert_eq!(extent_of(&key), Some(id), "a key leads back to its extent");
    key
}

fn tagged(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = tag;
    key[1..].copy_from_slice(&number.to_be_bytes());
    debug_assert_eq!(number_of(&key), Some(number), "a key leads back to its number");
    key
}
