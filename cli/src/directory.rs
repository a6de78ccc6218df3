//! The directory of a server: locked while it runs, and what a whole cluster's directory says about
//! how it was made.
//!
//! ```text
//! DIR/lock          locked by the running process; holds its number
//! DIR/cluster.toml  how the cluster was made (`serve` only)
//! DIR/cluster.key   the secret its nodes share (`serve` only)
//! DIR/mds/1..       a metadata replica each
//! DIR/ds/1..        a data server each
//! ```
//!
//! INVARIANT: at most one process works in a directory; the lock goes with the process, however it
//! ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::modes;

const LOCK: &str = "lock";
const MADE: &str = "cluster.toml";
const MADE_VERSION: u32 = 1;
/// Bytes in which the system counts a file's blocks.
const DISK_BLOCK_BYTES: u64 = 512;

/// A directory that no other process works in, as long as this lives.
///
/// INVARIANT: a directory that was absent or empty before is so again afterwards, unless what is in
/// it is [kept](Self::keep).
#[derive(Debug)]
pub(crate) struct Locked {
    file: File,
    dir: PathBuf,
    /// What it was before, and is to be again; `None` if it stays as it is.
    before: Option<Before>,
}

/// A directory before it was locked.
#[derive(Debug)]
struct Before {
    /// The directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
}

impl Locked {
    /// What is in the directory stays, whatever happens: a server is about to write what must not
    /// be lost.
    pub(crate) fn keep(&mut self) {
        self.before = None;
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let Some(Before { made }) = self.before.take() else { return };
        // All of it is of this process: it was empty, and locked since. What cannot be removed
        // stays.
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let _ = if is_dir { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
        for dir in made.iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Makes the directory if it is not there, and locks it. It and all that is in it, now and later,
/// is this user's alone.
///
/// # Errors
/// If it cannot be made or written, or another process works in it.
pub(crate) fn lock(dir: &Path) -> anyhow::Result<Locked> {
    env::os::keep_files_private();
    let is_absent = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let mut made: Vec<PathBuf> = dir.ancestors().take_while(is_absent).map(Path::to_path_buf).collect();
    made.reverse();
    let is_empty = |dir: &Path| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    let before = (!made.is_empty() || is_empty(dir)).then_some(Before { made });
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let path = dir.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("{} is in use by another shoal{}", dir.display(), holder(&mut file))
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
        }
    }
    let locked = Locked { file, dir: dir.to_path_buf(), before };
    modes::make_private(dir).with_context(|| format!("{} cannot be made private", dir.display()))?;
    locked.file.set_len(0)?;
    writeln!(&locked.file, "{}", std::process::id())?;
    Ok(locked)
}

/// Names the process that holds a lock, if its file tells.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let told = file.take(32).read_to_string(&mut text).is_ok();
    match text.trim().parse::<u32>() {
        Ok(process) if told => format!(" (process {process})"),
        Ok(_) | Err(_) => String::new(),
    }
}

/// How a whole cluster's directory was made. Only the number of data servers may change, and only
/// upwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    /// Version of this file.
    version: u32,
    /// Data servers.
    pub(crate) data_servers: u16,
    /// Metadata replicas.
    pub(crate) replicas: u8,
    /// Loopback ports on which the replicas talk to each other, in the order of their numbers;
    /// empty for one replica.
    #[serde(default)]
    pub(crate) replica_ports: Vec<u16>,
}

impl Made {
    /// How a directory is made now.
    pub(crate) fn new(data_servers: u16, replicas: u8, replica_ports: Vec<u16>) -> Self {
        Self { version: MADE_VERSION, data_servers, replicas, replica_ports }
    }

    /// Reads how a directory was made; `None` for a new one.
    ///
    /// # Errors
    /// If the file cannot be read or is none of ours.
    pub(crate) fn load(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(MADE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let made: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        if made.version != MADE_VERSION {
            bail!("{}: version {} is not known to this shoal", path.display(), made.version);
        }
        Ok(Some(made))
    }

    /// Writes it durably: the old file or the new one is there, never a part.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn store(&self, dir: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self)?;
        let (fresh, path) = (dir.join("cluster.toml.new"), dir.join(MADE));
        let mut file = File::create(&fresh)?;
        writeln!(file, "# Written by shoal: how this directory was made. Do not edit.\n{text}")?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()?;
        Ok(())
    }
}

/// Bytes that the files under a directory take on the disk; 0 if it is not there.
pub(crate) fn bytes_on_disk(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * DISK_BLOCK_BYTES,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let refused = lock(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        drop(held);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn what_is_not_kept_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        let fill = |at: &Path| {
            std::fs::create_dir_all(at.join("mds/1")).unwrap();
            std::fs::write(at.join("mds/1/file"), b"bytes").unwrap();
            std::fs::write(at.join("cluster.key"), b"key").unwrap();
        };
        let held = lock(&inner).unwrap();
        fill(&inner);
        drop(held);
        assert!(!dir.path().join("a").exists(), "what was made for it is gone, too");
        assert!(dir.path().exists());
        let mut held = lock(&inner).unwrap();
        fill(&inner);
        held.keep();
        drop(held);
        assert!(inner.join("cluster.key").exists());
        drop(lock(&inner).unwrap());
        assert!(inner.join("mds/1/file").exists(), "it was not empty");
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let held = lock(&empty).unwrap();
        fill(&empty);
        lock(&empty).unwrap_err();
        assert!(empty.join("cluster.key").exists(), "one that is refused the lock removes nothing");
        drop(held);
        assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    }

    #[test]
    fn how_a_directory_was_made_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Made::load(dir.path()).unwrap(), None);
        let made = Made::new(6, 3, vec![1, 2, 3]);
        made.store(dir.path()).unwrap();
        assert_eq!(Made::load(dir.path()).unwrap(), Some(made));
        std::fs::write(dir.path().join(MADE), "version = 2\ndata_servers = 1\nreplicas = 1\n").unwrap();
        assert!(Made::load(dir.path()).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn files_count_with_what_they_take() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(bytes_on_disk(&dir.path().join("absent")), 0);
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), vec![1; 10_000]).unwrap();
        assert!(10_000 <= bytes_on_disk(dir.path()));
    }
}
