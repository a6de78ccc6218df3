//! A disk on a pool of threads: for kernels or sandboxes without io_uring, and for the calls a ring
//! has no use for.
//!
//! Reads, and writes where the file system can tell, are first tried on the caller's thread with
//! `RWF_NOWAIT`: what the page cache can satisfy costs one system call and no thread change.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::file_calls::{self, WriteCursor};
use super::thread_pool::ThreadPool;
use crate::disk::Capacity;
use crate::limits::BLOCKING_THREADS;
use crate::{BoxFuture, Disk, File, OpenMode};

/// A disk whose calls block threads of its own.
#[derive(Clone)]
pub struct BlockingDisk {
    pool: Arc<ThreadPool>,
}

impl BlockingDisk {
    /// Starts the threads, named after `name`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(name: &str) -> io::Result<Self> {
        Self::start_with(name, BLOCKING_THREADS)
    }

    pub(super) fn start_with(name: &str, threads: usize) -> io::Result<Self> {
        Ok(Self { pool: Arc::new(ThreadPool::start(name, threads)?) })
    }

    /// Runs a call on one of the threads.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<T>> {
        Box::pin(Arc::clone(&self.pool).run(job))
    }
}

impl Disk for BlockingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let (disk, path) = (self.clone(), path.to_path_buf());
        Box::pin(async move {
            let file = disk.run(move || file_calls::open(&path, mode)).await?;
            let file: Arc<dyn File> = Arc::new(BlockingFile { disk, file: Arc::new(file) });
            Ok(file)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        let path = path.to_path_buf();
        self.run(move || fs::remove_file(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.run(move || fs::rename(from, to))
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        let dir = dir.to_path_buf();
        self.run(move || file_calls::list(&dir))
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        let dir = dir.to_path_buf();
        self.run(move || file_calls::create_dir_all(&dir))
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        let dir = dir.to_path_buf();
        self.run(move || fs::File::open(dir)?.sync_all())
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        let path = path.to_path_buf();
        self.run(move || path.try_exists())
    }

    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        let dir = dir.to_path_buf();
        self.run(move || file_calls::capacity(&dir))
    }
}

/// A file of a [`BlockingDisk`], and the part of a ring's file that a ring has no use for.
pub(super) struct BlockingFile {
    pub(super) disk: BlockingDisk,
    pub(super) file: Arc<fs::File>,
}

impl BlockingFile {
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<T>> {
        let file = Arc::clone(&self.file);
        self.disk.run(move || job(&file))
    }
}

impl File for BlockingFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let (disk, file) = (self.disk.clone(), Arc::clone(&self.file));
        Box::pin(async move {
            let mut cursor = WriteCursor::new(data, offset);
            if cursor.is_done() || file_calls::write_nowait(file.as_raw_fd(), &mut cursor)? {
                return Ok(());
            }
            disk.run(move || file_calls::write_all(file.as_raw_fd(), &mut cursor)).await
        })
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        self.run(move |file| {
            file_calls::write_all(file.as_raw_fd(), &mut WriteCursor::new(data, offset))?;
            file.sync_data()
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        let (disk, file) = (self.disk.clone(), Arc::clone(&self.file));
        Box::pin(async move {
            let mut buffer = BytesMut::with_capacity(len);
            if file_calls::read_nowait(file.as_raw_fd(), offset, &mut buffer, len)? {
                return Ok(buffer.freeze());
            }
            disk.run(move || {
                file_calls::read_all(file.as_raw_fd(), offset, &mut buffer, len)?;
                Ok(buffer.freeze())
            })
            .await
        })
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        self.run(fs::File::sync_data)
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.run(move |file| file_calls::allocate(file, offset, len))
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.run(move |file| file.set_len(len))
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        let file = Arc::clone(&self.file);
        // The inode is in memory while the file is open: no reason to change threads.
        Box::pin(async move { Ok(file.metadata()?.len()) })
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        let file = Arc::clone(&self.file);
        Box::pin(async move { Ok(file_calls::stored_bytes(&file.metadata()?)) })
    }

    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.run(move |file| file_calls::start_writeback(file.as_raw_fd(), offset, len))
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.run(move |file| file_calls::punch(file.as_raw_fd(), offset, len))
    }
}
