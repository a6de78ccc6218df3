//! Settles the size of a file that clients write through layouts: by the extents that they were
//! granted, and the primaries' measurements of these once the last such layout is gone.
//!
//! INVARIANT: no client's claim moves the end of a file. A measurement does, if the file did not
//! change since.
//! Spec: docs/protocol/sizes.md; RFC 8881 §12.5.4, §18.42.

use layout::{Epoch, ExtentId};
use serde::{Deserialize, Serialize};

use crate::codec::put_u64;
use crate::inode::{Ino, Inode, Timestamp};
use crate::keys;
use crate::limits::FILE_BYTES_MAX;
use crate::op::extent;
use crate::store::{Txn, View};
use crate::unsettled::{self, Granted, Seen, encode_granted, encode_unsettled};
use crate::{FsError, inode_table};

/// Measurements by the primaries of a file's granted extents, and the state of the file before
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The file.
    pub ino: Ino,
    /// [`Unsettled::turns`](crate::Unsettled::turns) before the queries.
    pub turns: u64,
    /// [`epochs`] before the queries.
    pub epochs: u64,
    /// The inode's change counter before the queries.
    pub change: u64,
    /// One past the last byte that any of them holds, from the beginning of the file.
    pub end_bytes: u64,
    /// Bytes that the content takes.
    pub used_bytes: u64,
    /// If anything was written: the change counter and the modification time that stand for it.
    pub written: Option<(u64, Timestamp)>,
}

/// Records that a client may write into extents of a file from now on. The size of an extent at its
/// first grant counts.
///
/// # Errors
/// [`FsError::Store`].
pub fn grant(txn: &mut dyn Txn, ino: Ino, granted: &[Granted], drops_set_id: bool) -> Result<(), FsError> {
    let mut record = unsettled::unsettled(txn, ino)?.unwrap_or_default();
    record.turns += 1;
    record.drops_set_id |= drops_set_id;
    txn.put(&keys::unsettled(ino), &encode_unsettled(&record))?;
    for one in granted {
        let id = ExtentId { ino, index: one.index };
        if !unsettled::is_granted(txn, id)? {
            txn.put(&keys::granted(id), &encode_granted(one.seen))?;
        }
    }
    Ok(())
}

/// Voids measurements that are under way: the measured state has changed.
///
/// # Errors
/// [`FsError::Store`].
pub fn turn(txn: &mut dyn Txn, ino: Ino) -> Result<(), FsError> {
    if let Some(mut record) = unsettled::unsettled(txn, ino)? {
        record.turns += 1;
        txn.put(&keys::unsettled(ino), &encode_unsettled(&record))?;
    }
    Ok(())
}

/// Applies a measurement to the inode while clients continue to write: the inode's change counter
/// covers this content from now on. `None` as for [`settle`].
///
/// # Errors
/// As [`settle`].
pub fn absorb(
    txn: &mut dyn Txn,
    asked: &Settlement,
    measured: &[Granted],
    now: Timestamp,
) -> Result<Option<Inode>, FsError> {
    let Some(inode) = apply_measurement(txn, asked, now)? else { return Ok(None) };
    for one in measured {
        let id = ExtentId { ino: asked.ino, index: one.index };
        if unsettled::is_granted(txn, id)? {
            txn.put(&keys::granted(id), &encode_granted(one.seen))?;
        }
    }
    Ok(Some(inode))
}

/// A number that changes when any of these epochs does: FNV-1a over their bytes.
#[must_use]
pub fn epochs(extents: impl IntoIterator<Item = (u32, Epoch)>) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for (index, epoch) in extents {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&index.to_be_bytes());
        put_u64(&mut bytes, 4, epoch.0);
        for byte in bytes {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    sum
}

/// Applies a measurement to the inode and settles its size. `None` if the file changed since the
/// measurement, or one of its granted extents has pending work. The caller ensures that no client
/// may write any more.
///
/// # Errors
/// [`FsError::Store`]; [`FsError::TooLarge`] for an end beyond the largest file.
pub fn settle(txn: &mut dyn Txn, asked: &Settlement, now: Timestamp) -> Result<Option<Inode>, FsError> {
    let inode = apply_measurement(txn, asked, now)?;
    if inode.is_some() {
        forget(txn, asked.ino)?;
        debug_assert!(unsettled::granted(txn, asked.ino)?.is_empty(), "a settled file has no grants");
    }
    Ok(inode)
}

/// The inode with a measurement applied; `None` if that is out of date.
fn apply_measurement(
    txn: &mut dyn Txn,
    asked: &Settlement,
    now: Timestamp,
) -> Result<Option<Inode>, FsError> {
    if FILE_BYTES_MAX < asked.end_bytes {
        return Err(FsError::TooLarge);
    }
    let record = unsettled::unsettled(txn, asked.ino)?.filter(|record| record.turns == asked.turns);
    let Some(record) = record else { return Ok(None) };
    let mut inode = inode_table::regular(txn, asked.ino)?;
    if inode.change != asked.change || is_otherwise(txn, asked)? {
        return Ok(None);
    }
    if let Some((change, mtime)) = asked.written {
        inode.size_bytes = inode.size_bytes.max(asked.end_bytes);
        inode.used_bytes = asked.used_bytes.min(inode.size_bytes);
        assert!(asked.end_bytes <= inode.size_bytes, "a measurement shortens no file");
        inode.change = change;
        inode.mtime = mtime;
        inode.ctime = now;
        if record.drops_set_id {
            inode.drop_set_id();
        }
        inode_table::put(txn, &inode)?;
    }
    Ok(Some(inode))
}

/// Whether an extent was cut, fenced or moved since it was measured, or is about to be.
fn is_otherwise(view: &dyn View, asked: &Settlement) -> Result<bool, FsError> {
    let mut found = Vec::new();
    for one in unsettled::granted(view, asked.ino)? {
        let record = extent::extent(view, ExtentId { ino: asked.ino, index: one.index })?;
        let Some(record) = record else { continue };
        if record.pending_work.is_some() {
            return Ok(true);
        }
        found.push((one.index, record.epoch));
    }
    Ok(epochs(found) != asked.epochs)
}

/// Notes that the granted extents are cut to `size_bytes` of the file: at most that much of what
/// they held is left.
pub(crate) fn cut(txn: &mut dyn Txn, ino: Ino, size_bytes: u64) -> Result<(), FsError> {
    turn(txn, ino)?;
    for one in unsettled::granted(txn, ino)? {
        let id = ExtentId { ino, index: one.index };
        let left = size_bytes.saturating_sub(id.first_byte());
        if let Some(seen) = one.seen.filter(|seen| left < u64::from(seen.held_bytes)) {
            let held_bytes = u32::try_from(left).expect("below a number of 32 bits");
            txn.put(&keys::granted(id), &encode_granted(Some(Seen { held_bytes, ..seen })))?;
        }
    }
    Ok(())
}

/// Deletes the records of a file's granted extents: its size is settled, or the file is removed.
pub(crate) fn forget(txn: &mut dyn Txn, ino: Ino) -> Result<(), FsError> {
    if unsettled::unsettled(txn, ino)?.is_none() {
        return Ok(());
    }
    for one in unsettled::granted(txn, ino)? {
        txn.delete(&keys::granted(ExtentId { ino, index: one.index }))?;
    }
    Ok(txn.delete(&keys::unsettled(ino))?)
}
