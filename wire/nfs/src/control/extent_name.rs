//! The name of an extent in arguments and bodies.
//!
//! Spec: docs/protocol/control.md §3.

use wire_xdr::xdr_struct;

/// Names an extent: inode number and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtentName {
    /// Inode number of the file.
    pub ino: u64,
    /// Which 64 MiB of it.
    pub index: u32,
}

xdr_struct! { ExtentName { ino, index } }
