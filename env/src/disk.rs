//! Files as two traits: [`Disk`] names them, [`File`] moves their bytes.
//!
//! Positions are always given, there is no file cursor. A returned future owns what it needs, so
//! dropping it early is safe: the operation then either runs or never starts, and its buffers live
//! until it is over. Nothing is durable until `sync_data` (bytes) or `sync_dir` (names) has
//! returned `Ok`.
//!
//! INVARIANT: operations whose futures overlap in time may run in any order; one awaited before
//! another is started is seen by it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::BoxFuture;
use crate::limits::ZERO_FILL_BYTES;

/// How [`Disk::open`] treats the file. Files are always readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// The file may be written.
    pub write: bool,
    /// An absent file is made (needs `write`).
    pub create: bool,
    /// With `create`: a present file is an error of kind `AlreadyExists`.
    pub exclusive: bool,
    /// A present file is cut to nothing (needs `write`).
    pub truncate: bool,
}

impl OpenMode {
    /// Opens a present file for reading only.
    pub const READ: Self = Self { write: false, create: false, exclusive: false, truncate: false };
    /// Opens a present file for reading and writing.
    pub const WRITE: Self = Self { write: true, ..Self::READ };
    /// Opens or makes a file.
    pub const CREATE: Self = Self { create: true, ..Self::WRITE };
    /// Makes a file that must not be there yet.
    pub const CREATE_NEW: Self = Self { exclusive: true, ..Self::CREATE };
}

/// Room of the file system under a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Size of the file system.
    pub total_bytes: u64,
    /// What may still be written.
    pub free_bytes: u64,
}

/// A place for files.
///
/// # Errors
/// Every method answers what the operating system said.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>>;

    /// Removes a file's name. Its bytes live on while it is open.
    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>>;

    /// Renames a file, replacing what had the new name.
    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>>;

    /// The names in a directory, sorted. Names that are not UTF-8 are left out: nothing of ours has
    /// one.
    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>>;

    /// Makes a directory and those above it; makes those names durable too.
    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>>;

    /// Makes creations, removals and renames inside `dir` durable.
    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>>;

    /// Whether a file or directory has this name.
    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>>;

    /// Room of the file system under `dir`.
    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>>;
}

/// An open file.
///
/// # Errors
/// Every method answers what the operating system said. After an error of a write or a sync the
/// content of the bytes concerned is unknown: a later successful sync does not mean they are
/// durable.
#[allow(clippy::len_without_is_empty, reason = "the length is asked of the system, and may fail")]
pub trait File: Send + Sync {
    /// Writes all of `data`, one buffer after the other, from `offset` on.
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>>;

    /// Writes all of `data`, then syncs: one submission where the back end can link the two.
    fn write_at_and_sync(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>>;

    /// Reads `len` bytes from `offset` on; fewer only where the file ends.
    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>>;

    /// Makes every byte written before this call durable, and the metadata needed to read it back.
    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>>;

    /// Reserves room for a range and grows the file over it. Bytes never written read as zero.
    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>>;

    /// Cuts or grows the file.
    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>>;

    /// The file's length in bytes.
    fn len(&self) -> BoxFuture<'static, io::Result<u64>>;

    /// The room that the file takes of the disk, in bytes: what was written or reserved, and not
    /// given back.
    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>>;

    /// Starts writing a range back to the device without waiting for it. Best effort and no
    /// promise: it only makes a later sync shorter.
    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>>;

    /// Gives a range's room back; it reads as zero after. The file's length stays.
    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>>;
}

/// Writes zeros over a range, so that its blocks are allocated *and* written: later overwrites then
/// change no file system metadata, and a sync is one device flush. Not synced.
///
/// # Errors
/// What the first failed write answered.
pub async fn zero_fill(file: &dyn File, offset: u64, len: u64) -> io::Result<()> {
    static ZEROS: [u8; ZERO_FILL_BYTES] = [0; ZERO_FILL_BYTES];
    let mut at = offset;
    let end = offset + len;
    while at < end {
        let step = (end - at).min(ZERO_FILL_BYTES as u64);
        let chunk = Bytes::from_static(&ZEROS[..usize::try_from(step).expect("bounded by ZERO_FILL_BYTES")]);
        file.write_at(vec![chunk], at).await?;
        at += step;
    }
    Ok(())
}
