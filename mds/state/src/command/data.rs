//! Commands about content: inline bytes, extents, data servers, and the work they must still do.
//!
//! Spec: docs/protocol/control.md.

use layout::ec::Profile;
use layout::{DataServerId, Epoch, ExtentId};
use mds_namespace::op::extent::CopyChange;
use mds_namespace::{Caller, Ino};
use serde::{Deserialize, Serialize};

use super::layout::LayoutPlace;
use crate::record::{HANDLE_KEY_BYTES, StoreMark};

/// WRITE into an inline file; refused with `ContentMoved` if the file has extents or would grow
/// past the limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteInline {
    /// The file.
    pub ino: Ino,
    /// First byte.
    pub offset_bytes: u64,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// Who writes: set-id bits are cleared unless it is the superuser.
    pub caller: Caller,
}

/// The inline bytes of a file have been copied into its extent 0 and synced there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveToExtents {
    /// The file.
    pub ino: Ino,
    /// The change counter the copy was made at; refused with `ContentMoved` if it differs.
    pub change: u64,
}

/// Gives an extent a home and backups. If it has them, those are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocate {
    /// Which extent.
    pub extent: ExtentId,
    /// The home the proposer chose.
    pub home: DataServerId,
    /// The backups the proposer chose.
    pub backups: Vec<DataServerId>,
}

/// Gives an extent a home and backups through an export that has an erasure code of its own. An
/// extent that is there already keeps the code it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderCode {
    /// The export's, in the log by its name.
    pub code: Profile,
    /// What is to be done.
    pub what: Placing,
}

/// What gives an extent a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placing {
    /// For I/O through the metadata server.
    Allocate(Allocate),
    /// LAYOUTGET.
    Layout(LayoutPlace),
}

/// Changes who keeps extents: a backup becomes home, goes, comes, or holds everything now. Each
/// change stands for itself: one that came too late changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCopies {
    /// The changes, at most [`COPY_CHANGES_MAX`](crate::limits::COPY_CHANGES_MAX).
    pub changes: Vec<CopyChange>,
}

/// Bytes reached data servers through the metadata server: what [`WrittenAt`] was before it named
/// epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The file.
    pub ino: Ino,
    /// The file is at least this long now.
    pub end_bytes: u64,
    /// Who wrote, if known: set-id bits are cleared unless it is the superuser.
    pub caller: Option<Caller>,
}

/// Bytes reached data servers through the metadata server. If one of the extents was cut, fenced or
/// moved since, some may be gone again: [`ContentMoved`](crate::Refusal::ContentMoved), and they
/// are to be written once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenAt {
    /// The file.
    pub ino: Ino,
    /// The file is at least this long now.
    pub end_bytes: u64,
    /// Who wrote: set-id bits are cleared unless it is the superuser.
    pub caller: Caller,
    /// Index of each extent that was written, and the epoch at which it was.
    pub extents: Vec<(u32, Epoch)>,
}

/// The home of an extent was asked where what it has of it ends. If the extent was cut or fenced
/// since, that says nothing any more: [`ContentMoved`](crate::Refusal::ContentMoved).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The extent.
    pub extent: ExtentId,
    /// Its epoch before the home was asked.
    pub epoch: Epoch,
    /// The file is at least this long, in bytes from its beginning. Within the extent.
    pub end_bytes: u64,
}

/// A work item is finished (done twice is fine).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkDone {
    /// Numbers of the work items.
    pub items: Vec<u64>,
}

/// Raises the epoch of an extent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Which extent.
    pub extent: ExtentId,
}

/// A data server's identity and address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDataServer {
    /// The identity it made when its store was formatted.
    pub uuid: [u8; 16],
    /// Universal addresses clients reach it at, `a.b.c.d.p1.p2`.
    pub addresses: Vec<String>,
    /// Where its control service listens, `ip:port`.
    pub control: String,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Zone it stands in; empty is unknown.
    pub zone: String,
    /// Rack it stands in.
    pub rack: String,
    /// Machine it runs on.
    pub host: String,
}

/// A data server that has a name: registered as without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterNamed {
    /// Identity and address.
    pub server: RegisterDataServer,
    /// What people call it.
    pub name: String,
}

/// First entry of a new file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Identity of the file system.
    pub file_system: [u8; 16],
    /// Key for data-server handles.
    pub handle_key: [u8; 32],
    /// Key for directory cookies.
    pub cookie_key: [u8; 32],
    /// Owner of the root directory.
    pub root_uid: u32,
    /// Group of the root directory.
    pub root_gid: u32,
    /// Mode of the root directory.
    pub root_mode: u32,
}

/// Remembers how far the journals of data servers went. Of a data server that is not known nothing
/// is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkStores {
    /// At most [`DATA_SERVERS_MAX`](crate::limits::DATA_SERVERS_MAX).
    pub marks: Vec<MarkStore>,
}

/// How far the journal of one data server went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkStore {
    /// Identity of its store.
    pub uuid: [u8; 16],
    /// All before this was on stable storage.
    pub mark: StoreMark,
    /// Remembered even if it went further before: the operator has accepted a loss.
    pub lowers: bool,
}

/// Adds a key for data-server handles: data servers learn it. Nothing changes if the keys are of
/// another version by now, or one is being replaced.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddHandleKey {
    /// Version of the keys that it is added to.
    pub version: u64,
    /// From good entropy. Never shown.
    pub bytes: [u8; HANDLE_KEY_BYTES],
}

impl std::fmt::Debug for AddHandleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddHandleKey").field("version", &self.version).finish_non_exhaustive()
    }
}

/// From now on handles are sealed under the key that was added; the proposer knows that each data
/// server with a lease has it. Nothing changes if the keys are of another version by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseHandleKey {
    /// Version of the keys.
    pub version: u64,
}

/// The key before is good no more. Nothing changes if the keys are of another version by now, or
/// the one that was added is not used yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropHandleKey {
    /// Version of the keys.
    pub version: u64,
}
