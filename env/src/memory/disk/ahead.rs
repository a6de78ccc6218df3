//! Operations of a disk, counted, and the one that was chosen to fail or to end with a power cut.
//!
//! Only the record: `crash_point` carries operations out by it.

use std::ops::Range;
use std::path::PathBuf;

/// What becomes of the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// It fails and does nothing; the disk goes on.
    Fails,
    /// The power goes before anything of it is done.
    Before,
    /// It is done, and the power goes before that is answered.
    After,
    /// Of a write: it is done and answered, but does not reach the disk, whatever else does; the
    /// power goes when the next sync is asked for. Of a sync: the power goes, and no write of that
    /// file that it was to cover reaches the disk, whatever else does. Of others: as `Before`.
    Lost,
}

/// A chosen operation that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// What it was.
    pub operation: Operation,
    /// The file or directory it was about, if that has a name.
    pub path: Option<PathBuf>,
}

/// What is asked of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Bytes of a file are written.
    Write,
    /// A file's bytes are made durable.
    Sync,
    /// A name is made, changed or removed, or a file is cut to nothing.
    Name,
    /// The names of a directory are made durable.
    SyncNames,
    /// A file's length or room is changed.
    Room,
    /// Nothing is changed; not counted.
    Look,
}

/// Writes that do not reach the disk.
#[derive(Debug, Clone)]
pub(super) struct LostWrites {
    pub(super) file: u64,
    pub(super) writes: Range<u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ahead {
    pub(super) operations: u64,
    pub(super) chosen: Option<(u64, CrashPoint)>,
    pub(super) reached: Option<Reached>,
    pub(super) lost: Option<LostWrites>,
    /// The power goes with the next sync.
    pub(super) ends_with_sync: bool,
    pub(super) is_off: bool,
}

impl Ahead {
    /// The power is back; answers what did not reach the disk.
    pub(super) fn crash(&mut self) -> Option<LostWrites> {
        (self.is_off, self.ends_with_sync, self.chosen) = (false, false, None);
        self.lost.take()
    }
}
