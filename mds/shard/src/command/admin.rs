//! What administrators have done with data servers, and homes that are alive handing extents over.
//!
//! Spec: docs/protocol/admin.md.

use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::CopyChange;
use mds_namespace::op::held::Held;
use serde::{Deserialize, Serialize};

use crate::export::Export;

/// Forgets a data server that is gone for good. The proposer knows that it holds no lease and gets none. `NotFound` if it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveDataServer {
    /// Which one.
    pub server: DataServerId,
}

/// What became of a [`RemoveDataServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// It is forgotten.
    Done,
    /// It was to do more than one command strikes off: propose it again.
    Again,
    /// It holds something: nothing was changed.
    Holds(Held),
}

/// Has everything moved away from a data server, or ends that. `NotFound` if it is not known, `NotPermitted` if no other would be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainDataServer {
    /// Which one.
    pub server: DataServerId,
    /// False: what it has may stay.
    pub drain: bool,
}

/// Makes backups homes whose homes are alive. Each change stands for itself: one that does not fit (any more) changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The changes, at most [`COPY_CHANGES_MAX`](crate::limits::COPY_CHANGES_MAX).
    pub changes: Vec<CopyChange>,
}

/// Homes that were to give way are dead: they drop the extents before they get a lease, and nobody waits for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitNoLonger {
    /// Numbers of the work items, at most [`COPY_CHANGES_MAX`](crate::limits::COPY_CHANGES_MAX).
    pub items: Vec<u64>,
}

/// Says how many shards the cluster has, once and for all. `Exists` if it was said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixShards {
    /// At least 1.
    pub shards: u32,
}

/// Says what the cluster exports. Nothing is done if that is exported already: whoever asks again gets the same answer.
///
/// Refused as `Invalid` if there can be no such list, as `TableFull` if ids have run out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetExports {
    /// The version of the list that these take the place of; 0: there is none yet.
    pub replaces: u64,
    /// The exports, and no others. The log has nothing of `secure`: it is on.
    #[serde(with = "crate::export::before")]
    pub exports: Vec<Export>,
}

/// [`SetExports`] with all that an export has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetExportsWhole {
    /// The version of the list that these take the place of; 0: there is none yet.
    pub replaces: u64,
    /// The exports, and no others.
    pub exports: Vec<Export>,
}

/// What became of a [`SetExports`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportsSet {
    /// This version of the list is these exports.
    Done(u64),
    /// Others are exported, in this version: somebody else was first, and nothing was changed.
    Changed(u64),
}

/// Raises the epochs of extents of which handles were given out through exports that were
/// restricted since: a part of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceExports {
    /// Every extent.
    pub all: bool,
    /// Else those of files of which handles were given out through these exports, by id; at most
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
    /// The extent to go on with; `None` if there is none left in this shard.
    pub next: Option<ExtentId>,
}

/// All that a version of the exports required is fenced. Changes nothing if another version
/// restricted something since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportsFenced {
    /// The version.
    pub version: u64,
    /// Layouts that were recalled.
    pub layouts: u64,
    /// Extents that were fenced.
    pub extents: u64,
}
