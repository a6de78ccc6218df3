//! The namespace: inodes, names, attributes and the location of content, over an ordered key-value
//! store.
//!
//! Knows no NFS and no network. Every operation is a function of a store, a caller and a time, and
//! the only implementation of its POSIX semantics. docs/formats/namespace.md draws the store's
//! content.
//!
//! INVARIANT: an operation that returns an error has written nothing.
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
