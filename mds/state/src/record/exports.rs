//! The cluster's exports: a list in shard 0, and an id for each path, which filehandles carry.
//!
//! INVARIANT: an id is assigned once: its path has it for as long as the cluster lives, exported or
//! not, and no other path ever gets it.
//! Spec: docs/formats/state.md.

use std::collections::BTreeSet;

use mds_namespace::FsError;
use serde::{Deserialize, Serialize};

use super::value::{Value, bad_value, bad_version, read_postcard, write_postcard};
use crate::export::before::ExportBefore;
use crate::export::{self, Export};
use crate::limits::{EXPORTS_REMOVED_BYTES_MAX, EXPORTS_REMOVED_MAX};

/// The cluster's exports. The default is the initial list: version 0, without exports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportList {
    /// How often it was changed; 1 is the first list.
    pub version: u64,
    /// The next id: all lower ones were assigned.
    next: u16,
    /// The exports with their ids, in the order in which they were listed.
    pub exports: Vec<(u16, Export)>,
    /// Ids and paths that are no longer exported, in the order of their removal.
    removed: Vec<(u16, String)>,
}

impl ExportList {
    /// The next list, with exactly these exports: a path that was exported before gets its former
    /// id. The caller has [checked](export::check) them. `None` if ids have run out.
    #[must_use]
    pub fn replaced_by(&self, exports: &[Export]) -> Option<Self> {
        let Self { version, mut next, exports: before, mut removed } = self.clone();
        let mut after = Vec::with_capacity(exports.len());
        for export in exports {
            let listed = before.iter().find(|(_, one)| one.path == export.path).map(|(id, _)| *id);
            let id = match (listed, removed.iter().position(|(_, path)| *path == export.path)) {
                (Some(id), _) => id,
                (None, Some(at)) => removed.remove(at).0,
                (None, None) => {
                    // The highest number means the tree above all exports.
                    let following = next.checked_add(1)?;
                    std::mem::replace(&mut next, following)
                }
            };
            after.push((id, export.clone()));
        }
        let kept: BTreeSet<u16> = after.iter().map(|(id, _)| *id).collect();
        let gone = before.into_iter().filter(|(id, _)| !kept.contains(id));
        removed.extend(gone.map(|(id, export)| (id, export.path)));
        forget_oldest(&mut removed);
        let list = Self { version: version.checked_add(1)?, next, exports: after, removed };
        assert!(self.next <= list.next, "ids are not given out again");
        assert!(list.lists(exports), "the list has the exports that replace it");
        Some(list)
    }

    /// Whether these are the exports, in this order.
    #[must_use]
    pub fn lists(&self, exports: &[Export]) -> bool {
        self.exports.iter().map(|(_, export)| export).eq(exports)
    }

    /// Ids of exports that `next` does not have, or that allow less there.
    #[must_use]
    pub fn restricted_by(&self, next: &Self) -> Vec<u16> {
        let is_restricted = |(id, export): &&(u16, Export)| {
            let same = next.exports.iter().find(|(one, _)| one == id);
            same.is_none_or(|(_, after)| export.restricts(after))
        };
        self.exports.iter().filter(is_restricted).map(|(id, _)| *id).collect()
    }

    fn is_sound(&self) -> bool {
        let listed = self.exports.iter().map(|(id, export)| (*id, &export.path));
        let all = listed.chain(self.removed.iter().map(|(id, path)| (*id, path)));
        let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
        export::check(self.exports.iter().map(|(_, export)| export)).is_ok()
            && all.into_iter().all(|(id, path)| id < self.next && ids.insert(id) && paths.insert(path))
    }
}

/// The id of a forgotten path is gone for good: if the path is exported again it gets another one.
fn forget_oldest(removed: &mut Vec<(u16, String)>) {
    let mut bytes: usize = removed.iter().map(|(_, path)| path.len()).sum();
    let mut forgotten = 0;
    for (_, path) in &*removed {
        if removed.len() - forgotten <= EXPORTS_REMOVED_MAX && bytes <= EXPORTS_REMOVED_BYTES_MAX {
            break;
        }
        bytes -= path.len();
        forgotten += 1;
    }
    removed.drain(..forgotten);
    assert!(removed.len() <= EXPORTS_REMOVED_MAX, "a bounded number of paths keep their ids");
    assert!(bytes <= EXPORTS_REMOVED_BYTES_MAX, "so does a bounded number of bytes");
}

/// The list in version 1 of its record: its exports lack `secure`.
#[derive(Deserialize)]
struct ListBefore {
    version: u64,
    next: u16,
    exports: Vec<(u16, ExportBefore)>,
    removed: Vec<(u16, String)>,
}

/// Whether a record is older than `secure`: then its exports have it on without an administrator's
/// choice.
#[must_use]
pub fn is_before_secure(record: &[u8]) -> bool {
    record.first() == Some(&VERSION_BEFORE)
}

const VERSION_BEFORE: u8 = 1;

impl Value for ExportList {
    /// Version 1 had no `secure`.
    const VERSION: u8 = 2;

    fn decode(bytes: &[u8]) -> Result<Self, FsError> {
        match bytes.split_first() {
            Some((&VERSION_BEFORE, rest)) => {
                let ListBefore { version, next, exports, removed } =
                    read_postcard(rest).ok_or_else(bad_value::<Self>)?;
                let exports = exports.into_iter().map(|(id, export)| (id, export.into())).collect();
                let list = Self { version, next, exports, removed };
                Some(list).filter(Self::is_sound).ok_or_else(bad_value::<Self>)
            }
            Some((&version, rest)) if version == Self::VERSION => {
                Self::read(rest).ok_or_else(bad_value::<Self>)
            }
            version => Err(bad_version::<Self>(version.map(|(first, _)| *first))),
        }
    }

    fn write(&self, bytes: Vec<u8>) -> Vec<u8> {
        write_postcard(self, bytes)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        read_postcard(bytes).filter(Self::is_sound)
    }
}

#[cfg(test)]
mod tests;
