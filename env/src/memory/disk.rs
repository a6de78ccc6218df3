//! A disk in memory that fails on request: for tests of everything that stores.
//!
//! It keeps two images of each file, what a reader sees and what a power cut leaves, as maps of 4 KiB pages. `crash`
//! throws the first away, whole or sector by sector. Names are durable only after `sync_dir`, except directories,
//! which are durable at once.
//!
//! INVARIANT: bytes covered by a sync that answered `Ok` survive every crash.
//! INVARIANT: a handle opened before a crash answers errors after it.

mod crash_point;
mod file;
mod pages;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::crash_point::Ahead;
pub use self::crash_point::{CrashPoint, Operation, Reached};
use self::file::MemoryFile;
use self::pages::FileState;
use super::entropy::splitmix64;
use crate::disk::Capacity;
use crate::{BoxFuture, Disk, File, OpenMode};

/// What a crash leaves of bytes that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing.
    Drop,
    /// Everything: the page cache had just been written back.
    Keep,
    /// Each 512 B sector of each unsynced write survives or not by a coin toss from `seed`, so writes are torn and
    /// reordered.
    Tear {
        /// Where the coin tosses start.
        seed: u64,
    },
}

/// How often the disk was asked to do what, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskCounts {
    /// Write calls (a write with sync counts here and in `syncs`).
    pub writes: u64,
    /// Bytes of those writes.
    pub write_bytes: u64,
    /// Sync calls for bytes.
    pub syncs: u64,
    /// Read calls.
    pub reads: u64,
    /// Bytes of those reads.
    pub read_bytes: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    state: Arc<Mutex<DiskState>>,
    /// The generation this handle dies with; `None`: it survives crashes.
    mounted: Option<u64>,
}

#[derive(Debug, Clone)]
struct DiskState {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    dirs: BTreeMap<PathBuf, ()>,
    files: BTreeMap<u64, FileState>,
    file_next: u64,
    /// Raised by every crash; handles of an older one are dead.
    generation: u64,
    capacity_bytes: u64,
    counts: DiskCounts,
    faults: Vec<Fault>,
    /// What fails from now on, whatever it is asked for.
    broken: Broken,
    /// What is not answered for now.
    silent: Broken,
    /// Turns of the scheduler that a write and a sync take.
    turns: (u32, u32),
    /// Writes and syncs left before the power goes; `None`: it stays on.
    power_left: Option<u64>,
    /// What changes the disk is counted, and one of these operations may be the last.
    ahead: Ahead,
}

#[derive(Debug, Clone)]
struct Fault {
    on: FaultOn,
    /// Calls still to let through.
    after: u64,
    kind: io::ErrorKind,
}

/// What a broken disk answers with an I/O error, again and again, also after a
/// [`MemoryDisk::crash`]; or a silent one not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Broken {
    /// Reads of files.
    pub reads: bool,
    /// Writes to files.
    pub writes: bool,
    /// Syncs of files.
    pub syncs: bool,
}

impl Broken {
    /// Nothing works.
    pub const ALL: Self = Self { reads: true, writes: true, syncs: true };

    fn has(self, on: FaultOn) -> bool {
        match on {
            FaultOn::Read => self.reads,
            FaultOn::Write => self.writes,
            FaultOn::Sync => self.syncs,
            FaultOn::Allocate => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultOn {
    Write,
    Sync,
    Read,
    Allocate,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty disk without a size limit.
    pub fn new() -> Self {
        Self::with_capacity(u64::MAX)
    }

    /// An empty disk on which file lengths may sum up to `capacity_bytes`; more answers `StorageFull`.
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        let state = DiskState {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            dirs: BTreeMap::new(),
            files: BTreeMap::new(),
            file_next: 1,
            generation: 0,
            capacity_bytes,
            counts: DiskCounts::default(),
            faults: Vec::new(),
            broken: Broken::default(),
            silent: Broken::default(),
            turns: (1, 1),
            power_left: None,
            ahead: Ahead::default(),
        };
        Self { state: Arc::new(Mutex::new(state)), mounted: None }
    }

    /// The same disk for a program that is to die with the next crash: whatever of it still runs afterwards gets errors.
    pub fn mount(&self) -> Self {
        let generation = self.lock().generation;
        Self { state: Arc::clone(&self.state), mounted: Some(generation) }
    }

    /// Changes the size limit.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.lock().capacity_bytes = capacity_bytes;
    }

    /// Cuts the power and turns it on again: open handles are dead, unsynced bytes fare as `crash` says, names that
    /// were not synced are undone. Pending faults are forgotten.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.lock();
        state.generation += 1;
        state.power_left = None;
        state.faults.clear();
        let lost = state.ahead.crash();
        let mut seed = match crash {
            Crash::Tear { seed } => seed,
            Crash::Drop | Crash::Keep => 0,
        };
        for (id, file) in &mut state.files {
            lost.iter().filter(|lost| lost.file == *id).for_each(|lost| file.lose(&lost.writes));
            file.crash(|| match crash {
                Crash::Drop => false,
                Crash::Keep => true,
                Crash::Tear { .. } => splitmix64(&mut seed) & 1 == 1,
            });
        }
        if crash == Crash::Keep {
            state.durable_names = state.names.clone();
        } else {
            state.names = state.durable_names.clone();
        }
        state.forget_nameless();
    }

    /// Another disk: what this one would be after a crash now. This one goes on.
    pub fn after_crash(&self, crash: Crash) -> Self {
        let copy = Self { state: Arc::new(Mutex::new(self.lock().clone())), mounted: None };
        copy.crash(crash);
        copy
    }

    /// Lets `after` more writes and syncs (together) succeed; from then on all of them fail until [`crash`](Self::crash).
    pub fn cut_power_after(&self, after: u64) {
        self.lock().power_left = Some(after);
    }

    /// Breaks the disk, or mends it.
    pub fn set_broken(&self, broken: Broken) {
        self.lock().broken = broken;
    }

    /// Keeps calls of these kinds waiting, or lets them go on.
    pub fn set_silent(&self, silent: Broken) {
        self.lock().silent = silent;
    }

    /// Returns when the disk answers such a call.
    async fn answers(&self, on: FaultOn) {
        while self.lock().silent.has(on) {
            tokio::task::yield_now().await;
        }
    }

    /// Lets `after` more writes succeed and fails the next one, once, having written nothing.
    pub fn fail_write(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Write, after, kind });
    }

    /// Lets `after` more syncs succeed and fails the next one, once.
    pub fn fail_sync(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Sync, after, kind });
    }

    /// Lets `after` more reads succeed and fails the next one, once.
    pub fn fail_read(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Read, after, kind });
    }

    /// Lets `after` more reservations of room succeed and fails the next one, once.
    pub fn fail_allocate(&self, after: u64, kind: io::ErrorKind) {
        self.lock().faults.push(Fault { on: FaultOn::Allocate, after, kind });
    }

    /// Flips bits of a file behind its owner's back, durably: byte at `offset` becomes itself XOR `mask`.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn corrupt(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.lock();
        let id = *state.names.get(path).expect("the test corrupts a file that exists");
        state.files.get_mut(&id).expect("a name leads to a file").corrupt(offset, mask);
    }

    /// Makes each write and each sync take so many turns of the scheduler (1 each at first), so that they overlap with
    /// others in other ways.
    pub fn set_turns(&self, write: u32, sync: u32) {
        self.lock().turns = (write, sync);
    }

    /// What was done so far, since creation.
    pub fn counts(&self) -> DiskCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        // A test that panicked while holding the lock is over; others may go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryDisk {
    fn lock_alive(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let state = self.lock();
        match self.mounted {
            Some(generation) if generation != state.generation => {
                Err(io::Error::other("this handle is from before the crash"))
            }
            _ => Ok(state),
        }
    }
}

impl DiskState {
    fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(FileState::len).sum()
    }

    /// Counts an operation against faults and power.
    fn admit(&mut self, on: FaultOn) -> io::Result<()> {
        if matches!(on, FaultOn::Write | FaultOn::Sync)
            && let Some(left) = &mut self.power_left
        {
            if *left == 0 {
                return Err(io::Error::other("the power is off"));
            }
            *left -= 1;
        }
        if self.broken.has(on) {
            return Err(io::Error::other("Input/output error (os error 5)"));
        }
        let mut hit = None;
        for (index, fault) in self.faults.iter_mut().enumerate().filter(|(_, fault)| fault.on == on) {
            match fault.after {
                0 => hit = hit.or(Some(index)),
                _ => fault.after -= 1,
            }
        }
        match hit {
            Some(index) => Err(io::Error::new(self.faults.remove(index).kind, "injected by the test")),
            None => Ok(()),
        }
    }

    /// Finds or makes a file; answers its number and the generation of its handle.
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<(u64, u64)> {
        let id = match self.names.get(path) {
            Some(_) if mode.create && mode.exclusive => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is there"));
            }
            Some(id) => *id,
            None if mode.create => {
                let known = path.parent().is_some_and(|dir| self.dirs.contains_key(dir));
                if !known {
                    return Err(absent(path));
                }
                let id = self.file_next;
                self.file_next += 1;
                self.files.insert(id, FileState::default());
                self.names.insert(path.to_path_buf(), id);
                id
            }
            None => return Err(absent(path)),
        };
        if mode.truncate {
            self.files.get_mut(&id).ok_or_else(|| absent(path))?.set_len(0);
        }
        Ok((id, self.generation))
    }

    /// Makes the names in a directory durable.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        if !self.dirs.contains_key(dir) {
            return Err(absent(dir));
        }
        self.admit(FaultOn::Sync)?;
        let inside = self.names.iter().filter(|(path, _)| in_dir(path, dir));
        let inside: Vec<(PathBuf, u64)> = inside.map(|(path, id)| (path.clone(), *id)).collect();
        self.durable_names.retain(|path, _| !in_dir(path, dir));
        self.durable_names.extend(inside);
        Ok(())
    }

    /// Drops files that no name leads to, now or after a crash, and that nobody can have open.
    fn forget_nameless(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        self.files.retain(|id, _| names.values().chain(durable.values()).any(|known| known == id));
    }
}

fn absent(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

fn in_dir(path: &Path, dir: &Path) -> bool {
    path.parent() == Some(dir)
}

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
