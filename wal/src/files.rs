//! The log's directory: names of segment files, making new ones ahead of need, keeping or removing
//! old ones.
//!
//! INVARIANT: a sequence number names at most one segment, ever; numbers of files kept for reuse
//! count as used.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use env::disk::zero_fill;
use env::{Disk, File, OpenMode};

use crate::config::WalConfig;

/// The directory of one log.
#[derive(Clone)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    recycle_max: usize,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    seq_next: AtomicU64,
    /// Numbers of the files kept for reuse.
    free: Mutex<Vec<u64>>,
    /// Bytes of files made ready that no segment uses yet.
    ready_bytes: AtomicU64,
}

/// What a file name in the directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(u64),
    Free(u64),
}

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".wal")?;
        let (kind, digits) = stem.split_once('-')?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 16 || !digits.bytes().all(hex) {
            return None;
        }
        let seq = u64::from_str_radix(digits, 16).ok()?;
        match kind {
            "seg" => Some(Self::Segment(seq)),
            "free" => Some(Self::Free(seq)),
            _ => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Segment(seq) => format!("seg-{seq:016x}.wal"),
            Self::Free(seq) => format!("free-{seq:016x}.wal"),
        }
    }
}

/// A file made ready to become a segment.
pub(crate) struct Ready {
    pub(crate) seq: u64,
    pub(crate) file: Arc<dyn File>,
    /// Its name is durable.
    pub(crate) is_named: bool,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, config: &WalConfig) -> Self {
        let (segment_bytes, recycle_max) = (config.segment_bytes, config.recycle_max);
        Self { disk, dir: dir.to_path_buf(), segment_bytes, recycle_max, state: Arc::default() }
    }

    fn path(&self, name: Name) -> PathBuf {
        self.dir.join(name.text())
    }

    fn free(&self) -> MutexGuard<'_, Vec<u64>> {
        self.state.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the directory if needed and lists what is ours in it, in order of the numbers.
    pub(crate) async fn list(&self) -> io::Result<Vec<Name>> {
        self.disk.create_dir_all(&self.dir).await?;
        let mut names: Vec<Name> =
            self.disk.list(&self.dir).await?.iter().filter_map(|name| Name::parse(name)).collect();
        names.sort_by_key(|name| match name {
            Name::Segment(seq) | Name::Free(seq) => *seq,
        });
        Ok(names)
    }

    /// Sets the number the next segment gets.
    pub(crate) fn number_from(&self, seq: u64) {
        self.state.seq_next.store(seq, Ordering::Relaxed);
    }

    pub(crate) async fn open_segment(&self, seq: u64) -> io::Result<Arc<dyn File>> {
        self.disk.open(&self.path(Name::Segment(seq)), OpenMode::WRITE).await
    }

    /// Bytes of files that are no segments: those kept for reuse and those made ready.
    pub(crate) fn spare_bytes(&self) -> u64 {
        let free = self.free().len() as u64;
        free * self.segment_bytes + self.state.ready_bytes.load(Ordering::Relaxed)
    }

    /// Makes a file for the next segment, from one kept for reuse or a new one.
    ///
    /// A new name is left to the segment's first sync: waiting here for the file system's journal
    /// would hold up writes that need not be durable yet. A file that held another segment is
    /// different. Were its renaming undone by a crash and its bytes not, the next opening would
    /// give its number out again, and find them.
    pub(crate) async fn make_ready(&self) -> io::Result<Ready> {
        let seq = self.state.seq_next.fetch_add(1, Ordering::Relaxed);
        let path = self.path(Name::Segment(seq));
        let reused = self.free().pop();
        let (file, is_named) = match reused {
            Some(free) => {
                self.disk.rename(&self.path(Name::Free(free)), &path).await?;
                self.sync_names().await?;
                (self.disk.open(&path, OpenMode::WRITE).await?, true)
            }
            None => (self.make_new(&path).await?, false),
        };
        self.state.ready_bytes.fetch_add(self.segment_bytes, Ordering::Relaxed);
        Ok(Ready { seq, file, is_named })
    }

    /// Makes the names of all segments durable.
    pub(crate) async fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir).await
    }

    async fn make_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, OpenMode::CREATE_NEW).await?;
        let filled = async {
            file.allocate(0, self.segment_bytes).await?;
            if 0 < self.recycle_max {
                zero_fill(&*file, 0, self.segment_bytes).await?;
                file.sync_data().await?;
            }
            Ok(())
        };
        if let Err(error) = filled.await {
            // Most likely there is no room: give back what was taken. The first error is the one
            // that counts.
            let _ = self.disk.remove(path).await;
            return Err(error);
        }
        Ok(file)
    }

    /// Takes note that a file made ready is a segment now, or gone.
    pub(crate) fn used_ready(&self) {
        self.state.ready_bytes.fetch_sub(self.segment_bytes, Ordering::Relaxed);
    }

    /// Removes a file made ready that is not needed after all. Its number stays used.
    pub(crate) async fn discard(&self, ready: Ready) -> io::Result<()> {
        self.disk.remove(&self.path(Name::Segment(ready.seq))).await?;
        self.used_ready();
        Ok(())
    }

    /// Puts a segment's file out of the log: kept for reuse, or removed. Durable when it returns.
    pub(crate) async fn retire(&self, seq: u64, file_bytes: u64) -> io::Result<()> {
        let keep = file_bytes == self.segment_bytes && self.free().len() < self.recycle_max;
        let path = self.path(Name::Segment(seq));
        if keep {
            self.disk.rename(&path, &self.path(Name::Free(seq))).await?;
        } else {
            self.disk.remove(&path).await?;
        }
        self.sync_names().await?;
        if keep {
            self.free().push(seq);
        }
        Ok(())
    }

    /// Decides at opening about a file that was kept for reuse.
    pub(crate) async fn adopt_free(&self, seq: u64) -> io::Result<()> {
        let path = self.path(Name::Free(seq));
        let len = self.disk.open(&path, OpenMode::READ).await?.len().await?;
        if len == self.segment_bytes && self.free().len() < self.recycle_max {
            self.free().push(seq);
            return Ok(());
        }
        self.disk.remove(&path).await
    }
}
