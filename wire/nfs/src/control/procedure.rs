//! The procedures of the control program by number; the program's own number and version.
//!
//! Spec: docs/protocol/control.md §1, §2.

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
    /// A primary says how its replicas are, and gets the copies that are in force.
    Copies = 10,
    /// A metadata server has a primary look after its replicas.
    Keep = 11,
    /// A primary begins to send an extent to a replica.
    Attach = 12,
    /// A primary has a replica keep a record.
    Replicate = 13,
    /// A primary has a replica make durable what it took.
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
    /// A primary says that something lies above an image.
    Thaw = 22,
    /// A metadata server makes the callee the primary of an extent of which only the image is left.
    Adopt = 23,
    /// A metadata server asks whether the files of images are there.
    Have = 24,
    /// A primary fetches bytes of an extent that its journal has lost.
    ReadData = 25,
    /// A data server asks whether an extent is at rest, and which image says all of it.
    AtRest = 26,
    /// A replica has its primary say all of an extent again.
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
    /// A primary is about to promise for the first time that bytes of an extent are on stable
    /// storage.
    Promise = 36,
    /// A data server shows its clock, and asks what time it is.
    Clock = 37,
    /// A data server asks whether clients still hold the layouts that handles were made for.
    Held = 38,
    /// A data server asks which addresses exports admit.
    Admitted = 39,
    /// An administrator has the key of data-server handles replaced.
    HandleKeyRotate = 40,
    /// A metadata server has a new primary show that it can read what it is to serve.
    Prove = 41,
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
            41 => Self::Prove,
            _ => return None,
        })
    }

    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }
}
