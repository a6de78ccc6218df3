//! SETATTR: chmod, chown, truncate and utimes, any of them at once.
//!
//! All checks precede the first change. Set-id bits change as on a local Linux file system.
//!
//! Spec: RFC 8881 §18.30; POSIX.1-2024 `chmod`, `chown`, `truncate`, `utimensat`.

use crate::FsError;
use crate::inode::{Caller, Ino, Inode, MODE_MASK, MODE_SET_GID, SetAttributes, SetTime, Timestamp};
use crate::inode_table;
use crate::limits::FILE_BYTES_MAX;
use crate::op::access::{self, Permission};
use crate::op::size;
use crate::store::Txn;
use crate::work::Truncation;

/// The result of setting attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributesSet {
    /// The inode afterwards.
    pub inode: Inode,
    /// Extents that data servers must cut or drop before the reply is sent.
    pub truncated: Option<Truncation>,
}

/// Sets attributes. `by_write_open`: the request has a stateid of a write open, so the size may be
/// set whatever the mode. An empty set changes nothing.
///
/// # Errors
/// [`FsError::Stale`]; [`FsError::Invalid`], [`FsError::IsDirectory`], [`FsError::TooLarge`] for
/// invalid values; [`FsError::NotPermitted`] for changes that only the owner or the superuser may
/// make; [`FsError::AccessDenied`] for those that need write permission.
pub fn set_attributes(
    txn: &mut dyn Txn,
    caller: &Caller,
    ino: Ino,
    attributes: &SetAttributes,
    by_write_open: bool,
    now: Timestamp,
) -> Result<AttributesSet, FsError> {
    let mut inode = inode_table::inode(txn, ino)?;
    if *attributes == SetAttributes::default() {
        return Ok(AttributesSet { inode, truncated: None });
    }
    check(&inode, caller, attributes, by_write_open)?;

    inode.mode = new_mode(&inode, caller, attributes);
    inode.uid = attributes.uid.unwrap_or(inode.uid);
    inode.gid = attributes.gid.unwrap_or(inode.gid);
    let mut truncated = None;
    if let Some(size_bytes) = attributes.size_bytes {
        truncated = size::resize(txn, &mut inode, size_bytes)?;
        inode.mtime = now;
    }
    if let Some(atime) = attributes.atime {
        inode.atime = time(atime, now);
    }
    if let Some(mtime) = attributes.mtime {
        inode.mtime = time(mtime, now);
    }
    inode.changed(now);
    inode_table::put(txn, &inode)?;
    Ok(AttributesSet { inode, truncated })
}

/// Checks that the caller may set these attributes of an inode.
///
/// # Errors
/// As [`set_attributes`], without [`FsError::Stale`].
pub fn check(
    inode: &Inode,
    caller: &Caller,
    attributes: &SetAttributes,
    by_write_open: bool,
) -> Result<(), FsError> {
    check_values(inode, attributes)?;
    check_owner(inode, caller, attributes)?;
    check_size(inode, caller, attributes, by_write_open)?;
    check_times(inode, caller, attributes)
}

/// Checks values that are invalid for any caller.
fn check_values(inode: &Inode, attributes: &SetAttributes) -> Result<(), FsError> {
    if attributes.mode.is_some_and(|mode| mode & !MODE_MASK != 0) {
        return Err(FsError::Invalid);
    }
    for asked in [attributes.atime, attributes.mtime] {
        if let Some(SetTime::At(at)) = asked
            && at.nanos >= 1_000_000_000
        {
            return Err(FsError::Invalid);
        }
    }
    match attributes.size_bytes {
        None => Ok(()),
        Some(_) if inode.is_directory() => Err(FsError::IsDirectory),
        Some(_) if !inode.is_regular() => Err(FsError::Invalid),
        Some(size_bytes) if FILE_BYTES_MAX < size_bytes => Err(FsError::TooLarge),
        Some(_) => Ok(()),
    }
}

/// Mode, owner and group: the owner may change the mode and move the file between groups of his
/// own.
fn check_owner(inode: &Inode, caller: &Caller, attributes: &SetAttributes) -> Result<(), FsError> {
    let asks = attributes.mode.is_some() || attributes.uid.is_some() || attributes.gid.is_some();
    if !asks || caller.is_superuser() {
        return Ok(());
    }
    let keeps_uid = attributes.uid.is_none_or(|uid| uid == inode.uid);
    let own_gid = attributes.gid.is_none_or(|gid| gid == inode.gid || caller.in_group(gid));
    if caller.owns(inode) && keeps_uid && own_gid { Ok(()) } else { Err(FsError::NotPermitted) }
}

fn check_size(
    inode: &Inode,
    caller: &Caller,
    attributes: &SetAttributes,
    by_write_open: bool,
) -> Result<(), FsError> {
    if attributes.size_bytes.is_none() || by_write_open {
        return Ok(());
    }
    access::check(inode, caller, Permission::WRITE)
}

/// Times: the owner may set any. A caller with write permission, or one that sets the size, may set
/// both to now.
fn check_times(inode: &Inode, caller: &Caller, attributes: &SetAttributes) -> Result<(), FsError> {
    let asked = (attributes.atime, attributes.mtime);
    if asked == (None, None) || caller.owns(inode) {
        return Ok(());
    }
    let given = |time: Option<SetTime>| matches!(time, Some(SetTime::At(_)));
    if given(asked.0) || given(asked.1) {
        return Err(FsError::NotPermitted);
    }
    if attributes.size_bytes.is_some() {
        return Ok(());
    }
    match asked {
        (Some(_), Some(_)) => access::check(inode, caller, Permission::WRITE),
        (Some(_), None) | (None, _) => Err(FsError::NotPermitted),
    }
}

/// The mode after all changes.
fn new_mode(inode: &Inode, caller: &Caller, attributes: &SetAttributes) -> u32 {
    let mut after = inode.clone();
    after.mode = attributes.mode.unwrap_or(inode.mode);
    let gid = attributes.gid.unwrap_or(inode.gid);
    let foreign_group = !caller.is_superuser() && !caller.in_group(gid);
    if attributes.mode.is_some() && foreign_group {
        after.mode &= !MODE_SET_GID;
    }
    let changes_owner = attributes.uid.is_some() || attributes.gid.is_some();
    if changes_owner && !inode.is_directory() {
        // As on Linux, for the superuser, too.
        after.drop_set_id();
        if foreign_group {
            after.mode &= !MODE_SET_GID;
        }
    }
    if attributes.size_bytes.is_some() && attributes.mode.is_none() && !caller.is_superuser() {
        after.drop_set_id();
    }
    assert!(after.mode & !MODE_MASK == 0);
    after.mode
}

fn time(asked: SetTime, now: Timestamp) -> Timestamp {
    match asked {
        SetTime::Now => now,
        SetTime::At(at) => at,
    }
}
