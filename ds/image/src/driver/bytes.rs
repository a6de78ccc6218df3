//! Where the bytes of an image's file come from: the file itself, another server, or a computation.
//!
//! INVARIANT: a reader compares what comes through this with hashes it knows; nothing here is
//! believed.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use env::{BoxFuture, File};

/// The bytes of one image's file, wherever they are.
pub trait ImageBytes: Send + Sync {
    /// Bytes of the file.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    fn file_bytes(&self) -> BoxFuture<'static, io::Result<u64>>;

    /// Reads `length` bytes from `offset` on; fewer only where the file ends.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'static, io::Result<Bytes>>;
}

/// A file of this machine.
pub(super) struct LocalBytes(pub(super) Arc<dyn File>);

impl ImageBytes for LocalBytes {
    fn file_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        self.0.read_at(offset, length)
    }
}
