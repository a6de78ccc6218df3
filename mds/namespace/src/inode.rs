//! Inodes: identity, kind, attributes, and location of the content.
//!
//! Knows no NFS type and no store: `codec` encodes an inode, `op/*` changes it.
//!
//! INVARIANT: an inode number is never assigned twice; `generation` only guards against a restored
//! backup.

use serde::{Deserialize, Serialize};

/// Inode number: the owning shard in the top 16 bits, a sequence below (docs/formats/namespace.md).
pub type Ino = u64;

/// Bits of an inode number below its shard.
pub const SEQUENCE_BITS: u32 = 48;

/// The shard that an inode number belongs to.
#[must_use]
pub const fn shard_of(ino: Ino) -> u16 {
    let [high, low, ..] = ino.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The first number of a shard: of inodes, work items and groups.
#[must_use]
pub const fn first_of_shard(shard: u16) -> u64 {
    ((shard as u64) << SEQUENCE_BITS) + 1
}

/// The root directory of a file system: shard 0, sequence 1.
pub const ROOT_INO: Ino = 1;

/// Every bit a mode can have.
pub const MODE_MASK: u32 = 0o7777;
/// Set-user-id.
pub const MODE_SET_UID: u32 = 0o4000;
/// Set-group-id; on a directory: new objects get its group.
pub const MODE_SET_GID: u32 = 0o2000;
/// On a directory: only owners remove and rename.
pub const MODE_STICKY: u32 = 0o1000;
/// The group may execute.
pub(crate) const MODE_GROUP_EXECUTE: u32 = 0o0010;

const _: () = assert!(SEQUENCE_BITS + u16::BITS == Ino::BITS, "shard and sequence fill a number");
const _: () = assert!(first_of_shard(0) == ROOT_INO, "the root is the first inode of shard 0");
const _: () = assert!(shard_of(first_of_shard(u16::MAX)) == u16::MAX, "each shard has its numbers");
const _: () = assert!((MODE_SET_UID | MODE_SET_GID | MODE_STICKY) & !MODE_MASK == 0, "modes");

/// A point in time: whole seconds since 1970 and nanoseconds below one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z; may be negative.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// Converts nanoseconds since 1970.
    #[must_use]
    pub fn from_unix_ns(unix_ns: u64) -> Self {
        let seconds = i64::try_from(unix_ns / 1_000_000_000).expect("2^64 ns in seconds fits i64");
        let nanos = u32::try_from(unix_ns % 1_000_000_000).expect("a remainder below 10^9 fits u32");
        Self { seconds, nanos }
    }
}

/// The kind of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link; its target is stored beside the inode.
    Symlink,
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A character device.
    Character {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// The kind without its device numbers.
    #[must_use]
    pub fn file_type(self) -> FileType {
        match self {
            Self::Regular => FileType::Regular,
            Self::Directory => FileType::Directory,
            Self::Symlink => FileType::Symlink,
            Self::Block { .. } => FileType::Block,
            Self::Character { .. } => FileType::Character,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }
}

/// A [`Kind`] without its device numbers, as directory entries have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileType {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    /// Its number in the store (docs/formats/namespace.md); NFS numbers its types the same way.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::Block => 3,
            Self::Character => 4,
            Self::Symlink => 5,
            Self::Socket => 6,
            Self::Fifo => 7,
        }
    }

    /// The type of a number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::Block,
            4 => Self::Character,
            5 => Self::Symlink,
            6 => Self::Socket,
            7 => Self::Fifo,
            _ => return None,
        })
    }
}

/// Location of a regular file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// In the metadata store, beside the inode (an empty file, too). Never more than
    /// `limits::INLINE_BYTES_MAX`.
    Inline,
    /// In extents on data servers. A file never returns to `Inline`.
    Extents,
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// Inode number.
    pub ino: Ino,
    /// Guards handles against a restored backup.
    pub generation: u32,
    /// Kind of object.
    pub kind: Kind,
    /// Permission bits, set-id bits and sticky bit: the low 12 bits of a mode.
    pub mode: u32,
    /// Names of this inode; a directory counts its own `.` and its children's `..`.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Logical length in bytes (a symlink: of its target; a directory: number of entries).
    pub size_bytes: u64,
    /// Bytes the content takes, as far as the metadata server knows.
    pub used_bytes: u64,
    /// Grows with every change of content or attributes (RFC 8881 §5.8.1.4).
    pub change: u64,
    /// Last access, as set explicitly or recorded (`op::access_time`).
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// A directory's parent; the root names itself. Zero for everything else.
    pub parent: Ino,
    /// Location of the bytes (regular files).
    pub content: Content,
}

impl Inode {
    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether this is a regular file.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.kind == Kind::Regular
    }

    /// When content, attributes, links or name last changed.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        self.mtime.max(self.ctime)
    }

    /// Records a change of attributes, links or name at `now`.
    pub(crate) fn changed(&mut self, now: Timestamp) {
        self.ctime = now;
        self.change += 1;
    }

    /// Records a change of content at `now`.
    pub(crate) fn modified(&mut self, now: Timestamp) {
        self.mtime = now;
        self.changed(now);
    }

    /// Clears the set-id bits, as a write by any user but the superuser does. Set-group-id without
    /// group execution is not a set-id bit.
    pub fn drop_set_id(&mut self) {
        self.mode &= !MODE_SET_UID;
        if self.mode & MODE_GROUP_EXECUTE != 0 {
            self.mode &= !MODE_SET_GID;
        }
    }
}

/// The user of a request, after identity squashing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// User id; 0 is the superuser and passes every permission check except execute on a plain file
    /// without x bits.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub gids: Vec<u32>,
}

impl Caller {
    /// Whether this is the superuser.
    #[must_use]
    pub fn is_superuser(&self) -> bool {
        self.uid == 0
    }

    /// Whether `gid` is the primary or a supplementary group.
    #[must_use]
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.gids.contains(&gid)
    }

    /// Whether the caller has the rights of the owner of `inode`.
    #[must_use]
    pub fn owns(&self, inode: &Inode) -> bool {
        self.is_superuser() || self.uid == inode.uid
    }
}

/// Attributes to set, by SETATTR or on creation. `None` leaves the attribute unchanged (or at its
/// default).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttributes {
    /// New mode (low 12 bits).
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New length in bytes.
    pub size_bytes: Option<u64>,
    /// New access time.
    pub atime: Option<SetTime>,
    /// New modification time.
    pub mtime: Option<SetTime>,
}

/// A time to set: the server's own, or the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetTime {
    /// The time of the command.
    Now,
    /// A given time (only the owner may).
    At(Timestamp),
}

/// An object that was given a name, by creation or by a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The object afterwards.
    pub inode: Inode,
    /// The directory's change counter.
    pub directory: DirectoryChange,
}

/// A directory's change counter around an operation, for `change_info4`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryChange {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

impl DirectoryChange {
    /// The counter around an operation.
    pub(crate) fn between(before: u64, after: u64) -> Self {
        assert!(before <= after, "a change counter never falls");
        Self { before, after }
    }
}
