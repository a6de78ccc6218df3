//! The inode count of a file system. Data servers count bytes.
//!
//! Spec: RFC 8881 §5.8.2.12.

use crate::FsError;
use crate::store::View;
use crate::superblock;

/// The number of inodes, files without a name included.
///
/// # Errors
/// [`FsError::Store`].
pub fn inodes(view: &dyn View) -> Result<u64, FsError> {
    Ok(superblock::counters(view)?.inodes)
}
