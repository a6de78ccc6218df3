//! Scans the whole store for what a data server still holds, and deletes its work items.
//!
//! Spec: docs/protocol/admin.md §2.

use std::ops::ControlFlow;

use layout::{DataServerId, ExtentId};
use serde::{Deserialize, Serialize};

use crate::FsError;
use crate::keys;
use crate::op::{extent, prove, seal, work};
use crate::store::{Txn, View, scan};

/// What a data server holds by the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Extents with it as primary.
    pub homes: u64,
    /// Extents with it as a replica.
    pub backups: u64,
    /// Images of groups.
    pub images: u64,
}

/// Counts what a data server holds. Reads every extent and every group.
///
/// # Errors
/// [`FsError::Store`].
pub fn held(view: &dyn View, server: DataServerId) -> Result<Held, FsError> {
    let mut held = Held::default();
    let first = keys::extent(ExtentId { ino: 0, index: 0 });
    scan(view, &first, &[keys::TAG_EXTENT + 1], |key, value| {
        let record = extent::decode(key, value)?;
        held.homes += u64::from(record.home == server);
        held.backups += u64::from(record.backups.iter().any(|one| one.server == server));
        Ok::<_, FsError>(ControlFlow::Continue(()))
    })?;
    scan(view, &[keys::TAG_GROUP], &[keys::TAG_GROUP + 1], |key, value| {
        let group = seal::decode_group(key, value)?;
        held.images += group.homes().iter().filter(|home| **home == Some(server)).count() as u64;
        Ok::<_, FsError>(ControlFlow::Continue(()))
    })?;
    Ok(held)
}

/// Deletes the work items of a data server that is removed, and its part in proofs of new
/// primaries; at most `items_max` items. True if those were all.
///
/// # Errors
/// [`FsError::Store`].
pub fn strike_off(txn: &mut dyn Txn, server: DataServerId, items_max: usize) -> Result<bool, FsError> {
    let mut after = 0;
    let mut struck = 0;
    loop {
        let page = work::pending(txn, after, items_max)?;
        let Some((last, _)) = page.last() else { return Ok(true) };
        after = *last;
        for (number, item) in page {
            if struck == items_max {
                return Ok(false);
            }
            if item.home() == server {
                work::done(txn, &[number])?;
            } else if !prove::forget_former(txn, number, &item, server)? {
                continue;
            }
            struck += 1;
            assert!(struck <= items_max, "no more items go than were asked for");
        }
        if struck == items_max {
            return Ok(false);
        }
    }
}
