//! Commands about layouts: LAYOUTGET, LAYOUTRETURN, LAYOUTCOMMIT, and recalls.
//!
//! A layout is recorded per (client, file): one stateid, and whether the client has a READ and a
//! read-write part. Linux returns whole files, so ranges are not recorded.
//!
//! Spec: RFC 8881 §12.5, §18.42, §18.43, §18.44; RFC 8435.

use layout::ec::Profile;
use layout::{DataServerId, ExtentId, Iomode};
use mds_namespace::op::settle::Settlement;
use mds_namespace::{ExtentRecord, Granted, Ino, Inode};
use serde::{Deserialize, Serialize};

use crate::stateid::StateidValue;

/// LAYOUTGET for one extent that has a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutGet {
    /// Client id.
    pub client: u64,
    /// The extent.
    pub extent: ExtentId,
    /// READ or RW.
    pub iomode: Iomode,
    /// The stateid the client sent: an open, lock or layout stateid (already resolved from
    /// "current").
    pub stateid: StateidValue,
}

/// LAYOUTGET for an extent that may have no home yet. Gives it a home and the layout in one entry,
/// since a writer waits one flush for each entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutPlace {
    /// The layout. An inline file without bytes becomes one with extents; one with bytes is refused
    /// with `ContentMoved`, since they must be copied first.
    pub get: LayoutGet,
    /// The home the proposer chose. An extent that has one keeps it.
    pub home: DataServerId,
    /// The backups the proposer chose.
    pub backups: Vec<DataServerId>,
}

/// LAYOUTGET for writing. Gives the extent a primary if it has none, and records which extents the
/// client may write, so that the file's size is queried from their primaries until it is settled
/// (docs/protocol/sizes.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutWrite {
    /// The layout.
    pub get: LayoutGet,
    /// The primary and replicas the proposer chose, if the extent had none. An extent that has some
    /// keeps them.
    pub place: Option<(DataServerId, Vec<DataServerId>)>,
    /// The export's erasure code, for a new extent.
    pub code: Option<Profile>,
    /// All extents that the answer may name, with the sizes that their primaries reported.
    pub granted: Vec<Granted>,
    /// The client's user is not the superuser.
    pub drops_set_id: bool,
}

/// LAYOUTGET, with the export through which the client came: it is recorded of the file while
/// handles of it may be in use (docs/protocol/admin.md §8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutThrough {
    /// The export's id.
    pub export: u16,
    /// The version of the exports by which the client was admitted. `Busy` if a later version
    /// restricted one.
    pub version: u64,
    /// The layout.
    pub what: Granting,
}

/// The layout of a [`LayoutThrough`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Granting {
    /// A layout for reading.
    Read(LayoutGet),
    /// A layout for writing.
    Write(LayoutWrite),
}

impl Granting {
    /// The part that both have.
    #[must_use]
    pub fn get(&self) -> &LayoutGet {
        match self {
            Self::Read(get) => get,
            Self::Write(write) => &write.get,
        }
    }
}

/// Answer to [`LayoutGet`], [`LayoutPlace`], [`LayoutWrite`] and [`LayoutThrough`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutAnswer {
    /// The layout stateid.
    pub stateid: StateidValue,
    /// The extent's location.
    pub extent: ExtentRecord,
    /// The file.
    pub inode: Inode,
}

/// LAYOUTRETURN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutReturn {
    /// Client id.
    pub client: u64,
    /// The layout.
    pub what: Returned,
}

/// The layout that a LAYOUTRETURN returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Returned {
    /// One file; `None` iomode is ANY.
    File {
        /// The file.
        ino: Ino,
        /// The part to return.
        iomode: Option<Iomode>,
        /// False if the range returned is not the whole file: nothing is dropped, the stateid
        /// advances.
        whole: bool,
        /// The layout stateid the client sent.
        stateid: StateidValue,
    },
    /// Everything the client holds (FSID and ALL).
    All {
        /// The part to return; `None` is ANY.
        iomode: Option<Iomode>,
    },
    /// The server revokes the layout without a return. No server proposes it any more: an expired
    /// client is removed whole, and a recall that is not answered ends with `Recalled`.
    Revoked {
        /// The file.
        ino: Ino,
    },
    /// The server revokes a recalled layout that the client did not return. A layout that the
    /// client got since is another one, and stays.
    Recalled {
        /// The file.
        ino: Ino,
        /// The layout that was recalled.
        other: [u8; 12],
    },
}

/// LAYOUTRETURN, with the sizes that the file's primaries reported before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutGiveBack {
    /// The layout to return.
    pub what: LayoutReturn,
    /// The size to settle, if no client may write the file afterwards; `None` if a primary did not
    /// answer.
    pub settlement: Option<Settlement>,
}

/// LAYOUTCOMMIT with a modification time. Its end is ignored: the sizes of the primaries count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutCommit {
    /// Client id.
    pub client: u64,
    /// The file.
    pub ino: Ino,
    /// The layout stateid the client sent.
    pub stateid: StateidValue,
    /// The end of what the client wrote by its own account. Ignored.
    pub end_bytes: Option<u64>,
    /// Modification time the client gave.
    pub mtime: Option<mds_namespace::Timestamp>,
    /// The writer: set-id bits are cleared unless it is the superuser.
    pub caller: mds_namespace::Caller,
}

/// Which layouts to recall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutRecall {
    /// The file.
    pub ino: Ino,
    /// Recall only read-write parts; else everything.
    pub iomode: Option<Iomode>,
    /// A client that is not called (its own request causes the recall).
    pub except_client: Option<u64>,
}

/// One recall to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// The client to call.
    pub client: u64,
    /// The stateid to send: the layout's sequence was advanced by one.
    pub stateid: StateidValue,
    /// Which parts are held.
    pub iomode: Option<Iomode>,
}
