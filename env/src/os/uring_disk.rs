//! A disk on io_uring: bytes go through a ring of its own, names through a few threads.
//!
//! What the page cache can satisfy at once is done on the caller's thread (`RWF_NOWAIT`), as on the
//! blocking disk; only what would wait goes to the ring.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::blocking_disk::{BlockingDisk, BlockingFile};
use super::file_calls::{self, WriteCursor};
use super::uring_operation::Act;
use super::uring_ring::Ring;
use crate::disk::Capacity;
use crate::limits::RING_NAME_THREADS;
use crate::{BoxFuture, Disk, File, OpenMode};

/// A disk with a ring.
#[derive(Clone)]
pub struct UringDisk {
    ring: Arc<Ring>,
    names: BlockingDisk,
}

impl UringDisk {
    /// Sets the ring up and starts its thread, named after `name`.
    ///
    /// # Errors
    /// When the kernel refuses a ring (too old, switched off, forbidden to this process), or the
    /// system a thread.
    pub fn start(name: &str) -> io::Result<Self> {
        let ring = Arc::new(Ring::start(name)?);
        Ok(Self { ring, names: BlockingDisk::start_with(name, RING_NAME_THREADS)? })
    }
}

impl Disk for UringDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let (disk, path) = (self.clone(), path.to_path_buf());
        Box::pin(async move {
            let file = Arc::new(disk.names.run(move || file_calls::open(&path, mode)).await?);
            let file: Arc<dyn File> =
                Arc::new(UringFile { ring: disk.ring, base: BlockingFile { disk: disk.names, file } });
            Ok(file)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.names.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.names.rename(from, to)
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        self.names.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.names.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.names.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        self.names.exists(path)
    }

    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        self.names.capacity(dir)
    }
}

struct UringFile {
    ring: Arc<Ring>,
    /// For what a ring has no use for.
    base: BlockingFile,
}

impl File for UringFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let (ring, file) = (Arc::clone(&self.ring), Arc::clone(&self.base.file));
        Box::pin(async move {
            let mut cursor = WriteCursor::new(data, offset);
            if cursor.is_done() || file_calls::write_nowait(file.as_raw_fd(), &mut cursor)? {
                return Ok(());
            }
            ring.run(file, Act::write(cursor, false)).await.map(|_| ())
        })
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let (ring, file) = (Arc::clone(&self.ring), Arc::clone(&self.base.file));
        Box::pin(async move {
            let cursor = WriteCursor::new(data, offset);
            let act = if cursor.is_done() { Act::Sync } else { Act::write(cursor, true) };
            ring.run(file, act).await.map(|_| ())
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        let (ring, file) = (Arc::clone(&self.ring), Arc::clone(&self.base.file));
        Box::pin(async move {
            let mut buffer = BytesMut::with_capacity(len);
            if file_calls::read_nowait(file.as_raw_fd(), offset, &mut buffer, len)? {
                return Ok(buffer.freeze());
            }
            ring.run(file, Act::Read { buffer, offset, len }).await
        })
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        let (ring, file) = (Arc::clone(&self.ring), Arc::clone(&self.base.file));
        Box::pin(async move { ring.run(file, Act::Sync).await.map(|_| ()) })
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.base.allocate(offset, len)
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.base.set_len(len)
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.base.len()
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.base.stored_bytes()
    }

    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.base.start_writeback(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.base.punch(offset, len)
    }
}
