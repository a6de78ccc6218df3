//! The error that ends a load.

use env_transport::CallError;
use wire_nfs::v4::{Nfsstat4, Op};

use crate::limits::PATIENCE_MS_MAX;

/// Why a load ended.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The server cannot be reached, or did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer cannot be decoded.
    #[error("{0}: the answer cannot be read")]
    Unreadable(&'static str),
    /// It refused what it should have done.
    #[error("{}: {}", .op.name(), .status.name())]
    Refused {
        /// The operation.
        op: Op,
        /// What was answered.
        status: Nfsstat4,
    },
    /// It did something else than it was asked for.
    #[error("{0}")]
    Wrong(String),
    /// It put a request off for too long.
    #[error("nothing but {} for {PATIENCE_MS_MAX} ms", .0.name())]
    PutOff(Nfsstat4),
    /// The plan makes no sense.
    #[error("{0}")]
    Plan(&'static str),
}
