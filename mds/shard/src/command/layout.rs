//! Commands about layouts: LAYOUTGET, LAYOUTRETURN, LAYOUTCOMMIT, and recalls.
//!
//! A layout is recorded per (client, file): one stateid, and whether a READ and a read-write part are out. Linux
//! returns whole files, so ranges are not recorded.
//!
//! Spec: RFC 8881 §12.5, §18.42, §18.43, §18.44; RFC 8435.

use layout::ec::Profile;
use layout::{DataServerId, ExtentId, Iomode};
use mds_namespace::op::settle::Settlement;
use mds_namespace::{ExtentRecord, Granted, Ino, Inode};
use serde::{Deserialize, Serialize};

use super::StateidValue;

/// LAYOUTGET for one extent that has a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutGet {
    /// Client id.
    pub client: u64,
    /// Which extent.
    pub extent: ExtentId,
    /// READ or RW.
    pub iomode: Iomode,
    /// The stateid the client showed: an open, lock or layout stateid (already resolved from "current").
    pub stateid: StateidValue,
}

/// LAYOUTGET for an extent that may have no home yet: gives it one and the layout in one go, for each entry of the log
/// that a writer waits for costs it a flush.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutPlace {
    /// What is asked for. An inline file without bytes becomes one with extents; one with bytes is refused with
    /// `ContentMoved`, for they must be copied first.
    pub get: LayoutGet,
    /// The home the proposer chose. An extent that has one keeps it.
    pub home: DataServerId,
    /// The backups the proposer chose.
    pub backups: Vec<DataServerId>,
}

/// LAYOUTGET for writing: gives the extent a primary if it has none, and notes which extents the client may write, so that the
/// size of the file is asked from their primaries until it is settled (docs/protocol/sizes.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutWrite {
    /// What is asked for.
    pub get: LayoutGet,
    /// The primary and replicas the proposer chose, if the extent had none. An extent that has some keeps them.
    pub place: Option<(DataServerId, Vec<DataServerId>)>,
    /// The export's erasure code, for an extent that is made.
    pub code: Option<Profile>,
    /// All extents that the answer may name, with what their primaries said of them.
    pub granted: Vec<Granted>,
    /// The client's user is not the superuser.
    pub drops_set_id: bool,
}

/// LAYOUTGET, with the export that the client came through: while handles of it may be out, the
/// file is known by that (docs/protocol/admin.md §8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutThrough {
    /// Its id.
    pub export: u16,
    /// The version of the exports by which the client was admitted. `Busy` if one was restricted
    /// since.
    pub version: u64,
    /// What is asked for.
    pub what: Granting,
}

/// What a [`LayoutThrough`] asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Granting {
    /// A layout for reading.
    Read(LayoutGet),
    /// A layout for writing.
    Write(LayoutWrite),
}

impl Granting {
    /// What both have.
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
    /// Where the extent lives.
    pub extent: ExtentRecord,
    /// The file.
    pub inode: Inode,
}

/// LAYOUTRETURN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutReturn {
    /// Client id.
    pub client: u64,
    /// What is returned.
    pub what: Returned,
}

/// What a LAYOUTRETURN gives back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Returned {
    /// One file; `None` iomode is ANY.
    File {
        /// The file.
        ino: Ino,
        /// Which part.
        iomode: Option<Iomode>,
        /// False if the range returned is not the whole file: nothing is dropped, the stateid moves.
        whole: bool,
        /// The layout stateid shown.
        stateid: StateidValue,
    },
    /// Everything the client holds (FSID and ALL).
    All {
        /// Which part; `None` is ANY.
        iomode: Option<Iomode>,
    },
    /// The server takes the layout back without a return: the client is forgetful, dead or fenced.
    Revoked {
        /// The file.
        ino: Ino,
    },
    /// The server takes back what it recalled and the client did not return. A layout that the client got since is another one, and stays.
    Recalled {
        /// The file.
        ino: Ino,
        /// The layout that was recalled.
        other: [u8; 12],
    },
}

/// LAYOUTRETURN, with what the primaries said of the file before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutGiveBack {
    /// What is returned.
    pub what: LayoutReturn,
    /// The size to settle, if no client may write the file afterwards; `None` if a primary did not answer.
    pub settlement: Option<Settlement>,
}

/// LAYOUTCOMMIT with a modification time. Its end is not looked at: what the primaries hold counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutCommit {
    /// Client id.
    pub client: u64,
    /// The file.
    pub ino: Ino,
    /// The layout stateid shown.
    pub stateid: StateidValue,
    /// How far the client says that it wrote. Not looked at.
    pub end_bytes: Option<u64>,
    /// Modification time the client gave.
    pub mtime: Option<mds_namespace::Timestamp>,
    /// Who wrote: set-id bits are cleared unless it is the superuser.
    pub caller: mds_namespace::Caller,
}

/// Which layouts to recall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutRecall {
    /// The file.
    pub ino: Ino,
    /// Recall only read-write parts; else everything.
    pub iomode: Option<Iomode>,
    /// A client that is not to be asked (its own request causes the recall).
    pub except_client: Option<u64>,
}

/// One recall to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// To whom.
    pub client: u64,
    /// The stateid to send: the layout's sequence was moved forward by one.
    pub stateid: StateidValue,
    /// Which parts are held.
    pub iomode: Option<Iomode>,
}
