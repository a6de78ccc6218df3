//! Permissions: mode bits, sticky directories, and the checks of ACCESS and OPEN.
//!
//! The first class that fits decides: the group's bits do not help the owner, nor the others' bits
//! a member of the group. The superuser may read and write everything, and execute what any user
//! may.
//!
//! Spec: POSIX.1-2024 XBD §4.7; RFC 8881 §18.1, §18.16.

use std::ops::BitOr;

use crate::FsError;
use crate::inode::{Caller, Inode, Kind, MODE_STICKY};

/// A set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission(u32);

impl Permission {
    /// Execute a file, search a directory.
    pub const EXECUTE: Self = Self(1);
    /// Write a file, change a directory's entries.
    pub const WRITE: Self = Self(2);
    /// Read a file, list a directory.
    pub const READ: Self = Self(4);
}

impl BitOr for Permission {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A set of ACCESS4 bits, numbered as in RFC 8881 §18.1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access(pub u32);

impl Access {
    /// Read data, or list a directory.
    pub const READ: u32 = 0x01;
    /// Look up a name in a directory.
    pub const LOOKUP: u32 = 0x02;
    /// Rewrite data, or change entries.
    pub const MODIFY: u32 = 0x04;
    /// Write new data, or add entries.
    pub const EXTEND: u32 = 0x08;
    /// Remove an entry.
    pub const DELETE: u32 = 0x10;
    /// Execute a file.
    pub const EXECUTE: u32 = 0x20;
}

/// Checks the mode bits.
///
/// # Errors
/// [`FsError::AccessDenied`] if any of the permissions is missing.
pub fn check(inode: &Inode, caller: &Caller, want: Permission) -> Result<(), FsError> {
    if allows(inode, caller, want) { Ok(()) } else { Err(FsError::AccessDenied) }
}

/// Whether the mode bits give the caller all of `want`.
#[must_use]
pub fn allows(inode: &Inode, caller: &Caller, want: Permission) -> bool {
    if caller.is_superuser() {
        let executable = inode.is_directory() || inode.mode & 0o111 != 0;
        return want.0 & Permission::EXECUTE.0 == 0 || executable;
    }
    let class_bits = if caller.uid == inode.uid {
        inode.mode >> 6
    } else if caller.in_group(inode.gid) {
        inode.mode >> 3
    } else {
        inode.mode
    };
    class_bits & want.0 == want.0
}

/// The ACCESS bits a caller has on an object. Bits without a meaning for its kind are not set.
#[must_use]
pub fn granted(inode: &Inode, caller: &Caller) -> Access {
    let mut bits = 0;
    if allows(inode, caller, Permission::READ) {
        bits |= Access::READ;
    }
    if allows(inode, caller, Permission::WRITE) {
        bits |= Access::MODIFY | Access::EXTEND;
        if inode.is_directory() {
            bits |= Access::DELETE;
        }
    }
    if allows(inode, caller, Permission::EXECUTE) {
        bits |= if inode.is_directory() { Access::LOOKUP } else { Access::EXECUTE };
    }
    Access(bits)
}

/// Checks whether an existing object may be opened.
///
/// # Errors
/// [`FsError::IsDirectory`], [`FsError::SymlinkInPath`], [`FsError::WrongKind`] for anything but a
/// regular file; [`FsError::AccessDenied`].
pub fn check_open(inode: &Inode, caller: &Caller, read: bool, write: bool) -> Result<(), FsError> {
    match inode.kind {
        Kind::Regular => {}
        Kind::Directory => return Err(FsError::IsDirectory),
        Kind::Symlink => return Err(FsError::SymlinkInPath),
        Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => {
            return Err(FsError::WrongKind);
        }
    }
    if write {
        check(inode, caller, Permission::WRITE)?;
    }
    // QUIRK(linux): to execute a file the client opens it for reading; it checks by ACCESS which of
    // the two is allowed.
    if read && !allows(inode, caller, Permission::EXECUTE) {
        check(inode, caller, Permission::READ)?;
    }
    Ok(())
}

/// Checks whether `victim` may be removed from `directory`: write and search, and ownership where
/// the directory is sticky.
///
/// # Errors
/// [`FsError::AccessDenied`], [`FsError::NotPermitted`].
pub(crate) fn check_delete(directory: &Inode, victim: &Inode, caller: &Caller) -> Result<(), FsError> {
    check(directory, caller, Permission::WRITE | Permission::EXECUTE)?;
    if directory.mode & MODE_STICKY != 0 && !caller.owns(victim) && !caller.owns(directory) {
        return Err(FsError::NotPermitted);
    }
    Ok(())
}
