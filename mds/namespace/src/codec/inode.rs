//! Inodes: their words that are not zero, and a mask of these.
//!
//! A new file has six of 24: an inode should cost the space of what it has, not of what it might
//! have (docs/formats/namespace.md).

use super::bytes::{put_u32, put_u64, u32_at, u64_at};
use crate::inode::{Content, FileType, Ino, Inode, Kind, MODE_MASK, Timestamp};
use crate::store::StoreError;

/// Bytes of an inode of version 1, which version 2 expands to.
pub const INODE_BYTES: usize = 100;

const VERSION: u8 = 2;
/// All words, zero or not; read, not written.
const VERSION_WHOLE: u8 = 1;
/// Version, kind, content and the mask of present words.
const HEAD_BYTES: usize = 6;
/// Offset of the words in version 1.
const WORDS_AT: usize = 4;
const WORD_BYTES: usize = 4;
const _: () = assert!((INODE_BYTES - WORDS_AT) / WORD_BYTES == 24, "three bytes mask them");
const CONTENT_INLINE: u8 = 1;
const CONTENT_EXTENTS: u8 = 2;
/// Offsets of the words of atime and ctime, and of the words of mtime from which they differ.
const TIMES: [(usize, usize); 6] = [(48, 56), (52, 60), (64, 56), (68, 60), (72, 76), (80, 76)];

/// Replaces the words of atime and ctime by their difference from mtime's, or restores them.
fn set_times_apart(whole: &mut [u8; INODE_BYTES]) {
    for (at, of) in TIMES {
        let apart = u32_at(whole, at) ^ u32_at(whole, of);
        put_u32(whole, at, apart);
    }
}

/// Expands version 2 to version 1.
fn expand(value: &[u8]) -> Result<[u8; INODE_BYTES], StoreError> {
    let (head, words) = value.split_first_chunk::<HEAD_BYTES>().ok_or(StoreError::Corrupt("inode length"))?;
    let present = u32::from_be_bytes([0, head[3], head[4], head[5]]);
    if words.len() != present.count_ones() as usize * WORD_BYTES {
        return Err(StoreError::Corrupt("inode length"));
    }
    let mut whole = [0; INODE_BYTES];
    whole[..3].copy_from_slice(&[VERSION_WHOLE, head[1], head[2]]);
    let mut words = words.chunks_exact(WORD_BYTES);
    for (number, slot) in whole[WORDS_AT..].chunks_exact_mut(WORD_BYTES).enumerate() {
        if present >> number & 1 == 1 {
            slot.copy_from_slice(words.next().ok_or(StoreError::Corrupt("inode length"))?);
            if slot == [0; WORD_BYTES] {
                return Err(StoreError::Corrupt("inode word"));
            }
        }
    }
    set_times_apart(&mut whole);
    Ok(whole)
}

/// The value of an inode.
#[must_use]
pub fn encode_inode(inode: &Inode) -> Vec<u8> {
    let mut whole = whole(inode);
    set_times_apart(&mut whole);
    let mut out = vec![VERSION, whole[1], whole[2], 0, 0, 0];
    let mut present = 0_u32;
    for (number, word) in whole[WORDS_AT..].chunks_exact(WORD_BYTES).enumerate() {
        if word != [0; WORD_BYTES] {
            present |= 1 << number;
            out.extend_from_slice(word);
        }
    }
    out[3..HEAD_BYTES].copy_from_slice(&present.to_be_bytes()[1..]);
    assert!(present >> 24 == 0, "the mask has three bytes");
    debug_assert_eq!(decode_inode(inode.ino, &out).as_ref(), Ok(inode), "it reads back as it was");
    out
}

/// All words, as in version 1.
fn whole(inode: &Inode) -> [u8; INODE_BYTES] {
    let (major, minor) = match inode.kind {
        Kind::Block { major, minor } | Kind::Character { major, minor } => (major, minor),
        Kind::Regular | Kind::Directory | Kind::Symlink | Kind::Fifo | Kind::Socket => (0, 0),
    };
    let mut out = [0; INODE_BYTES];
    out[0] = VERSION_WHOLE;
    out[1] = inode.kind.file_type().code();
    out[2] = match inode.content {
        Content::Inline => CONTENT_INLINE,
        Content::Extents => CONTENT_EXTENTS,
    };
    put_u32(&mut out, 4, inode.mode);
    put_u32(&mut out, 8, inode.nlink);
    put_u32(&mut out, 12, inode.uid);
    put_u32(&mut out, 16, inode.gid);
    put_u32(&mut out, 20, inode.generation);
    put_u64(&mut out, 24, inode.size_bytes);
    put_u64(&mut out, 32, inode.used_bytes);
    put_u64(&mut out, 40, inode.change);
    out[48..56].copy_from_slice(&inode.atime.seconds.to_be_bytes());
    out[56..64].copy_from_slice(&inode.mtime.seconds.to_be_bytes());
    out[64..72].copy_from_slice(&inode.ctime.seconds.to_be_bytes());
    put_u32(&mut out, 72, inode.atime.nanos);
    put_u32(&mut out, 76, inode.mtime.nanos);
    put_u32(&mut out, 80, inode.ctime.nanos);
    put_u32(&mut out, 84, major);
    put_u32(&mut out, 88, minor);
    put_u64(&mut out, 92, inode.parent);
    out
}

/// Reads the value of inode `ino`.
///
/// # Errors
/// [`StoreError::Corrupt`] for a value no version wrote.
pub fn decode_inode(ino: Ino, value: &[u8]) -> Result<Inode, StoreError> {
    let value = &match value.first() {
        Some(&VERSION) => expand(value)?,
        Some(&VERSION_WHOLE) => value.try_into().map_err(|_| StoreError::Corrupt("inode length"))?,
        Some(_) => return Err(StoreError::Corrupt("inode version")),
        None => return Err(StoreError::Corrupt("inode length")),
    };
    let (major, minor) = (u32_at(value, 84), u32_at(value, 88));
    let kind = match FileType::from_code(value[1]).ok_or(StoreError::Corrupt("inode kind"))? {
        FileType::Regular => Kind::Regular,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Block => Kind::Block { major, minor },
        FileType::Character => Kind::Character { major, minor },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
    };
    let content = match value[2] {
        CONTENT_INLINE => Content::Inline,
        CONTENT_EXTENTS => Content::Extents,
        _ => return Err(StoreError::Corrupt("inode content")),
    };
    let mode = u32_at(value, 4);
    if mode & !MODE_MASK != 0 {
        return Err(StoreError::Corrupt("inode mode"));
    }
    Ok(Inode {
        ino,
        generation: u32_at(value, 20),
        kind,
        mode,
        nlink: u32_at(value, 8),
        uid: u32_at(value, 12),
        gid: u32_at(value, 16),
        size_bytes: u64_at(value, 24),
        used_bytes: u64_at(value, 32),
        change: u64_at(value, 40),
        atime: time_at(value, 48, 72),
        mtime: time_at(value, 56, 76),
        ctime: time_at(value, 64, 80),
        parent: u64_at(value, 92),
        content,
    })
}

fn time_at(bytes: &[u8; INODE_BYTES], seconds_at: usize, nanos_at: usize) -> Timestamp {
    let seconds = u64_at(bytes, seconds_at).cast_signed();
    Timestamp { seconds, nanos: u32_at(bytes, nanos_at) }
}
