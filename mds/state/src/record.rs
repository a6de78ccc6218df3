//! Values of the protocol state (docs/formats/state.md): one version byte, then postcard.
//!
//! Bytes that do not decode are an error of the store, never a panic: another version or a broken
//! disk wrote them.

mod client;
mod exports;
mod fencing;
mod governor;
mod handle_keys;
mod lock;
mod session;
mod tally;
mod value;

use layout::state::LayoutRecord;
use mds_namespace::{FsError, Ino};
use serde::{Deserialize, Serialize};
use wire_session::server::client_id::ClientRecord;

use crate::command::open::Share;
use crate::stateid::{OTHER_BYTES, StateidValue};

pub use client::{ClientCounts, Waiting};
pub use exports::{ExportList, is_before_secure};
pub use fencing::{Fencing, Handed};
pub use governor::{Governor, Intent};
pub use handle_keys::{HANDLE_KEY_BYTES, HandleKeys, LaterKey, Rotation};
pub use lock::{FileLocks, LockRecord, Ranges};
pub use session::{Recorded, SlotRecord, StoredSession};
pub use tally::Tally;
pub use value::{VALUE_VERSION, Value};

pub use crate::stateid::{StateKind, other};

use value::{bad_value, bad_version, read_postcard, write_postcard};

/// A durable position in a data server's journal. Later positions are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoreMark {
    /// The segment.
    pub segment: u64,
    /// Bytes from its start.
    pub offset: u64,
}

/// Next numbers to assign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Next client id.
    pub client: u64,
    /// Next stateid counter.
    pub other: u64,
    /// Next data server id.
    pub server: u32,
}

impl Default for Counters {
    fn default() -> Self {
        Self { client: 1, other: 1, server: 1 }
    }
}

/// A client as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClient {
    /// The record of EXCHANGE_ID and CREATE_SESSION.
    pub record: ClientRecord,
    /// RECLAIM_COMPLETE was received.
    pub reclaim_complete: bool,
}

/// The client ids of one client owner (RFC 8881 §18.35.4: one confirmed, one not).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerClients {
    /// The confirmed client id.
    pub confirmed: Option<u64>,
    /// The client id that waits for CREATE_SESSION.
    pub unconfirmed: Option<u64>,
}

/// The state that a stateid's identity names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateidTarget {
    /// Kind of the state.
    pub kind: StateKind,
    /// Its file.
    pub ino: Ino,
    /// Its client.
    pub client: u64,
}

#[derive(Serialize, Deserialize)]
struct StateidTargetValue(u8, Ino, u64);

/// An open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRecord {
    /// Identity of its stateid.
    pub other: [u8; OTHER_BYTES],
    /// Current sequence of its stateid.
    pub seqid: u32,
    /// Client id.
    pub client: u64,
    /// Open-owner.
    #[serde(with = "serde_bytes")]
    pub owner: Vec<u8>,
    /// The union of the share modes of its OPENs.
    pub share: Share,
    /// Share modes of its OPENs, bit `access * 4 + deny`.
    pub seen: u16,
}

impl OpenRecord {
    /// The current stateid.
    #[must_use]
    pub fn stateid(&self) -> StateidValue {
        StateidValue { seqid: self.seqid, other: self.other }
    }
}

/// The opens of one file, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// All opens.
    pub opens: u32,
    /// Opens that may read.
    pub read: u32,
    /// Opens that may write.
    pub write: u32,
    /// Opens that forbid others to read.
    pub deny_read: u32,
    /// Opens that forbid others to write.
    pub deny_write: u32,
}

/// A data server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataServer {
    /// Its number.
    pub id: u32,
    /// Identity of its store.
    pub uuid: [u8; 16],
    /// Universal addresses clients reach it at.
    pub addresses: Vec<String>,
    /// Address of its control service, `ip:port`.
    pub control: String,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Zone it stands in; empty is unknown.
    pub zone: String,
    /// Rack it stands in.
    pub rack: String,
    /// Machine it runs on.
    pub host: String,
    /// Its name for people; empty if it has none.
    pub name: String,
}

/// A data server in version 2 of its record.
#[derive(Deserialize)]
struct DataServerUnnamed {
    id: u32,
    uuid: [u8; 16],
    addresses: Vec<String>,
    control: String,
    capacity_bytes: u64,
    zone: String,
    rack: String,
    host: String,
}

macro_rules! postcard_values {
    ($($name:ty),+) => {$(
        impl Value for $name {
            fn write(&self, bytes: Vec<u8>) -> Vec<u8> {
                write_postcard(self, bytes)
            }
            fn read(bytes: &[u8]) -> Option<Self> {
                read_postcard(bytes)
            }
        }
    )+};
}

postcard_values!(
    Counters,
    StoreMark,
    HandleKeys,
    StoredClient,
    OwnerClients,
    OpenRecord,
    Shares,
    LayoutRecord,
    StoredSession,
    SlotRecord,
    Governor,
    Intent,
    FileLocks,
    ClientCounts,
    Waiting
);

impl Value for DataServer {
    /// Version 1 had no failure domain, version 2 no name.
    const VERSION: u8 = 3;

    fn decode(bytes: &[u8]) -> Result<Self, FsError> {
        match bytes.split_first() {
            Some((2, rest)) => {
                let DataServerUnnamed { id, uuid, addresses, control, capacity_bytes, zone, rack, host } =
                    read_postcard(rest).ok_or_else(bad_value::<Self>)?;
                let name = String::new();
                Ok(Self { id, uuid, addresses, control, capacity_bytes, zone, rack, host, name })
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
        read_postcard(bytes)
    }
}

impl Value for StateidTarget {
    fn write(&self, bytes: Vec<u8>) -> Vec<u8> {
        write_postcard(&StateidTargetValue(self.kind.number(), self.ino, self.client), bytes)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let StateidTargetValue(kind, ino, client) = read_postcard(bytes)?;
        Some(Self { kind: StateKind::of_number(kind)?, ino, client })
    }
}

#[cfg(test)]
mod tests;
