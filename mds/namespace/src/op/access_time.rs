//! The access time, as a file system mounted with `relatime` keeps it: a read updates it when it is
//! not later than the last change, or a day old.
//!
//! Changes neither ctime nor the change counter: clients keep their caches.
//!
//! Spec: RFC 8881 §5.8.2.35 (time_access); `mount(8)`, relatime.

use crate::FsError;
use crate::inode::{Ino, Timestamp};
use crate::inode_table;
use crate::limits::{ACCESS_S_MAX, ACCESS_S_MIN};
use crate::store::Txn;

/// Whether a read at `now` updates the access time `atime` of an inode that last changed at
/// `changed`.
#[must_use]
pub fn is_due(atime: Timestamp, changed: Timestamp, now: Timestamp) -> bool {
    let age_seconds = now.seconds.saturating_sub(atime.seconds);
    if now < changed {
        // A user set a time in the future: else each read would be due until then.
        return atime <= changed && ACCESS_S_MIN <= age_seconds;
    }
    atime <= changed || ACCESS_S_MAX <= age_seconds
}

/// Sets the access time to `now`, if it is still the one that the reader saw: of many readers one
/// updates it.
///
/// # Errors
/// [`FsError::Stale`] if there is no such inode.
pub fn note(txn: &mut dyn Txn, ino: Ino, seen: Timestamp, now: Timestamp) -> Result<(), FsError> {
    let mut inode = inode_table::inode(txn, ino)?;
    if inode.atime == seen {
        inode.atime = now;
        inode_table::put(txn, &inode)?;
    }
    Ok(())
}
