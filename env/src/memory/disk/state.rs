//! The state of a disk in memory: files and names, as readers see them and as a power cut leaves
//! them, and the faults that are to come.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::ahead::Ahead;
use super::pages::FileState;
use crate::OpenMode;

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

#[derive(Debug, Clone)]
pub(super) struct DiskState {
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    pub(super) dirs: BTreeMap<PathBuf, ()>,
    pub(super) files: BTreeMap<u64, FileState>,
    pub(super) file_next: u64,
    /// Raised by every crash; handles of an older one are dead.
    pub(super) generation: u64,
    pub(super) capacity_bytes: u64,
    pub(super) counts: DiskCounts,
    pub(super) faults: Vec<Fault>,
    /// What fails from now on, whatever it is asked for.
    pub(super) broken: Broken,
    /// What is not answered for now.
    pub(super) silent: Broken,
    /// Turns of the scheduler that a write and a sync take.
    pub(super) turns: (u32, u32),
    /// Writes and syncs left before the power goes; `None`: it stays on.
    pub(super) power_left: Option<u64>,
    /// What changes the disk is counted, and one of these operations may be the last.
    pub(super) ahead: Ahead,
}

#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) on: FaultOn,
    /// Calls still to let through.
    pub(super) after: u64,
    pub(super) kind: io::ErrorKind,
}

/// What a broken disk answers with an I/O error, again and again, also after a
/// [`MemoryDisk::crash`](super::MemoryDisk::crash); or a silent one not at all.
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

    pub(super) fn has(self, on: FaultOn) -> bool {
        match on {
            FaultOn::Read => self.reads,
            FaultOn::Write => self.writes,
            FaultOn::Sync => self.syncs,
            FaultOn::Allocate => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultOn {
    Write,
    Sync,
    Read,
    Allocate,
}

impl DiskState {
    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(FileState::len).sum()
    }

    /// Counts an operation against faults and power.
    pub(super) fn admit(&mut self, on: FaultOn) -> io::Result<()> {
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
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<(u64, u64)> {
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
    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
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

    /// Drops files that no name leads to, now or after a crash, and that cannot be open.
    pub(super) fn forget_nameless(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        self.files.retain(|id, _| names.values().chain(durable.values()).any(|known| known == id));
    }
}

pub(super) fn absent(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

pub(super) fn in_dir(path: &Path, dir: &Path) -> bool {
    path.parent() == Some(dir)
}
