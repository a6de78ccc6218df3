//! The NFS version 3 status of each error of a store.
//!
//! QUIRK(linux): STALE and ACCES make the kernel come back for a new layout and keep the server; IO
//! and NOSPC as well, on newer kernels; JUKEBOX makes it wait five seconds.
//!
//! Spec: RFC 1813 §2.6.

use ds_store::{ChangeError, ImageReadError, ReadError};
use wire_nfs::v3::Nfsstat3;

use crate::copies::SettleError;

/// The status of a WRITE or COMMIT that was not done.
pub(crate) fn of_change(error: &ChangeError) -> Nfsstat3 {
    match error {
        ChangeError::Stale { .. } => Nfsstat3::Stale,
        ChangeError::Range => Nfsstat3::Inval,
        ChangeError::NoSpace => Nfsstat3::Nospc,
        ChangeError::Busy | ChangeError::Closed => Nfsstat3::Jukebox,
        // A replica takes the extent over: the client is to come back for another layout.
        ChangeError::Failed(_) => Nfsstat3::Stale,
    }
}

/// The status of a WRITE or COMMIT whose replicas do not have what they should.
pub(crate) fn of_settling(error: SettleError) -> Nfsstat3 {
    match error {
        SettleError::Deposed => Nfsstat3::Stale,
        SettleError::NoSpace => Nfsstat3::Nospc,
        SettleError::Late | SettleError::OtherImage => Nfsstat3::Jukebox,
    }
}

/// The status of a READ that gave no bytes.
pub(crate) fn of_read(error: &ReadError) -> Nfsstat3 {
    match error {
        ReadError::Stale { .. } => Nfsstat3::Stale,
        ReadError::Range => Nfsstat3::Inval,
        ReadError::Image { error, .. } => of_image(*error),
        ReadError::Log(_) | ReadError::ImageRecord(_) => Nfsstat3::Io,
    }
}

/// The status of a READ whose image gave no bytes.
pub(crate) fn of_image(error: ImageReadError) -> Nfsstat3 {
    match error {
        ImageReadError::Unavailable => Nfsstat3::Jukebox,
        ImageReadError::Damaged => Nfsstat3::Io,
    }
}
