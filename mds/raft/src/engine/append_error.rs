//! Errors of the log engine, as the consensus engine takes them.

use std::io;

use wal::AppendError;

/// The error with which an append, or a flush, failed.
pub(super) fn failed(error: AppendError) -> io::Error {
    match error {
        AppendError::NoSpace => io::Error::new(io::ErrorKind::StorageFull, error),
        AppendError::TooLarge { .. } | AppendError::Failed(_) | AppendError::Closed => {
            io::Error::other(error)
        }
    }
}
