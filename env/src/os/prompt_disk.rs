//! A disk that makes small writes and their syncs on the caller's thread, and everything else on
//! threads of its own.
//!
//! For a log whose owner has a thread to itself and waits for each flush anyway: handing a write
//! and the news of it from thread to thread and back costs about as much as a fast device's flush.
//! Once syncs take longer than that, threads make them all, until they are short again: whatever
//! else the caller's thread has to do must not wait for a slow device.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::blocking_disk::{BlockingDisk, BlockingFile};
use super::clock::OsClock;
use super::file_calls::{self, WriteCursor};
use crate::disk::Capacity;
use crate::limits::{PROMPT_BYTES_MAX, PROMPT_SYNC_NS_MAX};
use crate::{BoxFuture, Clock, Disk, File, OpenMode};

/// A disk whose small writes wait for no thread.
#[derive(Clone)]
pub struct PromptDisk {
    threads: BlockingDisk,
    pace: Arc<Pace>,
}

/// How long syncs have taken of late.
struct Pace {
    clock: OsClock,
    /// Moving average, nanoseconds.
    sync_ns: AtomicU64,
}

impl Pace {
    fn is_fast(&self) -> bool {
        self.sync_ns.load(Ordering::Relaxed) <= PROMPT_SYNC_NS_MAX
    }

    fn timed<T>(&self, sync: impl FnOnce() -> T) -> T {
        let began_ns = self.clock.monotonic_ns();
        let answer = sync();
        let took_ns = self.clock.monotonic_ns() - began_ns;
        let before_ns = self.sync_ns.load(Ordering::Relaxed);
        // A lost update of two threads at once does not matter.
        self.sync_ns.store(before_ns - before_ns / 8 + took_ns / 8, Ordering::Relaxed);
        answer
    }
}

impl PromptDisk {
    /// Starts the threads for what is not small, named after `name`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(name: &str) -> io::Result<Self> {
        Ok(Self {
            threads: BlockingDisk::start(name)?,
            pace: Arc::new(Pace { clock: OsClock::new(), sync_ns: AtomicU64::new(0) }),
        })
    }
}

impl Disk for PromptDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let (disk, pace, path) = (self.threads.clone(), Arc::clone(&self.pace), path.to_path_buf());
        Box::pin(async move {
            let file = disk.run(move || file_calls::open(&path, mode)).await?;
            let threads = BlockingFile { disk, file: Arc::new(file) };
            let file: Arc<dyn File> =
                Arc::new(PromptFile { threads, pace, unsynced_bytes: AtomicU64::new(0) });
            Ok(file)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.threads.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.threads.rename(from, to)
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        self.threads.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.threads.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.threads.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        self.threads.exists(path)
    }

    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        self.threads.capacity(dir)
    }
}

struct PromptFile {
    threads: BlockingFile,
    pace: Arc<Pace>,
    /// Written since the last sync began: with little of it, a sync is short.
    unsynced_bytes: AtomicU64,
}

impl PromptFile {
    /// Counts a write; whether it, and a sync after it, is small.
    fn is_small_with(&self, more_bytes: u64) -> bool {
        self.unsynced_bytes.fetch_add(more_bytes, Ordering::Relaxed) + more_bytes <= PROMPT_BYTES_MAX
    }

    /// Runs `act`, which ends with a sync: here if it will be short.
    fn sync(
        &self,
        small: bool,
        act: impl FnOnce(&fs::File) -> io::Result<()> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<()>> {
        self.unsynced_bytes.store(0, Ordering::Relaxed);
        let (file, pace) = (Arc::clone(&self.threads.file), Arc::clone(&self.pace));
        let here = small && pace.is_fast();
        let act = move || pace.timed(|| act(&file));
        if here { Box::pin(async move { act() }) } else { self.threads.disk.run(act) }
    }
}

fn len(data: &[Bytes]) -> u64 {
    data.iter().map(|buffer| buffer.len() as u64).sum()
}

impl File for PromptFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        if !self.is_small_with(len(&data)) {
            return self.threads.write_at(data, offset);
        }
        let file = Arc::clone(&self.threads.file);
        Box::pin(async move { file_calls::write_all(file.as_raw_fd(), &mut WriteCursor::new(data, offset)) })
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        self.sync(self.is_small_with(len(&data)), move |file| {
            file_calls::write_all(file.as_raw_fd(), &mut WriteCursor::new(data, offset))?;
            file.sync_data()
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        self.threads.read_at(offset, len)
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        self.sync(self.is_small_with(0), fs::File::sync_data)
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.threads.allocate(offset, len)
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.threads.set_len(len)
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.threads.len()
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.threads.stored_bytes()
    }

    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.threads.start_writeback(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.threads.punch(offset, len)
    }
}
