//! One export: a directory of the namespace, and the access of clients through it.
//!
//! Plain values, and their rules for a caller and an address. The list of exports is a record of
//! shard 0 ([`ExportList`](crate::record::ExportList)).
//!
//! INVARIANT: the fields are stored in their order (docs/formats/state.md): they change only with
//! the record's version.

use std::collections::BTreeSet;
use std::net::IpAddr;

use layout::ec::Profile;
pub use layout::{Network, NetworkError};
use mds_namespace::Caller;
use serde::{Deserialize, Serialize};

use crate::limits::{EXPORT_PATH_BYTES_MAX, EXPORTS_BYTES_MAX, EXPORTS_MAX, STRIPES_MAX};

pub mod before;

/// The first source port that a program without privileges can take on its host.
pub const RESERVED_PORTS_END: u16 = 1024;

/// One export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Absolute path in the namespace, `/` for all of it. No `.`, `..` or empty components.
    pub path: String,
    /// Refuses every change with ROFS.
    pub read_only: bool,
    /// The users that the export maps to the anonymous user.
    pub squash: Squash,
    /// The identity of a squashed user.
    pub anonymous: Anonymous,
    /// The clients that may use it; empty admits all.
    pub clients: Vec<Network>,
    /// Grants layouts; else all I/O goes through the metadata server.
    pub pnfs: bool,
    /// Extents that one segment of a layout may have, for clients that support it: a power of two
    /// up to [`STRIPES_MAX`]. 1: no stripes.
    pub stripes: u32,
    /// The erasure code of files that are made through it; `None`: the cluster's.
    pub code: Option<Profile>,
    /// Requests must come from a source port below [`RESERVED_PORTS_END`].
    pub secure: bool,
}

/// The users that an export maps to the anonymous user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Squash {
    /// No user is mapped.
    None,
    /// User 0 and group 0 are mapped.
    Root,
    /// All users are mapped.
    All,
}

/// The identity of squashed users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anonymous {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Default for Anonymous {
    fn default() -> Self {
        Self { uid: 65534, gid: 65534 }
    }
}

impl Export {
    /// Whether some client or user may do less with `next` in place of this export. An undecidable
    /// case counts as a restriction.
    #[must_use]
    pub fn restricts(&self, next: &Self) -> bool {
        let fewer_clients = !next.clients.is_empty()
            && (self.clients.is_empty()
                || !self.clients.iter().all(|old| next.clients.iter().any(|new| new.covers(*old))));
        (!self.read_only && next.read_only)
            || (self.pnfs && !next.pnfs)
            || (!self.secure && next.secure)
            || fewer_clients
            || self.squashes_otherwise(next)
    }

    /// Whether users are mapped otherwise, other than that some of them are no longer mapped.
    fn squashes_otherwise(&self, next: &Self) -> bool {
        let same_identity = next.squash == Squash::None || self.anonymous == next.anonymous;
        match (self.squash, next.squash) {
            (before, after) if before == after => !same_identity,
            // A user that was mapped to the superuser loses by being mapped no longer.
            (Squash::Root, Squash::None) | (Squash::All, Squash::None | Squash::Root) => {
                !same_identity || self.anonymous.uid == 0
            }
            _ => true,
        }
    }

    /// The whole tree, read and write, root is root: the default without a configuration. With
    /// AUTH_SYS a client itself states its users, so squashing root by default would hinder new
    /// users and stop no attacker.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            path: "/".to_owned(),
            read_only: false,
            squash: Squash::None,
            anonymous: Anonymous::default(),
            clients: Vec::new(),
            pnfs: true,
            stripes: 1,
            code: None,
            secure: true,
        }
    }

    /// The same for clients that cannot take a source port below [`RESERVED_PORTS_END`]: programs,
    /// not kernels.
    #[must_use]
    pub fn any_port() -> Self {
        Self { secure: false, ..Self::everything() }
    }

    /// True if a client at this address may use the export.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|network| network.contains(address))
    }

    /// True if a request from this source port may use the export.
    #[must_use]
    pub fn takes_port(&self, port: u16) -> bool {
        !self.secure || port < RESERVED_PORTS_END
    }

    /// Maps a caller to the user that it counts as.
    #[must_use]
    pub fn squash(&self, mut caller: Caller) -> Caller {
        match self.squash {
            Squash::None => caller,
            Squash::All => Caller { uid: self.anonymous.uid, gid: self.anonymous.gid, gids: Vec::new() },
            Squash::Root => {
                if caller.uid == 0 {
                    caller.uid = self.anonymous.uid;
                }
                if caller.gid == 0 {
                    caller.gid = self.anonymous.gid;
                }
                caller.gids.retain(|gid| *gid != 0);
                caller
            }
        }
    }

    /// The components of the path.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter(|component| !component.is_empty())
    }

    /// Its share of [`EXPORTS_BYTES_MAX`]: no less than it takes in the store and on the wire.
    fn bytes(&self) -> usize {
        64 + self.path.len() + 48 * self.clients.len()
    }
}

/// Why a list of exports is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportsError {
    /// No export at all, or too many.
    #[error("{0} exports: expected 1 to {EXPORTS_MAX}")]
    Count(usize),
    /// The exports are too long together.
    #[error(
        "the exports are too long together: paths, 64 bytes for each export and 48 for each of its clients are {EXPORTS_BYTES_MAX} bytes at most"
    )]
    Bytes,
    /// Not a valid path.
    #[error(
        "export path \"{0}\": expected an absolute path of at most {EXPORT_PATH_BYTES_MAX} bytes, without empty components, `.` and `..`"
    )]
    Path(String),
    /// One path has two exports.
    #[error("export path \"{0}\": exported twice")]
    Twice(String),
    /// Not a valid number of stripes.
    #[error("export path \"{path}\": stripes = {stripes}: expected 1, 2, 4 or {STRIPES_MAX}")]
    Stripes {
        /// The export.
        path: String,
        /// The number.
        stripes: u32,
    },
}

/// Checks that a list may be the exports of a cluster.
///
/// # Errors
/// [`ExportsError`]: the first error found.
pub fn check<'a>(exports: impl ExactSizeIterator<Item = &'a Export>) -> Result<(), ExportsError> {
    let count = exports.len();
    if !(1..=EXPORTS_MAX).contains(&count) {
        return Err(ExportsError::Count(count));
    }
    let (mut paths, mut bytes) = (BTreeSet::new(), 0);
    for export in exports {
        let Export { path, stripes, .. } = export;
        if !is_path(path) {
            return Err(ExportsError::Path(path.chars().take(EXPORT_PATH_BYTES_MAX).collect()));
        }
        if !paths.insert(path) {
            return Err(ExportsError::Twice(path.clone()));
        }
        if !stripes.is_power_of_two() || STRIPES_MAX < *stripes {
            return Err(ExportsError::Stripes { path: path.clone(), stripes: *stripes });
        }
        bytes += export.bytes();
    }
    if EXPORTS_BYTES_MAX < bytes { Err(ExportsError::Bytes) } else { Ok(()) }
}

fn is_path(path: &str) -> bool {
    let Some(below) = path.strip_prefix('/').filter(|_| path.len() <= EXPORT_PATH_BYTES_MAX) else {
        return false;
    };
    below.is_empty() || below.split('/').all(|name| !["", ".", ".."].contains(&name))
}

#[cfg(test)]
mod tests;
