//! A violated invariant.

use crate::FsError;
use crate::store::StoreError;

/// A violated invariant, or an unreadable store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The store cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An invariant does not hold.
    #[error("{subject} {number}: {what}")]
    Invariant {
        /// Kind of the record.
        subject: &'static str,
        /// Its number.
        number: u64,
        /// The violation.
        what: &'static str,
    },
}

impl From<Broken> for FsError {
    fn from(broken: Broken) -> Self {
        Self::Store(broken.to_string())
    }
}

pub(super) fn ensure(
    holds: bool,
    subject: &'static str,
    number: u64,
    what: &'static str,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken::Invariant { subject, number, what }) }
}
