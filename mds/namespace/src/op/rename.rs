//! RENAME: a name moves, over an existing one if there is one.
//!
//! The order of the checks is that of a local Linux file system: names, loops, permissions, kinds,
//! emptiness.
//!
//! Spec: RFC 8881 §18.26; POSIX.1-2024 `rename`.

use crate::FsError;
use crate::directory::{self, Found};
use crate::inode::{Caller, DirectoryChange, Ino, Inode, ROOT_INO, Timestamp};
use crate::inode_table;
use crate::limits::DEPTH_MAX;
use crate::name;
use crate::op::access::{self, Permission};
use crate::op::lookup::entry_inode;
use crate::op::remove::drop_name;
use crate::store::{Txn, View};

/// Directory and name of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Directory.
    pub directory: Ino,
    /// Name in it.
    pub name: &'a [u8],
}

/// The result of a rename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Old directory's change counter.
    pub from: DirectoryChange,
    /// New directory's change counter.
    pub to: DirectoryChange,
    /// The object that moved, afterwards.
    pub moved: Inode,
    /// The object that lost the new name, afterwards. With `nlink` 0 a regular file is an orphan
    /// now: call `op::reap::reap` as soon as no client has it open.
    pub replaced: Option<Inode>,
}

/// Everything a rename reads before it writes.
struct Plan {
    from: Inode,
    to: Inode,
    source_cookie: u64,
    source: Inode,
    target: Option<(u64, Inode)>,
}

/// Moves a name.
///
/// # Errors
/// [`FsError::Stale`], [`FsError::NotDirectory`], the errors of a bad name,
/// [`FsError::AccessDenied`], [`FsError::NotFound`], [`FsError::Invalid`] for a directory into
/// itself, [`FsError::NotPermitted`] in a sticky directory, [`FsError::IsDirectory`],
/// [`FsError::NotEmpty`], [`FsError::TooManyLinks`], [`FsError::NoSpace`].
pub fn rename(
    txn: &mut dyn Txn,
    caller: &Caller,
    from: Place<'_>,
    to: Place<'_>,
    now: Timestamp,
) -> Result<Renamed, FsError> {
    let plan = read(txn, caller, from, to)?;
    let same_object = plan.target.as_ref().is_some_and(|(_, target)| target.ino == plan.source.ino);
    if same_object {
        // POSIX: renaming one of two names of a file to the other does nothing, and succeeds.
        let still = |inode: &Inode| DirectoryChange::between(inode.change, inode.change);
        return Ok(Renamed {
            from: still(&plan.from),
            to: still(&plan.to),
            moved: plan.source,
            replaced: None,
        });
    }
    check(caller, &plan)?;
    write(txn, plan, from, to, now)
}

fn read(view: &dyn View, caller: &Caller, from: Place<'_>, to: Place<'_>) -> Result<Plan, FsError> {
    let from_directory = inode_table::directory(view, from.directory)?;
    let to_directory = inode_table::directory(view, to.directory)?;
    name::check(from.name)?;
    name::check(to.name)?;
    access::check(&from_directory, caller, Permission::EXECUTE)?;
    access::check(&to_directory, caller, Permission::EXECUTE)?;
    let Found { cookie: source_cookie, ino } =
        directory::find(view, from.directory, from.name)?.ok_or(FsError::NotFound)?;
    let source = entry_inode(view, ino)?;
    let target = match directory::find(view, to.directory, to.name)? {
        Some(found) => Some((found.cookie, entry_inode(view, found.ino)?)),
        None => None,
    };
    if from.directory != to.directory {
        let to = (to_directory.ino, to_directory.parent);
        if source.is_directory() && is_within(view, to, source.ino)? {
            return Err(FsError::Invalid);
        }
        // A directory above the old name cannot be replaced: it contains the object to move.
        if let Some((_, target)) = &target
            && target.is_directory()
            && is_within(view, (from_directory.ino, from_directory.parent), target.ino)?
        {
            return Err(FsError::NotEmpty);
        }
    }
    Ok(Plan { from: from_directory, to: to_directory, source_cookie, source, target })
}

/// Whether a directory is `ancestor` or below it, by its number and its parent's.
///
/// # Errors
/// [`FsError::Busy`] if the path to the root leaves this store: a rename planned within one store
/// is an act on several by now (docs/protocol/shards.md §3), and must be planned again.
/// [`FsError::TooManyLinks`] if the path is too long to walk.
fn is_within(view: &dyn View, directory: (Ino, Ino), ancestor: Ino) -> Result<bool, FsError> {
    let (mut ino, mut parent) = directory;
    for _ in 0..DEPTH_MAX {
        if ino == ancestor {
            return Ok(true);
        }
        if ino == ROOT_INO {
            return Ok(false);
        }
        let above = match inode_table::inode(view, parent) {
            Err(FsError::Stale) => return Err(FsError::Busy),
            above => above?,
        };
        (ino, parent) = (above.ino, above.parent);
    }
    Err(FsError::TooManyLinks)
}

/// Permissions, kinds and emptiness.
fn check(caller: &Caller, plan: &Plan) -> Result<(), FsError> {
    let Plan { from, to, source, target, .. } = plan;
    let moves = from.ino != to.ino;
    access::check_delete(from, source, caller)?;
    match target {
        None => access::check(to, caller, Permission::WRITE | Permission::EXECUTE)?,
        Some((_, target)) => {
            access::check_delete(to, target, caller)?;
            match (source.is_directory(), target.is_directory()) {
                (true, false) => return Err(FsError::NotDirectory),
                (false, true) => return Err(FsError::IsDirectory),
                (true, true) | (false, false) => {}
            }
        }
    }
    // A directory that changes its parent changes its own `..`.
    if source.is_directory() && moves {
        access::check(source, caller, Permission::WRITE)?;
    }
    if target.as_ref().is_some_and(|(_, target)| target.is_directory() && target.size_bytes != 0) {
        return Err(FsError::NotEmpty);
    }
    if source.is_directory() && moves && target.is_none() && to.nlink == u32::MAX {
        return Err(FsError::TooManyLinks);
    }
    Ok(())
}

fn write(
    txn: &mut dyn Txn,
    plan: Plan,
    from: Place<'_>,
    to: Place<'_>,
    now: Timestamp,
) -> Result<Renamed, FsError> {
    let Plan { from: mut old_parent, to: mut new_parent, source_cookie, mut source, target } = plan;
    let moves = old_parent.ino != new_parent.ino;
    let is_itself = target.as_ref().is_some_and(|(_, target)| target.ino == source.ino);
    assert!(!is_itself, "an object that is renamed to another of its names stays as it is");
    let before = (old_parent.change, new_parent.change);
    let entries_before = old_parent.size_bytes + u64::from(moves) * new_parent.size_bytes;
    let entry = directory::entry(source.ino, source.kind.file_type(), to.name);
    match &target {
        // From here on nothing can be refused.
        None => directory::insert(txn, to.directory, &entry)?,
        Some((cookie, _)) => directory::replace(txn, to.directory, *cookie, &entry)?,
    }
    directory::remove(txn, from.directory, source_cookie)?;

    let is_directory = u32::from(source.is_directory());
    let replaced_directory = u32::from(target.as_ref().is_some_and(|(_, target)| target.is_directory()));
    let replaced = match target {
        Some((_, mut target)) => {
            drop_name(txn, &mut target, now)?;
            Some(target)
        }
        None => None,
    };
    source.changed(now);
    if source.is_directory() {
        source.parent = new_parent.ino;
    }
    inode_table::put(txn, &source)?;
    let gained = u64::from(replaced.is_none());
    if moves {
        old_parent.size_bytes -= 1;
        old_parent.nlink -= is_directory;
        old_parent.modified(now);
        inode_table::put(txn, &old_parent)?;
        new_parent.size_bytes += gained;
        new_parent.nlink = new_parent.nlink + is_directory - replaced_directory;
    } else {
        new_parent.size_bytes = new_parent.size_bytes + gained - 1;
        new_parent.nlink -= replaced_directory;
    }
    let entries = new_parent.size_bytes + u64::from(moves) * old_parent.size_bytes;
    debug_assert_eq!(entries + 1 - gained, entries_before, "one entry goes if one is replaced");
    new_parent.modified(now);
    inode_table::put(txn, &new_parent)?;
    let to_change = DirectoryChange::between(before.1, new_parent.change);
    let from_change = match moves {
        true => DirectoryChange::between(before.0, old_parent.change),
        false => to_change,
    };
    Ok(Renamed { from: from_change, to: to_change, moved: source, replaced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::format::{Root, format};
    use crate::store::mem::MemStore;
    use crate::{MetaStore, Superblock};

    /// A cycle stands for a tree that is too deep to build here.
    #[test]
    fn a_path_too_long_to_walk_is_refused() {
        let store = MemStore::new();
        let mut txn = store.begin().unwrap();
        let keys = Superblock { file_system: [1; 16], handle_key: [2; 32], cookie_key: [3; 32] };
        let root = Root { uid: 0, gid: 0, mode: 0o777 };
        format(&mut *txn, &keys, root, Timestamp::default()).unwrap();
        let root = inode_table::inode(&*txn, ROOT_INO).unwrap();
        for (ino, parent) in [(2, 3), (3, 2), (4, ROOT_INO)] {
            inode_table::put(&mut *txn, &Inode { ino, parent, ..root.clone() }).unwrap();
        }
        let within = |ino, ancestor| {
            let parent = inode_table::inode(&*txn, ino).unwrap().parent;
            is_within(&*txn, (ino, parent), ancestor)
        };
        assert_eq!(within(2, 4), Err(FsError::TooManyLinks));
        assert_eq!((within(2, 3), within(4, 2)), (Ok(true), Ok(false)));
    }
}
