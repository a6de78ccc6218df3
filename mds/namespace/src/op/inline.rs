//! Content kept beside the inode: reading and writing small files.
//!
//! Only written bytes are stored, at most `INLINE_BYTES_MAX`; a file may be longer than that and
//! end in a hole. OPEN has checked the permission to read or write.
//!
//! Spec: RFC 8881 §18.22, §18.32.

use crate::FsError;
use crate::inode::{Caller, Content, Ino, Inode, Timestamp};
use crate::inode_table;
use crate::keys;
use crate::limits::INLINE_BYTES_MAX;
use crate::store::{Txn, View};

/// Reads up to `len_bytes` from `offset_bytes`; holes read as zeros, and the result ends with the
/// file. The caller bounds `len_bytes`: that much is allocated.
///
/// # Errors
/// [`FsError::ContentMoved`] if the content is in extents.
pub fn read(view: &dyn View, inode: &Inode, offset_bytes: u64, len_bytes: usize) -> Result<Vec<u8>, FsError> {
    if inode.content != Content::Inline {
        return Err(FsError::ContentMoved);
    }
    let remaining_bytes = inode.size_bytes.saturating_sub(offset_bytes);
    let len = usize::try_from(remaining_bytes).map_or(len_bytes, |remaining| remaining.min(len_bytes));
    let mut out = Vec::with_capacity(len);
    if len > 0 {
        view.read(&keys::inline(inode.ino), &mut |stored| {
            let tail = usize::try_from(offset_bytes).ok().and_then(|offset| stored.get(offset..));
            if let Some(tail) = tail {
                out.extend_from_slice(&tail[..tail.len().min(len)]);
            }
        })?;
        out.resize(len, 0);
    }
    assert!(out.len() <= len_bytes, "no more is read than was asked for");
    Ok(out)
}

/// All stored bytes of a file, to be copied before its content moves to extents.
///
/// # Errors
/// [`FsError::Store`].
pub fn stored(view: &dyn View, ino: Ino) -> Result<Vec<u8>, FsError> {
    Ok(view.get(&keys::inline(ino))?.unwrap_or_default())
}

/// Writes `data` at `offset_bytes`. Writing nothing changes nothing.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::IsDirectory`], [`FsError::WrongKind`]; [`FsError::ContentMoved`]
/// if the content is in extents, or would not fit any more.
pub fn write(
    txn: &mut dyn Txn,
    caller: &Caller,
    ino: Ino,
    offset_bytes: u64,
    data: &[u8],
    now: Timestamp,
) -> Result<Inode, FsError> {
    let mut inode = inode_table::regular(txn, ino)?;
    let end_bytes = offset_bytes.saturating_add(data.len() as u64);
    if inode.content != Content::Inline || INLINE_BYTES_MAX < end_bytes {
        return Err(FsError::ContentMoved);
    }
    if data.is_empty() {
        return Ok(inode);
    }
    let mut bytes = stored(txn, ino)?;
    let offset = usize::try_from(offset_bytes).expect("below INLINE_BYTES_MAX");
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
    put(txn, &mut inode, &bytes)?;
    inode.size_bytes = inode.size_bytes.max(end_bytes);
    if !caller.is_superuser() {
        inode.drop_set_id();
    }
    inode.modified(now);
    inode_table::put(txn, &inode)?;
    Ok(inode)
}

/// Stores the bytes and counts them in `inode`, which the caller writes.
pub(crate) fn put(txn: &mut dyn Txn, inode: &mut Inode, bytes: &[u8]) -> Result<(), FsError> {
    assert!(bytes.len() as u64 <= INLINE_BYTES_MAX, "inline content stays within its limit");
    inode.used_bytes = bytes.len() as u64;
    if bytes.is_empty() {
        txn.delete(&keys::inline(inode.ino))?;
    } else {
        txn.put(&keys::inline(inode.ino), bytes)?;
    }
    Ok(())
}
