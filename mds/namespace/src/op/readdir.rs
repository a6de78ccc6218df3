//! READDIR: a directory's entries in the order of their cookies, a page at a time.
//!
//! `.` and `..` are not entries. A page may start behind any cookie, also one of a removed entry.
//!
//! Spec: RFC 8881 §18.23.

use std::ops::ControlFlow;

use crate::FsError;
use crate::directory;
use crate::inode::{Caller, FileType, Ino, Inode};
use crate::inode_table;
use crate::limits::LIST_ENTRIES_MAX;
use crate::op::access::{self, Permission};
use crate::op::lookup::entry_inode;
use crate::store::View;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The next page starts behind this; never 0, 1 or 2.
    pub cookie: u64,
    /// The object.
    pub ino: Ino,
    /// Its kind.
    pub file_type: FileType,
    /// The name.
    pub name: Vec<u8>,
}

/// The size limit of a page. A page has at least one entry, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// Most entries; `limits::LIST_ENTRIES_MAX` bounds it further.
    pub entries_max: usize,
    /// Most bytes, counting each entry as its name and `entry_overhead_bytes`.
    pub bytes_max: usize,
    /// Bytes an entry takes besides its name: cookie, attributes and encoding overhead.
    pub entry_overhead_bytes: usize,
}

/// A page of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<E> {
    /// The entries, by ascending cookie.
    pub entries: Vec<E>,
    /// No further entries.
    pub end: bool,
}

/// Lists the entries behind cookie `after` (0: from the first).
///
/// # Errors
/// [`FsError::Stale`], [`FsError::NotDirectory`], [`FsError::AccessDenied`] without read
/// permission.
pub fn readdir(
    view: &dyn View,
    caller: &Caller,
    directory: Ino,
    after: u64,
    limit: &PageLimit,
) -> Result<Page<Entry>, FsError> {
    let inode = inode_table::directory(view, directory)?;
    access::check(&inode, caller, Permission::READ)?;
    let entries_max = limit.entries_max.clamp(1, LIST_ENTRIES_MAX);
    let mut page = Page { entries: Vec::new(), end: true };
    let mut bytes = 0_usize;
    let mut failed = None;
    directory::scan(view, directory, after.saturating_add(1), u64::MAX, &mut |cookie, entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        };
        bytes = bytes.saturating_add(entry.name.len()).saturating_add(limit.entry_overhead_bytes);
        let full = page.entries.len() == entries_max || limit.bytes_max < bytes;
        if full && !page.entries.is_empty() {
            page.end = false;
            return ControlFlow::Break(());
        }
        let name = entry.name.to_vec();
        page.entries.push(Entry { cookie, ino: entry.ino, file_type: entry.file_type, name });
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    assert!(page.entries.len() <= entries_max, "a page keeps within its limit");
    assert!(page.end || !page.entries.is_empty(), "a page that is not the last has an entry");
    debug_assert!(page.entries.is_sorted_by(|one, next| one.cookie < next.cookie), "cookies go up");
    debug_assert!(page.entries.iter().all(|entry| after < entry.cookie), "no entry comes twice");
    Ok(page)
}

/// As [`readdir`], with the inode of each entry.
///
/// # Errors
/// As [`readdir`].
pub fn readdir_with_inodes(
    view: &dyn View,
    caller: &Caller,
    directory: Ino,
    after: u64,
    limit: &PageLimit,
) -> Result<Page<(Entry, Inode)>, FsError> {
    let page = readdir(view, caller, directory, after, limit)?;
    let mut entries = Vec::with_capacity(page.entries.len());
    for entry in page.entries {
        let inode = entry_inode(view, entry.ino)?;
        entries.push((entry, inode));
    }
    Ok(Page { entries, end: page.end })
}
