//! The operation at which a disk's power goes, chosen beforehand: whoever tests that nothing is lost runs the same script for each.
//!
//! Operations that change the disk are counted from the disk's creation on. At the chosen one it fails, or the power goes: then nothing
//! that is asked of the disk is ever answered, until [`MemoryDisk::crash`]. While nothing was chosen this only counts.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{DiskState, MemoryDisk};

/// What becomes of the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// It fails and does nothing; the disk goes on.
    Fails,
    /// The power goes before anything of it is done.
    Before,
    /// It is done, and the power goes before anybody hears of it.
    After,
    /// Of a write: it is done and answered, but does not reach the disk, whatever else does; the power goes when the next sync is
    /// asked for. Of a sync: the power goes, and no write of that file that it was to cover reaches the disk, whatever else does. Of
    /// others: as `Before`.
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
    operations: u64,
    chosen: Option<(u64, CrashPoint)>,
    reached: Option<Reached>,
    lost: Option<LostWrites>,
    /// The power goes with the next sync.
    ends_with_sync: bool,
    is_off: bool,
}

impl Ahead {
    /// The power is back; answers what did not reach the disk.
    pub(super) fn crash(&mut self) -> Option<LostWrites> {
        (self.is_off, self.ends_with_sync, self.chosen) = (false, false, None);
        self.lost.take()
    }
}

impl MemoryDisk {
    /// Chooses the operation numbered `operation`, counted from 0 since the disk was made; one at a time.
    pub fn crash_at(&self, operation: u64, point: CrashPoint) {
        let ahead = &mut self.lock().ahead;
        (ahead.chosen, ahead.reached) = (Some((operation, point)), None);
    }

    /// Operations so far that changed the disk.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().ahead.operations
    }

    /// The chosen operation, once it was reached.
    #[must_use]
    pub fn reached(&self) -> Option<Reached> {
        self.lock().ahead.reached.clone()
    }

    /// Whether the power went at the chosen operation, and nobody has called [`crash`](Self::crash) since.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().ahead.is_off
    }

    /// Carries out an operation on names, unless the power goes.
    pub(super) async fn act<T>(
        &self,
        operation: Operation,
        path: &Path,
        act: impl FnOnce(&mut DiskState) -> io::Result<T>,
    ) -> io::Result<T> {
        let done = {
            let mut state = self.lock_alive()?;
            let done = state.reach(operation, None, act);
            if let Some(reached) = &mut state.ahead.reached {
                reached.path.get_or_insert_with(|| path.to_path_buf());
            }
            done
        };
        match done {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

impl DiskState {
    /// Carries out an operation; `None` if the power is off, or goes with it.
    pub(super) fn reach<T>(
        &mut self,
        operation: Operation,
        file: Option<u64>,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let is_sync = matches!(operation, Operation::Sync | Operation::SyncNames);
        self.ahead.is_off |= self.ahead.ends_with_sync && is_sync;
        if self.ahead.is_off {
            return None;
        }
        if operation == Operation::Look {
            return Some(act(self));
        }
        let number = self.ahead.operations;
        self.ahead.operations += 1;
        match self.ahead.chosen {
            Some((chosen, point)) if chosen == number => self.end(point, operation, file, act),
            _ => Some(act(self)),
        }
    }

    fn end<T>(
        &mut self,
        point: CrashPoint,
        operation: Operation,
        file: Option<u64>,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let path = file.and_then(|file| self.names.iter().find(|(_, id)| **id == file));
        let path = path.map(|(path, _)| path.clone());
        self.ahead.reached = Some(Reached { operation, path });
        let writes = |state: &Self| file.map_or(0, |file| state.files[&file].writes());
        let before = writes(self);
        match (point, operation) {
            (CrashPoint::Fails, _) => return Some(Err(io::Error::other("injected by the test"))),
            (CrashPoint::Lost, Operation::Write) => {
                let done = act(self);
                let lost = before..writes(self);
                self.ahead.lost = file.map(|file| LostWrites { file, writes: lost });
                self.ahead.ends_with_sync = true;
                return Some(done);
            }
            (CrashPoint::Lost, Operation::Sync) => {
                self.ahead.lost = file.map(|file| LostWrites { file, writes: 0..before });
            }
            (CrashPoint::After, _) => drop(act(self)),
            (CrashPoint::Before | CrashPoint::Lost, _) => {}
        }
        self.ahead.is_off = true;
        None
    }
}

#[cfg(test)]
mod tests;
