//! The data server's store: extents of files over a journal that is only appended to.
//!
//! Knows extents, epochs and bytes; no NFS, no handle, no client. An index in memory says which
//! record of the journal holds each byte; it is rebuilt from the headers of the records when the
//! store is opened. Segments of the journal with little left alive are emptied by copying, and
//! dropped. Older bytes of an extent may live in an image: the journal says which, and who opens
//! the store says how to read it.
//!
//! INVARIANT: bytes whose WRITE or COMMIT was answered as synced survive a crash; a byte is never
//! answered wrong: what does not check is an error.
//! Spec: docs/formats/journal.md; docs/protocol/control.md §3; docs/protocol/replicate.md;
//! docs/protocol/seal.md.

#![forbid(unsafe_code)]

mod adopt;
mod claim;
mod compact;
mod control;
mod copy;
mod driver;
mod error;
mod extent;
mod forgotten;
mod image;
mod image_source;
mod index;
pub mod limits;
mod manifest;
mod open;
mod pieces;
mod read;
mod record;
mod rest;
mod ripe;
mod scrub;
mod seal;
mod segments;
mod space;
mod store;
mod structure;
mod superblock;
mod superblock_files;
mod sync;
mod thaw;
mod write;

pub use claim::Claim;
pub use control::ExtentSize;
pub use copy::{Overlay, Run, Said};
pub use error::{ChangeError, OpenError, ReadError};
pub use image_source::{ImageReadError, ImageSource, NoImages};
pub use layout::ec::{ImageRef, ImageRefError};
pub use read::Found;
pub use record::RecordError;
pub use ripe::Ripe;
pub use scrub::{BadRun, Checked};
pub use store::{Store, StoreConfig, StoreUsage};
pub use superblock::SuperblockError;
pub use wal::LogEnd;
pub use write::{Stability, Ticket};

#[cfg(test)]
mod tests;
