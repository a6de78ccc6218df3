//! The control protocol between metadata servers and data servers: procedure numbers, refusals, and how a reply begins.
//!
//! `auth` opens every connection with what `keys` has and `keyring` holds, `roles` says which node may call what, `register` and `heartbeat` are what a data server says, `extent`
//! is what it is told, `copies` and `replicate` are how further copies of an extent are kept,
//! `images` and `groups` how extents are sealed, `handles` is what data-server handles are judged by, `admin`, `exports` and `report` are what
//! administrators ask. Nothing here sends or waits: env-transport carries these bodies.
//!
//! Spec: docs/protocol/control.md; docs/protocol/replicate.md; docs/protocol/seal.md; docs/protocol/admin.md.

pub mod admin;
pub mod auth;
pub mod copies;
pub mod exports;
pub mod extent;
pub mod groups;
pub mod handles;
pub mod heartbeat;
pub mod images;
pub mod keyring;
pub mod keys;
pub mod limits;
pub mod register;
pub mod replicate;
pub mod report;
pub mod roles;

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

pub use auth::{ControlGate, Handshake, NodeKind};
pub use keyring::Keyring;
pub use keys::{ClusterKey, Identity};

/// RPC program of the control protocol.
pub const PROGRAM: u32 = 0x20C0_0002;

/// RPC program of the Raft transport, which opens with the same handshake.
pub const RAFT_PROGRAM: u32 = 0x20C0_0001;

/// The version of the control program, and of the handshake of both.
pub const VERSION: u32 = 5;

/// A procedure of the control program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Procedure {
    /// Answers nothing.
    Null = 0,
    /// Exchanges kinds and nonces.
    Hello = 1,
    /// Proves knowledge of the cluster key.
    Auth = 2,
    /// A data server makes itself known.
    Register = 3,
    /// A data server renews its lease.
    Heartbeat = 4,
    /// Raises an extent's epoch.
    Fence = 5,
    /// Forgets the bytes behind a point.
    Cut = 6,
    /// Forgets all bytes.
    Drop = 7,
    /// Asks how far extents reach.
    Size = 8,
    /// Asks for usage and counters.
    Stat = 9,
    /// A home says how its backups are, and gets the copies that are in force.
    Copies = 10,
    /// A metadata server has a home look after its backups.
    Keep = 11,
    /// A home takes up an extent with a backup.
    Attach = 12,
    /// A home has a backup keep a record.
    Replicate = 13,
    /// A home has a backup make durable what it took.
    Flush = 14,
    /// A data server shows images that its journal does not use, and gets a word for each.
    Images = 15,
    /// A data server asks for the group of an image.
    Group = 16,
    /// Bytes of an image's file.
    ReadImage = 17,
    /// Bytes of an image's file that is being made.
    PutImage = 18,
    /// Makes an image durable and checks it.
    EndImage = 19,
    /// A metadata server has the parity of a group made.
    Encode = 20,
    /// A metadata server has an image of a group made again.
    Rebuild = 21,
    /// A home says that something lies above an image.
    Thaw = 22,
    /// A metadata server makes the callee the home of an extent of which only the image is left.
    Adopt = 23,
    /// A metadata server asks whether the files of images are there.
    Have = 24,
    /// A home fetches bytes of an extent that its journal has lost.
    ReadData = 25,
    /// A data server asks whether an extent is at rest, and which image says all of it.
    AtRest = 26,
    /// A backup has its home say all of an extent again.
    SayAgain = 27,
    /// An administrator has a data server forgotten that is gone for good.
    DsRemove = 28,
    /// An administrator has everything moved away from a data server.
    DsDrain = 29,
    /// An administrator asks where the extents of a file are.
    Verify = 30,
    /// An administrator has data moved until each data server has its share.
    Rebalance = 31,
    /// An administrator has a metadata server taken in again that lost its disk.
    MdsReadmit = 32,
    /// An administrator says what the cluster exports.
    ExportsSet = 33,
    /// A data server asks where a file ends.
    FileEnd = 34,
    /// An administrator, or a metadata server on behalf of one, asks how the cluster is.
    Report = 35,
    /// A home is about to promise for the first time that bytes of an extent are on stable storage.
    Promise = 36,
    /// A data server shows its clock, and asks what time it is.
    Clock = 37,
    /// A data server asks whether clients still hold the layouts that handles were made for.
    Held = 38,
    /// A data server asks which addresses exports admit.
    Admitted = 39,
    /// An administrator has the key of data-server handles replaced.
    HandleKeyRotate = 40,
}

impl Procedure {
    /// The procedure with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Null,
            1 => Self::Hello,
            2 => Self::Auth,
            3 => Self::Register,
            4 => Self::Heartbeat,
            5 => Self::Fence,
            6 => Self::Cut,
            7 => Self::Drop,
            8 => Self::Size,
            9 => Self::Stat,
            10 => Self::Copies,
            11 => Self::Keep,
            12 => Self::Attach,
            13 => Self::Replicate,
            14 => Self::Flush,
            15 => Self::Images,
            16 => Self::Group,
            17 => Self::ReadImage,
            18 => Self::PutImage,
            19 => Self::EndImage,
            20 => Self::Encode,
            21 => Self::Rebuild,
            22 => Self::Thaw,
            23 => Self::Adopt,
            24 => Self::Have,
            25 => Self::ReadData,
            26 => Self::AtRest,
            27 => Self::SayAgain,
            28 => Self::DsRemove,
            29 => Self::DsDrain,
            30 => Self::Verify,
            31 => Self::Rebalance,
            32 => Self::MdsReadmit,
            33 => Self::ExportsSet,
            34 => Self::FileEnd,
            35 => Self::Report,
            36 => Self::Promise,
            37 => Self::Clock,
            38 => Self::Held,
            39 => Self::Admitted,
            40 => Self::HandleKeyRotate,
            _ => return None,
        })
    }

    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }
}

/// Why the callee did not do it (docs/protocol/control.md §0).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No AUTH has succeeded on this connection.
    #[error("the connection is not authenticated")]
    NotAuthenticated,
    /// The MAC is wrong: another cluster key, or one of another role.
    #[error("the MAC does not match: another cluster key, or a key of another role")]
    BadMac,
    /// The version in HELLO is not spoken.
    #[error("the version is not spoken")]
    BadVersion,
    /// This kind of node may not call this procedure, or this data server not for another one.
    #[error("this node may not call this procedure, or not for another one")]
    WrongPeer,
    /// This metadata server does not lead.
    #[error("not the leader; it is {leader:?}")]
    NotLeader {
        /// Control address of the leader, or empty.
        leader: String,
    },
    /// The data server must register again.
    #[error("not registered")]
    RegisterAgain,
    /// The callee's disk failed.
    #[error("the other side's disk failed")]
    Io,
    /// Not now.
    #[error("busy")]
    Busy,
    /// An argument makes no sense.
    #[error("an argument makes no sense")]
    Invalid,
    /// The caller is not the extent's home.
    #[error("not the extent's home")]
    NotHome,
    /// The extent is at a higher epoch.
    #[error("the extent is at a higher epoch")]
    Stale,
    /// The callee was started again since ATTACH.
    #[error("not attached")]
    AttachAgain,
    /// The callee is full.
    #[error("no room")]
    NoSpace,
    /// The callee has no such image, or not whole.
    #[error("no such image")]
    NoImage,
}

impl Refusal {
    fn number(&self) -> u32 {
        match self {
            Self::NotAuthenticated => 1,
            Self::BadMac => 2,
            Self::BadVersion => 3,
            Self::WrongPeer => 4,
            Self::NotLeader { .. } => 5,
            Self::RegisterAgain => 6,
            Self::Io => 7,
            Self::Busy => 8,
            Self::Invalid => 9,
            Self::NotHome => 10,
            Self::Stale => 11,
            Self::AttachAgain => 12,
            Self::NoSpace => 13,
            Self::NoImage => 14,
        }
    }
}

/// Writes a reply: its status, then its body if there is one.
pub fn put_reply<T: Encode>(w: &mut Writer, reply: &Result<T, Refusal>) {
    match reply {
        Ok(body) => {
            w.u32(0);
            body.encode(w);
        }
        Err(refusal) => {
            w.u32(refusal.number());
            if let Refusal::NotLeader { leader } = refusal {
                w.string(leader);
            }
        }
    }
}

/// Reads a whole reply.
///
/// # Errors
/// Any [`XdrError`], bytes left over included. The inner error is the callee's refusal.
pub fn decode_reply<T: Decode>(bytes: Bytes) -> Result<Result<T, Refusal>, XdrError> {
    let mut r = Reader::new(bytes);
    let refusal = match r.u32()? {
        0 => {
            let body = T::decode(&mut r)?;
            r.finish()?;
            return Ok(Ok(body));
        }
        1 => Refusal::NotAuthenticated,
        2 => Refusal::BadMac,
        3 => Refusal::BadVersion,
        4 => Refusal::WrongPeer,
        5 => Refusal::NotLeader { leader: text(&mut r, "leader")? },
        6 => Refusal::RegisterAgain,
        7 => Refusal::Io,
        8 => Refusal::Busy,
        9 => Refusal::Invalid,
        10 => Refusal::NotHome,
        11 => Refusal::Stale,
        12 => Refusal::AttachAgain,
        13 => Refusal::NoSpace,
        14 => Refusal::NoImage,
        value => return Err(XdrError::BadDiscriminant { what: "control status", value }),
    };
    r.finish()?;
    Ok(Err(refusal))
}

/// Reads the whole of a call's arguments.
///
/// # Errors
/// Any [`XdrError`], bytes left over included.
pub fn decode_args<T: Decode>(bytes: Bytes) -> Result<T, XdrError> {
    let mut r = Reader::new(bytes);
    let args = T::decode(&mut r)?;
    r.finish()?;
    Ok(args)
}

/// Writes a value as one run of bytes.
#[must_use]
pub fn encoded<T: Encode>(value: &T) -> Bytes {
    let mut w = Writer::new();
    value.encode(&mut w);
    w.into_bytes()
}

/// A body or arguments without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nothing;

impl Decode for Nothing {
    fn decode(_: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self)
    }
}

impl Encode for Nothing {
    fn encode(&self, _: &mut Writer) {}
}

/// Reads an address or another short text.
fn text(r: &mut Reader, field: &'static str) -> Result<String, XdrError> {
    let bytes = r.string(limits::ADDRESS_BYTES_MAX)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| XdrError::Invalid { field })
}

#[cfg(test)]
mod tests;
