//! Commands of administrators about data servers and exports, and handing extents over from live
//! homes.
//!
//! Spec: docs/protocol/admin.md.

use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::CopyChange;
use mds_namespace::op::held::Held;
use serde::{Deserialize, Serialize};

use crate::export::Export;

/// Removes a data server for good. The proposer ensures that the server holds no lease and gets
/// none. `NotFound` if it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveDataServer {
    /// The data server.
    pub server: DataServerId,
}

/// Result of a [`RemoveDataServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// The data server is removed.
    Done,
    /// The server has more work items than one command deletes: propose the command again.
    Again,
    /// The server holds something: nothing was changed.
    Holds(Held),
}

/// Starts or ends moving everything away from a data server. `NotFound` if it is unknown,
/// `NotPermitted` if no other server would be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainDataServer {
    /// The data server.
    pub server: DataServerId,
    /// False: its data may stay.
    pub drain: bool,
}

/// Makes backups homes in place of homes that are alive. Each change is independent: one that does
/// not apply (any more) changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The changes, at most [`COPY_CHANGES_MAX`](crate::limits::COPY_CHANGES_MAX).
    pub changes: Vec<CopyChange>,
}

/// The homes that should hand over are dead. They drop the extents before they get a lease, so that
/// their successors need not wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitNoLonger {
    /// Numbers of the work items, at most [`COPY_CHANGES_MAX`](crate::limits::COPY_CHANGES_MAX).
    pub items: Vec<u64>,
}

/// Sets the cluster's number of shards, once and for all. `Exists` if another number is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixShards {
    /// At least 1.
    pub shards: u32,
}

/// Sets the cluster's exports. A repeated command changes nothing and has the same outcome.
///
/// Refused as `Invalid` if there can be no such list, as `TableFull` if ids have run out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetExports {
    /// The version of the list that this one replaces; 0: there is none yet.
    pub replaces: u64,
    /// The complete list. The log lacks `secure`: it is on.
    #[serde(with = "crate::export::before")]
    pub exports: Vec<Export>,
}

/// [`SetExports`] with all fields of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetExportsWhole {
    /// The version of the list that this one replaces; 0: there is none yet.
    pub replaces: u64,
    /// The complete list.
    pub exports: Vec<Export>,
}

/// Result of a [`SetExports`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportsSet {
    /// These exports are the list's version.
    Done(u64),
    /// The list is another one, in this version: another proposer was first, and nothing was
    /// changed.
    Changed(u64),
}

/// Raises the epochs of a part of the extents whose handles were given out through exports that
/// were restricted since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceExports {
    /// Every extent.
    pub all: bool,
    /// Else those of files whose handles were given out through these exports, by id; at most
    /// [`EXPORTS_MAX`](crate::limits::EXPORTS_MAX).
    pub exports: Vec<u16>,
    /// The extent to begin with.
    pub from: ExtentId,
}

/// Answer to [`FenceExports`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedExports {
    /// How many were fenced.
    pub extents: u32,
    /// The extent to continue with; `None` if there is none left in this shard.
    pub next: Option<ExtentId>,
}

/// Every extent that a version of the exports requires is fenced. Changes nothing if another
/// version restricted something since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportsFenced {
    /// The version.
    pub version: u64,
    /// Layouts that were recalled.
    pub layouts: u64,
    /// Extents that were fenced.
    pub extents: u64,
}
