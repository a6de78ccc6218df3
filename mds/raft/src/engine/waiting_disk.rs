//! A disk on which the log waits for room. A log that failed with "no room" would end its server.
//! One that waits continues when another program, the released reserve (docs/admin.md, A full
//! metadata disk) or a removal makes some.
//!
//! INVARIANT: a call that found no room is repeated with the same arguments, and nothing else is
//! done to this file for its caller meanwhile.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::disk::Capacity;
use env::{BoxFuture, Clock, Disk, File, OpenMode};

use crate::limits::{ROOM_LOG_MS, ROOM_RETRY_MS};

/// The same disk, with files that wait for room.
pub(super) struct WaitingDisk {
    inner: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
}

struct WaitingFile {
    inner: Arc<dyn File>,
    clock: Arc<dyn Clock>,
}

impl WaitingDisk {
    pub(super) fn new(inner: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock }
    }
}

/// Repeats the call until it does not fail for want of room. Logs `what` now and then.
async fn wait_for_room<T, F>(
    clock: Arc<dyn Clock>,
    what: &'static str,
    call: impl Fn() -> F + Send,
) -> io::Result<T>
where
    T: Send,
    F: Future<Output = io::Result<T>> + Send,
{
    let mut log_at_ms = 0;
    loop {
        match call().await {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let now_ms = clock.monotonic_ms();
                if log_at_ms <= now_ms {
                    log_at_ms = now_ms + ROOM_LOG_MS;
                    tracing::warn!(what, "the log waits for room on its disk");
                }
                clock.sleep_ms(ROOM_RETRY_MS).await;
            }
            ended => return ended,
        }
    }
}

impl Disk for WaitingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> BoxFuture<'static, io::Result<Arc<dyn File>>> {
        let (inner, clock, path) = (Arc::clone(&self.inner), Arc::clone(&self.clock), path.to_path_buf());
        Box::pin(async move {
            let opened = wait_for_room(Arc::clone(&clock), "open", || inner.open(&path, mode)).await?;
            Ok(Arc::new(WaitingFile { inner: opened, clock }) as Arc<dyn File>)
        })
    }

    fn remove(&self, path: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.inner.rename(from, to)
    }

    fn list(&self, dir: &Path) -> BoxFuture<'static, io::Result<Vec<String>>> {
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.inner.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> BoxFuture<'static, io::Result<()>> {
        self.inner.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, io::Result<bool>> {
        self.inner.exists(path)
    }

    fn capacity(&self, dir: &Path) -> BoxFuture<'static, io::Result<Capacity>> {
        self.inner.capacity(dir)
    }
}

impl File for WaitingFile {
    fn write_at(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let (inner, clock) = (Arc::clone(&self.inner), Arc::clone(&self.clock));
        // The buffers are reference-counted: repeating a call copies no bytes.
        Box::pin(async move { wait_for_room(clock, "write", || inner.write_at(data.clone(), offset)).await })
    }

    fn write_at_and_sync(&self, data: Vec<Bytes>, offset: u64) -> BoxFuture<'static, io::Result<()>> {
        let (inner, clock) = (Arc::clone(&self.inner), Arc::clone(&self.clock));
        Box::pin(async move {
            wait_for_room(clock, "write", || inner.write_at_and_sync(data.clone(), offset)).await
        })
    }

    fn read_at(&self, offset: u64, len: usize) -> BoxFuture<'static, io::Result<Bytes>> {
        self.inner.read_at(offset, len)
    }

    fn sync_data(&self) -> BoxFuture<'static, io::Result<()>> {
        self.inner.sync_data()
    }

    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        let (inner, clock) = (Arc::clone(&self.inner), Arc::clone(&self.clock));
        Box::pin(async move { wait_for_room(clock, "segment", || inner.allocate(offset, len)).await })
    }

    fn set_len(&self, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.inner.set_len(len)
    }

    fn len(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.inner.len()
    }

    fn stored_bytes(&self) -> BoxFuture<'static, io::Result<u64>> {
        self.inner.stored_bytes()
    }

    fn start_writeback(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.inner.start_writeback(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> BoxFuture<'static, io::Result<()>> {
        self.inner.punch(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use env::memory::MemoryDisk;
    use env::os::OsClock;

    use super::*;

    const PATH: &str = "/log/1";

    #[tokio::test]
    async fn a_write_without_room_is_repeated_until_there_is_some() {
        let disk = MemoryDisk::with_capacity(100);
        disk.create_dir_all(Path::new("/log")).await.unwrap();
        let waiting = WaitingDisk::new(Arc::new(disk.clone()), Arc::new(OsClock::default()));
        let file = waiting.open(Path::new(PATH), OpenMode::CREATE).await.unwrap();
        file.allocate(0, 80).await.unwrap();
        let more = tokio::spawn(file.allocate(80, 40));
        tokio::time::sleep(std::time::Duration::from_millis(2 * ROOM_RETRY_MS)).await;
        assert!(!more.is_finished(), "there is no room yet");
        disk.set_capacity(120);
        more.await.unwrap().unwrap();
        assert_eq!(file.len().await.unwrap(), 120);
    }

    #[tokio::test]
    async fn other_errors_are_returned_at_once() {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/log")).await.unwrap();
        let waiting = WaitingDisk::new(Arc::new(disk.clone()), Arc::new(OsClock::default()));
        let file = waiting.open(Path::new(PATH), OpenMode::CREATE).await.unwrap();
        disk.fail_write(0, io::ErrorKind::Other);
        let error = file.write_at(vec![Bytes::from_static(b"entry")], 0).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }
}
