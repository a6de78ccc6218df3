//! Why a namespace operation was refused.
//!
//! One variant per error that a caller can act on; the front maps each to one NFS status.

use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// Why a namespace operation was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum FsError {
    /// The name is not in the directory (ENOENT).
    #[error("no such name")]
    NotFound,
    /// The name is taken (EEXIST).
    #[error("name exists")]
    Exists,
    /// A directory was needed (ENOTDIR).
    #[error("not a directory")]
    NotDirectory,
    /// A directory is not allowed here (EISDIR).
    #[error("is a directory")]
    IsDirectory,
    /// The directory has entries (ENOTEMPTY).
    #[error("directory not empty")]
    NotEmpty,
    /// The mode bits forbid it (EACCES).
    #[error("access denied")]
    AccessDenied,
    /// Only the owner or the superuser may do it (EPERM).
    #[error("operation not permitted")]
    NotPermitted,
    /// An invalid argument (EINVAL).
    #[error("invalid argument")]
    Invalid,
    /// A name that cannot be stored: `.`, `..`, or one with `/` or NUL.
    #[error("bad name")]
    BadName,
    /// A name or symlink target that is too long (ENAMETOOLONG).
    #[error("name too long")]
    NameTooLong,
    /// The object to open is a symbolic link.
    #[error("is a symbolic link")]
    SymlinkInPath,
    /// The object's kind has no such operation.
    #[error("wrong kind of object")]
    WrongKind,
    /// Past the largest file size (EFBIG).
    #[error("file too large")]
    TooLarge,
    /// The object has as many names as it can have (EMLINK).
    #[error("too many links")]
    TooManyLinks,
    /// No room: no cookie is left for the name, or the store is full (ENOSPC).
    #[error("no space")]
    NoSpace,
    /// There is no such inode (ESTALE).
    #[error("stale inode")]
    Stale,
    /// The objects live on different file systems (EXDEV).
    #[error("different file systems")]
    CrossDevice,
    /// The content is not where the caller expected it: look it up again.
    #[error("content moved")]
    ContentMoved,
    /// The extent has no record.
    #[error("no such extent")]
    NoSuchExtent,
    /// A change of the object is still being carried out: retry later.
    #[error("object is being changed")]
    Busy,
    /// The store failed, or holds what no version of this program wrote.
    #[error("store: {0}")]
    Store(String),
    /// Another node has the store now: retry there.
    #[error("another node has the store now")]
    Elsewhere,
}

impl From<StoreError> for FsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Elsewhere => Self::Elsewhere,
            error => Self::Store(error.to_string()),
        }
    }
}
