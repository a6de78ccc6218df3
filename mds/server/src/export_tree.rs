//! Walking between exports: what a step down or up does to the export in a handle, and where the root is.
//!
//! Where `/` is exported and nothing else, every step stays in that export and costs nothing. Otherwise the paths of
//! the exports are looked up in the namespace; they are few and short.
//!
//! Spec: RFC 8881 §7.3.

use mds_namespace::{Caller, Inode, ROOT_INO};
use mds_shard::StateView;
use wire_nfs::v4::Nfsstat4;

use crate::export::Exports;
use crate::handle::{ExportId, FileHandle};
use crate::server::Server;
use crate::status;

/// The handle PUTROOTFH gives.
///
/// # Errors
/// The store's.
pub(crate) fn root(server: &Server, view: &StateView) -> Result<FileHandle, Nfsstat4> {
    let export = server.exports().at_path(&[]).unwrap_or(ExportId::PSEUDO);
    let inode = view.inode(ROOT_INO).map_err(|e| status::of_refusal(&e))?;
    Ok(FileHandle { export, generation: inode.generation, ino: inode.ino })
}

/// The handle of a child. In the pseudo tree only names that lead to an export are there.
///
/// # Errors
/// NOENT for a name of the pseudo tree that leads nowhere, and the store's.
pub(crate) fn step_down(
    server: &Server,
    view: &StateView,
    directory: FileHandle,
    child: &Inode,
) -> Result<FileHandle, Nfsstat4> {
    let at = |export| FileHandle { export, generation: child.generation, ino: child.ino };
    let exports = server.exports();
    if only_root(&exports) {
        return Ok(at(directory.export));
    }
    let places = places(&exports, view);
    if let Some(place) = places.iter().find(|place| place.ino == child.ino && place.export.is_some()) {
        return Ok(at(place.export.expect("found by having one")));
    }
    if directory.export == ExportId::PSEUDO && !places.iter().any(|place| place.ino == child.ino) {
        return Err(Nfsstat4::Noent);
    }
    Ok(at(directory.export))
}

/// The handle of the directory above.
///
/// # Errors
/// NOENT above the root, STALE if the directory above is gone.
pub(crate) fn step_up(
    server: &Server,
    view: &StateView,
    directory: FileHandle,
    inode: &Inode,
) -> Result<FileHandle, Nfsstat4> {
    if inode.ino == ROOT_INO {
        return Err(Nfsstat4::Noent);
    }
    let parent = view.inode(inode.parent).map_err(|e| status::of_refusal(&e))?;
    let at = |export| FileHandle { export, generation: parent.generation, ino: parent.ino };
    let exports = server.exports();
    if only_root(&exports) {
        return Ok(at(directory.export));
    }
    let places = places(&exports, view);
    let leaves = places.iter().any(|place| place.ino == inode.ino && place.export == Some(directory.export));
    if !leaves && directory.export != ExportId::PSEUDO {
        return Ok(at(directory.export));
    }
    // Above an export lies another one that contains it, or the pseudo tree.
    let mut ino = parent.ino;
    loop {
        if let Some(export) = places.iter().find(|place| place.ino == ino).and_then(|place| place.export) {
            return Ok(at(export));
        }
        if ino == ROOT_INO {
            return Ok(at(ExportId::PSEUDO));
        }
        ino = view.inode(ino).map_err(|e| status::of_refusal(&e))?.parent;
    }
}

/// True if a READDIR of this directory may show the entry.
pub(crate) fn visible(server: &Server, view: &StateView, directory: FileHandle) -> Visible {
    let exports = server.exports();
    if directory.export != ExportId::PSEUDO || only_root(&exports) {
        return Visible::All;
    }
    Visible::Only(places(&exports, view).into_iter().map(|place| place.ino).collect())
}

/// Which entries of a directory a client sees.
pub(crate) enum Visible {
    /// All of them.
    All,
    /// These inodes only.
    Only(Vec<u64>),
}

impl Visible {
    /// True if the entry is seen.
    pub(crate) fn shows(&self, ino: u64) -> bool {
        match self {
            Self::All => true,
            Self::Only(inos) => inos.contains(&ino),
        }
    }
}

fn only_root(exports: &Exports) -> bool {
    let mut all = exports.iter();
    all.next().is_some_and(|(_, export)| export.path == "/") && all.next().is_none()
}

/// A directory on the way to an export, or an export's own (`export` is set).
struct Place {
    ino: u64,
    export: Option<ExportId>,
}

/// Directories that the exports' paths pass, as they are now; a path that does not exist leads nowhere.
fn places(exports: &Exports, view: &StateView) -> Vec<Place> {
    let root = Caller::default();
    let mut places = Vec::new();
    for (id, export) in exports.iter() {
        let mut ino = ROOT_INO;
        let mut components = export.components().peekable();
        if components.peek().is_none() {
            places.push(Place { ino, export: Some(id) });
            continue;
        }
        places.push(Place { ino, export: None });
        while let Some(name) = components.next() {
            let Ok(inode) = mds_namespace::op::lookup::lookup(view.namespace(), &root, ino, name.as_bytes())
            else {
                break;
            };
            ino = inode.ino;
            places.push(Place { ino, export: components.peek().is_none().then_some(id) });
        }
    }
    places
}
