//! Commands about names and attributes: CREATE, LINK, REMOVE, RENAME, SETATTR.
//!
//! Spec: RFC 8881 §18.4, §18.9, §18.25, §18.26, §18.30.

pub use mds_namespace::Truncation;
use mds_namespace::op::settle::Settlement;
use mds_namespace::{Caller, DirectoryChange, Granted, Ino, Inode, Kind, SetAttributes, Timestamp};
use serde::{Deserialize, Serialize};

/// CREATE of anything but a regular file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// The caller.
    pub caller: Caller,
    /// Directory.
    pub directory: Ino,
    /// New name.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// Kind of the object to make.
    pub kind: Kind,
    /// Target of a symlink; empty for everything else.
    #[serde(with = "serde_bytes")]
    pub symlink_target: Vec<u8>,
    /// First attributes.
    pub attributes: SetAttributes,
}

/// LINK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The caller.
    pub caller: Caller,
    /// The file.
    pub ino: Ino,
    /// Directory of the new name.
    pub directory: Ino,
    /// New name.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
}

/// REMOVE of a file or an empty directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// The caller.
    pub caller: Caller,
    /// Directory.
    pub directory: Ino,
    /// Name.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
}

/// Answer to [`Create`], [`Link`] and [`Remove`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryAnswer {
    /// The object concerned, afterwards.
    pub inode: Inode,
    /// The directory's change counter.
    pub directory: DirectoryChange,
}

/// RENAME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// The caller.
    pub caller: Caller,
    /// Old directory.
    pub from_directory: Ino,
    /// Old name.
    #[serde(with = "serde_bytes")]
    pub from_name: Vec<u8>,
    /// New directory.
    pub to_directory: Ino,
    /// New name.
    #[serde(with = "serde_bytes")]
    pub to_name: Vec<u8>,
}

/// Answer to [`Rename`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// Old directory's change counter.
    pub from: DirectoryChange,
    /// New directory's change counter.
    pub to: DirectoryChange,
}

/// SETATTR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttributesOf {
    /// The caller.
    pub caller: Caller,
    /// The object.
    pub ino: Ino,
    /// The attributes to set.
    pub attributes: SetAttributes,
    /// The size may be set, whatever the mode, because the client sent a stateid of a write open
    /// (RFC 8881 §18.30.3).
    pub by_write_open: bool,
}

/// SETATTR of a modification time or mode while clients may be writing the file through layouts.
/// Their earlier writes count first, so that the attributes stay until more is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMeasured {
    /// The attributes to set.
    pub set: SetAttributesOf,
    /// The sizes that the file's primaries reported when the request came.
    pub settlement: Settlement,
    /// For each extent, what was written to it since the log last recorded its size.
    pub written: Vec<Granted>,
}

/// An object was read. Its access time becomes the entry's, if it is still the one that the reader
/// saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accessed {
    /// The object.
    pub ino: Ino,
    /// Its access time when it was read.
    pub seen: Timestamp,
}

/// Answer to [`SetAttributesOf`] and [`SetMeasured`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributesAnswer {
    /// The inode afterwards.
    pub inode: Inode,
    /// Extents the data servers must cut or drop before the reply is sent.
    pub truncated: Option<Truncation>,
}
