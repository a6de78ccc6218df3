//! A disk in memory that fails on request: for tests of everything that stores.
//!
//! It keeps two images of each file, what a reader sees and what a power cut leaves, as maps of 4
//! KiB pages. `crash` throws the first away, whole or sector by sector. Names are durable only
//! after `sync_dir`, except directories, which are durable at once.
//!
//! INVARIANT: bytes covered by a sync that answered `Ok` survive every crash.
//! INVARIANT: a handle opened before a crash answers errors after it.

mod ahead;
mod crash_point;
mod file;
mod memory_disk;
mod pages;
mod state;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use self::ahead::{CrashPoint, Operation, Reached};
use self::file::MemoryFile;
pub use self::memory_disk::{Crash, MemoryDisk};
pub use self::state::{Broken, DiskCounts};
use self::state::{DiskState, absent, in_dir};
use crate::disk::Capacity;
use crate::{BoxFuture, Disk, File, OpenMode};

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let (disk, path) = (self.clone(), path.to_path_buf());
        Box::pin(async move {
            let (id, generation) = {
                let will_change =
                    mode.truncate || mode.create && !disk.lock_alive()?.names.contains_key(&path);
                let operation = if will_change { Operation::Name } else { Operation::Look };
                disk.act(operation, &path, |state| state.open(&path, mode)).await?
            };
            let file: Arc<dyn File> = Arc::new(MemoryFile::new(disk, id, generation, mode.write));
            Ok(file)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        let (disk, path) = (self.clone(), path.to_path_buf());
        Box::pin(async move {
            let remove =
                |state: &mut DiskState| state.names.remove(&path).map(drop).ok_or_else(|| absent(&path));
            disk.act(Operation::Name, &path, remove).await
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        let (disk, from, to) = (self.clone(), from.to_path_buf(), to.to_path_buf());
        Box::pin(async move {
            let rename = |state: &mut DiskState| {
                let id = state.names.remove(&from).ok_or_else(|| absent(&from))?;
                state.names.insert(to.clone(), id);
                Ok(())
            };
            disk.act(Operation::Name, &from, rename).await
        })
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        let (disk, dir) = (self.clone(), dir.to_path_buf());
        Box::pin(async move {
            let state = disk.lock_alive()?;
            if !state.dirs.contains_key(&dir) {
                return Err(absent(&dir));
            }
            let paths = state.names.keys().chain(state.dirs.keys());
            let inside = paths.filter(|path| in_dir(path, &dir));
            let mut names: Vec<String> =
                inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
            names.sort();
            Ok(names)
        })
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        let (disk, dir) = (self.clone(), dir.to_path_buf());
        Box::pin(async move {
            let mut state = disk.lock_alive()?;
            for above in dir.ancestors() {
                state.dirs.insert(above.to_path_buf(), ());
            }
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        let (disk, dir) = (self.clone(), dir.to_path_buf());
        Box::pin(async move { disk.act(Operation::SyncNames, &dir, |state| state.sync_dir(&dir)).await })
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        let (disk, path) = (self.clone(), path.to_path_buf());
        Box::pin(async move {
            let state = disk.lock_alive()?;
            Ok(state.names.contains_key(&path) || state.dirs.contains_key(&path))
        })
    }

    fn capacity(&self, _dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        let disk = self.clone();
        Box::pin(async move {
            let state = disk.lock_alive()?;
            let total_bytes = state.capacity_bytes;
            Ok(Capacity { total_bytes, free_bytes: total_bytes.saturating_sub(state.used_bytes()) })
        })
    }
}

#[cfg(test)]
mod tests;
