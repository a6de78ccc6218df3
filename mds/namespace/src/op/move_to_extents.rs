//! Moving a file's content from beside its inode to extents, once its bytes are safe on a data
//! server.
//!
//! Spec: docs/formats/namespace.md.

use layout::ExtentId;

use crate::FsError;
use crate::inode::{Content, Ino, Inode};
use crate::inode_table;
use crate::keys;
use crate::op::{extent, inline};
use crate::store::Txn;

/// Switches the content of a file to extents. `change` is the file's counter when its stored bytes
/// were copied. It stays the same, since no reader of the file sees a difference.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::IsDirectory`], [`FsError::WrongKind`]; [`FsError::ContentMoved`]
/// if the content is in extents already or was changed since; [`FsError::NoSuchExtent`] if there
/// are bytes and extent 0 has no primary.
pub fn move_to_extents(txn: &mut dyn Txn, ino: Ino, change: u64) -> Result<Inode, FsError> {
    let mut inode = inode_table::regular(txn, ino)?;
    if inode.content != Content::Inline || inode.change != change {
        return Err(FsError::ContentMoved);
    }
    let has_bytes = !inline::stored(txn, ino)?.is_empty();
    if has_bytes && extent::extent(txn, ExtentId { ino, index: 0 })?.is_none() {
        return Err(FsError::NoSuchExtent);
    }
    txn.delete(&keys::inline(ino))?;
    inode.content = Content::Extents;
    debug_assert!(inline::stored(txn, ino)?.is_empty(), "content is in one place");
    inode_table::put(txn, &inode)?;
    Ok(inode)
}
