//! The namespace: inodes, names, attributes and where content lives, over an ordered key-value store.
//!
//! Knows no NFS and no network. Every operation is a function of a store, a caller and a time, and is the only place
//! where its POSIX semantics are written down. What the store holds is drawn in docs/formats/namespace.md.
//!
//! INVARIANT: an operation that answers an error has written nothing.
#![forbid(unsafe_code)]

pub mod codec;
pub mod directory;
pub mod error;
pub mod extent_record;
pub mod inode;
pub mod inode_table;
pub mod invariants;
pub mod keys;
pub mod limits;
pub mod name;
pub mod op;
pub mod sealed;
pub mod store;
pub mod superblock;
pub mod unsettled;
pub mod work;

pub use error::FsError;
pub use extent_record::ExtentRecord;
pub use inode::{
    Caller, Content, DirectoryChange, FileType, Ino, Inode, Kind, ROOT_INO, SetAttributes, SetTime,
    Timestamp, first_of_shard, shard_of,
};
pub use limits::INLINE_BYTES_MAX;
pub use store::{Durability, MetaStore, StoreError, Txn, View};
pub use superblock::Superblock;
pub use unsettled::{Granted, Seen, Unsettled};
pub use work::{Truncation, WorkItem};
