//! CREATE, and the creating half of OPEN: a new object and its name.
//!
//! Spec: RFC 8881 §18.4, §18.16; POSIX.1-2024 `open`, `mkdir`, `mknod`, `symlink`.

use crate::FsError;
use crate::directory;
use crate::inode::{
    Caller, Content, DirectoryChange, Ino, Inode, Kind, MODE_MASK, MODE_SET_GID, MODE_STICKY, Named,
    SetAttributes, SetTime, Timestamp,
};
use crate::inode_table;
use crate::keys;
use crate::limits::{FILE_BYTES_MAX, SYMLINK_BYTES_MAX};
use crate::name;
use crate::op::access::{self, Permission};
use crate::store::Txn;
use crate::superblock;

/// The object to create.
#[derive(Clone, Copy, Debug)]
pub struct NewObject<'a> {
    /// Kind of object.
    pub kind: Kind,
    /// Target of a symlink; empty for everything else.
    pub symlink_target: &'a [u8],
    /// First attributes. Without a mode only the owner gets access; without owner and group they
    /// follow the caller and the directory.
    pub attributes: &'a SetAttributes,
    /// Verifier of an exclusive create (see `op::exclusive`).
    pub verifier: Option<[u8; 8]>,
}

/// Creates an object under `name`.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::NotDirectory`], the errors of a bad name,
/// [`FsError::AccessDenied`], [`FsError::Exists`], [`FsError::NotPermitted`] for a device or an
/// owner the caller may not make, [`FsError::TooManyLinks`], [`FsError::NameTooLong`],
/// [`FsError::Invalid`], [`FsError::TooLarge`], [`FsError::NoSpace`].
pub fn create(
    txn: &mut dyn Txn,
    caller: &Caller,
    directory: Ino,
    name: &[u8],
    new: &NewObject<'_>,
    now: Timestamp,
) -> Result<Named, FsError> {
    let mut parent = inode_table::directory(txn, directory)?;
    name::check(name)?;
    access::check(&parent, caller, Permission::EXECUTE)?;
    if directory::find(txn, directory, name)?.is_some() {
        return Err(FsError::Exists);
    }
    access::check(&parent, caller, Permission::WRITE)?;
    check_object(caller, new)?;
    let mut inode = first_inode(caller, &parent, new, now)?;
    if inode.is_directory() && parent.nlink == u32::MAX {
        return Err(FsError::TooManyLinks);
    }
    // The number is read before the last check and taken behind it: a refused command leaves the
    // counters unchanged.
    let peek = superblock::counters(txn)?.next_inode;
    directory::insert(txn, directory, &directory::entry(peek, inode.kind.file_type(), name))?;
    inode.ino = superblock::next_ino(txn)?;
    assert!(inode.ino == peek, "the entry names the inode");
    inode_table::put(txn, &inode)?;
    if inode.kind == Kind::Symlink {
        txn.put(&keys::symlink(inode.ino), new.symlink_target)?;
    }
    if let Some(verifier) = new.verifier {
        txn.put(&keys::exclusive(inode.ino), &verifier)?;
    }
    let before = parent.change;
    parent.size_bytes += 1;
    parent.nlink += u32::from(inode.is_directory());
    parent.modified(now);
    inode_table::put(txn, &parent)?;
    Ok(Named { inode, directory: DirectoryChange::between(before, parent.change) })
}

/// Checks what does not depend on the directory.
fn check_object(caller: &Caller, new: &NewObject<'_>) -> Result<(), FsError> {
    match new.kind {
        Kind::Symlink => {
            if new.symlink_target.is_empty() || new.symlink_target.contains(&0) {
                return Err(FsError::Invalid);
            }
            if new.symlink_target.len() > SYMLINK_BYTES_MAX {
                return Err(FsError::NameTooLong);
            }
        }
        Kind::Block { .. } | Kind::Character { .. } if !caller.is_superuser() => {
            return Err(FsError::NotPermitted);
        }
        Kind::Regular
        | Kind::Directory
        | Kind::Block { .. }
        | Kind::Character { .. }
        | Kind::Fifo
        | Kind::Socket => {}
    }
    let attributes = new.attributes;
    if attributes.mode.is_some_and(|mode| mode & !MODE_MASK != 0) {
        return Err(FsError::Invalid);
    }
    match attributes.size_bytes {
        Some(size_bytes) if FILE_BYTES_MAX < size_bytes => Err(FsError::TooLarge),
        Some(size_bytes) if size_bytes != 0 && new.kind != Kind::Regular => Err(FsError::Invalid),
        Some(_) | None => Ok(()),
    }
}

/// The new inode, still without its number.
fn first_inode(
    caller: &Caller,
    parent: &Inode,
    new: &NewObject<'_>,
    now: Timestamp,
) -> Result<Inode, FsError> {
    let attributes = new.attributes;
    let inherits = parent.mode & MODE_SET_GID != 0;
    let uid = attributes.uid.unwrap_or(caller.uid);
    let gid = attributes.gid.unwrap_or(if inherits { parent.gid } else { caller.gid });
    let foreign_gid =
        attributes.gid.is_some_and(|gid| !(caller.in_group(gid) || inherits && gid == parent.gid));
    if !caller.is_superuser() && (uid != caller.uid || foreign_gid) {
        return Err(FsError::NotPermitted);
    }
    let (size_bytes, parent_ino) = match new.kind {
        Kind::Regular => (attributes.size_bytes.unwrap_or(0), 0),
        Kind::Symlink => (new.symlink_target.len() as u64, 0),
        Kind::Directory => (0, parent.ino),
        Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => (0, 0),
    };
    let mode = first_mode(caller, gid, inherits, new);
    assert!(mode & !MODE_MASK == 0, "a mode was checked before");
    assert!(parent_ino != 0 || new.kind != Kind::Directory, "a directory has a parent");
    Ok(Inode {
        ino: 0,
        generation: 1,
        kind: new.kind,
        mode,
        nlink: if new.kind == Kind::Directory { 2 } else { 1 },
        uid,
        gid,
        size_bytes,
        used_bytes: 0,
        change: 1,
        atime: first_time(attributes.atime, now)?,
        mtime: first_time(attributes.mtime, now)?,
        ctime: now,
        parent: parent_ino,
        content: Content::Inline,
    })
}

fn first_mode(caller: &Caller, gid: u32, inherits: bool, new: &NewObject<'_>) -> u32 {
    match new.kind {
        Kind::Symlink => 0o777,
        Kind::Directory => {
            // mkdir takes no set-id bits; set-group-id is inherited from the parent directory.
            let mode = new.attributes.mode.unwrap_or(0o700) & (0o777 | MODE_STICKY);
            if inherits { mode | MODE_SET_GID } else { mode }
        }
        Kind::Regular | Kind::Block { .. } | Kind::Character { .. } | Kind::Fifo | Kind::Socket => {
            let mode = new.attributes.mode.unwrap_or(0o600);
            let may_set_gid = caller.is_superuser() || caller.in_group(gid);
            if may_set_gid { mode } else { mode & !MODE_SET_GID }
        }
    }
}

fn first_time(asked: Option<SetTime>, now: Timestamp) -> Result<Timestamp, FsError> {
    match asked {
        Some(SetTime::At(at)) if at.nanos >= 1_000_000_000 => Err(FsError::Invalid),
        Some(SetTime::At(at)) => Ok(at),
        Some(SetTime::Now) | None => Ok(now),
    }
}
