//! Exclusive creation: the verifier that distinguishes a repeated create from another client's
//! file.
//!
//! Spec: RFC 8881 §18.16.3.

use crate::FsError;
use crate::inode::Ino;
use crate::keys;
use crate::store::{StoreError, Txn, View};

/// The verifier a file was created with, while the store keeps it.
///
/// # Errors
/// [`FsError::Store`].
pub fn verifier(view: &dyn View, ino: Ino) -> Result<Option<[u8; 8]>, FsError> {
    let mut found = Ok(None);
    view.read(&keys::exclusive(ino), &mut |value| {
        found = value.try_into().map(Some).map_err(|_| StoreError::Corrupt("verifier length"));
    })?;
    Ok(found?)
}

/// Deletes the verifier: the creating client has its reply (it closed the file, or is gone).
///
/// # Errors
/// [`FsError::Store`].
pub fn forget(txn: &mut dyn Txn, ino: Ino) -> Result<(), FsError> {
    Ok(txn.delete(&keys::exclusive(ino))?)
}
