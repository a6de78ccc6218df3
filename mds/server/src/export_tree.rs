//! Steps between exports: how LOOKUP and LOOKUPP change the export in a handle, and where the root
//! is.
//!
//! If `/` is the only export, every step stays in it and costs nothing. Otherwise the paths of the
//! exports are looked up in the namespace; they are few and short.
//!
//! Spec: RFC 8881 §7.3.

use std::net::SocketAddr;

use mds_namespace::{Caller, Ino, Inode, ROOT_INO, op};
use mds_state::StateView;
use wire_nfs::v4::Nfsstat4;

use crate::export::{Export, Exports};
use crate::handle::{ExportId, FileHandle};
use crate::status;

/// The handle of PUTROOTFH: that of the export of `/`, or of the pseudo tree for a client that may
/// use only other exports.
///
/// # Errors
/// The store's.
pub(crate) fn root(exports: &Exports, view: &StateView, peer: SocketAddr) -> Result<FileHandle, Nfsstat4> {
    let of_root = exports.at_path(&[]);
    let may_use_another = exports.iter().any(|(_, export)| may_use(export, peer));
    let export = of_root.filter(|id| admits(exports, *id, peer) || !may_use_another);
    let inode = view.inode(ROOT_INO).map_err(|e| status::of_refusal(&e))?;
    let export = export.unwrap_or(ExportId::PSEUDO);
    Ok(FileHandle { export, generation: inode.generation, ino: inode.ino })
}

/// The handle of a child. In the pseudo tree only names that lead to an export are there.
///
/// # Errors
/// NOENT for a name of the pseudo tree that leads nowhere, and the store's.
pub(crate) fn step_down(
    exports: &Exports,
    view: &StateView,
    peer: SocketAddr,
    directory: FileHandle,
    child: &Inode,
) -> Result<FileHandle, Nfsstat4> {
    let at = |export| FileHandle { export, generation: child.generation, ino: child.ino };
    if only_root(exports) {
        return Ok(at(directory.export));
    }
    let mut places = places(exports, view);
    places.retain(|place| place.ino == child.ino);
    let own = places.iter().find(|place| place.is_root).map(|place| place.leads_to);
    if directory.export != ExportId::PSEUDO {
        return Ok(at(own.unwrap_or(directory.export)));
    }
    // An export that this client may not use does not block the way to those that it may.
    let is_on_the_way = places.iter().any(|place| admits(exports, place.leads_to, peer));
    match own {
        Some(export) if admits(exports, export, peer) || !is_on_the_way => Ok(at(export)),
        Some(_) | None if is_on_the_way => Ok(at(ExportId::PSEUDO)),
        Some(_) | None => Err(Nfsstat4::Noent),
    }
}

/// The handle of the parent directory. The only step out of an export is the one up from its root.
///
/// # Errors
/// NOENT above the root, and for a directory that is no longer in its handle's export; STALE if the
/// parent is gone.
pub(crate) fn step_up(
    exports: &Exports,
    view: &StateView,
    peer: SocketAddr,
    directory: FileHandle,
    inode: &Inode,
) -> Result<FileHandle, Nfsstat4> {
    if inode.ino == ROOT_INO {
        return Err(Nfsstat4::Noent);
    }
    let parent = view.inode(inode.parent).map_err(|e| status::of_refusal(&e))?;
    let at = |export| FileHandle { export, generation: parent.generation, ino: parent.ino };
    if only_root(exports) {
        return Ok(at(directory.export));
    }
    let places = places(exports, view);
    if directory.export != ExportId::PSEUDO {
        let is_own = |place: &&Place| place.is_root && place.leads_to == directory.export;
        let own = places.iter().find(is_own).ok_or(Nfsstat4::Noent)?;
        if own.ino != inode.ino {
            return if is_below(view, own.ino, &parent)? {
                Ok(at(directory.export))
            } else {
                Err(Nfsstat4::Noent)
            };
        }
    }
    // Above an export lies another one that contains it, or the pseudo tree.
    let mut ino = parent.ino;
    loop {
        let root = places.iter().find(|place| place.ino == ino && place.is_root).map(|place| place.leads_to);
        if let Some(export) = root.filter(|export| admits(exports, *export, peer)) {
            return Ok(at(export));
        }
        if ino == ROOT_INO {
            return Ok(at(ExportId::PSEUDO));
        }
        ino = view.inode(ino).map_err(|e| status::of_refusal(&e))?.parent;
    }
}

/// Whether a directory is `top`, or lies below it.
fn is_below(view: &StateView, top: Ino, directory: &Inode) -> Result<bool, Nfsstat4> {
    let (mut ino, mut parent) = (directory.ino, directory.parent);
    while ino != top {
        if ino == ROOT_INO {
            return Ok(false);
        }
        ino = parent;
        parent = view.inode(ino).map_err(|e| status::of_refusal(&e))?.parent;
    }
    Ok(true)
}

/// Refuses the change of a name that leads to an export: it would export another directory, or the
/// same one under the rights of an export around it.
///
/// # Errors
/// ACCESS, and the store's.
pub(crate) fn check_no_export(
    exports: &Exports,
    view: &StateView,
    directory: Ino,
    name: &[u8],
) -> Result<(), Nfsstat4> {
    if only_root(exports) {
        return Ok(());
    }
    // The operation checks whether the caller may look up the name.
    let found = op::lookup::find(view.namespace(), &Caller::default(), directory, name);
    let Some(inode) = found.ok().flatten().filter(Inode::is_directory) else { return Ok(()) };
    let leads = places(exports, view).iter().any(|place| place.ino == inode.ino);
    if leads { Err(Nfsstat4::Access) } else { Ok(()) }
}

/// True if a READDIR of this directory may show the entry.
pub(crate) fn visible(
    exports: &Exports,
    view: &StateView,
    peer: SocketAddr,
    directory: FileHandle,
) -> Visible {
    if directory.export != ExportId::PSEUDO || only_root(exports) {
        return Visible::All;
    }
    let mut places = places(exports, view);
    // The port does not count: a refused export is easier to understand than a missing one.
    let shows = |id| exports.option(id).is_some_and(|export| export.admits(peer.ip()));
    places.retain(|place| shows(place.leads_to));
    Visible::Only(places.into_iter().map(|place| place.ino).collect())
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

fn admits(exports: &Exports, id: ExportId, peer: SocketAddr) -> bool {
    exports.option(id).is_some_and(|export| may_use(export, peer))
}

/// Whether requests from this address and port may use the export.
fn may_use(export: &Export, peer: SocketAddr) -> bool {
    export.admits(peer.ip()) && export.takes_port(peer.port())
}

/// A directory on the way to an export, or the export's own.
struct Place {
    ino: Ino,
    leads_to: ExportId,
    /// It is the export's own directory.
    is_root: bool,
}

/// The directories on the exports' paths, as they are now; a missing path leads nowhere.
fn places(exports: &Exports, view: &StateView) -> Vec<Place> {
    let root = Caller::default();
    let mut places = Vec::new();
    for (id, export) in exports.iter() {
        let mut ino = ROOT_INO;
        let mut components = export.components().peekable();
        places.push(Place { ino, leads_to: id, is_root: components.peek().is_none() });
        while let Some(name) = components.next() {
            let Ok(inode) = op::lookup::lookup(view.namespace(), &root, ino, name.as_bytes()) else { break };
            ino = inode.ino;
            places.push(Place { ino, leads_to: id, is_root: components.peek().is_none() });
        }
    }
    places
}
