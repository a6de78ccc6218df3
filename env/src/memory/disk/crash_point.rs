//! The operation at which a disk's power goes, chosen beforehand: a test that nothing is lost
//! runs the same script for each.
//!
//! Operations that change the disk are counted from the disk's creation on. At the chosen one it
//! fails, or the power goes: then nothing that is asked of the disk is ever answered, until
//! [`MemoryDisk::crash`]. While nothing was chosen this only counts.

use std::io;
use std::path::Path;

use super::ahead::{CrashPoint, LostWrites, Operation, Reached};
use super::memory_disk::MemoryDisk;
use super::state::DiskState;

impl MemoryDisk {
    /// Chooses the operation numbered `operation`, counted from 0 since the disk was made; one at a
    /// time.
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

    /// Whether the power went at the chosen operation, and [`crash`](Self::crash) was not called
    /// since.
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
