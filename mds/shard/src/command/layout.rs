//! Commands about layouts: LAYOUTGET, LAYOUTRETURN, LAYOUTCOMMIT, and recalls.
//!
//! A layout is recorded per (client, file): one stateid, and whether a READ and a read-write part are out. Linux
//! returns whole files, so ranges are not recorded.
//!
//! Spec: RFC 8881 §12.5, §18.42, §18.43, §18.44; RFC 8435.

use layout::{DataServerId, ExtentId, Iomode};
use mds_namespace::{ExtentRecord, Ino, Inode};
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

/// Answer to [`LayoutGet`] and [`LayoutPlace`].
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

/// LAYOUTCOMMIT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutCommit {
    /// Client id.
    pub client: u64,
    /// The file.
    pub ino: Ino,
    /// The layout stateid shown.
    pub stateid: StateidValue,
    /// The file is at least this long now, if the client said so.
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
