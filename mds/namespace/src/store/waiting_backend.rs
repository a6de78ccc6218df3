//! The store's file, which has preallocated room, and whose writes wait if they find none all the
//! same. redb refuses further writes after one that failed, so the server would have to end. A
//! waiting write continues as soon as there is room again, and loses nothing.
//!
//! INVARIANT: a write that found no room is repeated from the same bytes to the same place before
//! this call of the backend returns.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// A write that found no room is retried after this.
const ROOM_RETRY: Duration = Duration::from_millis(100);

/// Room preallocated behind what was ever written. Removals and checkpoints use it when the disk is
/// full.
const AHEAD_BYTES: u64 = 16 << 20;

/// The end of the preallocation where the file system does not support it: no write tries again.
const UNKNOWN_TO_FILE_SYSTEM: u64 = u64::MAX;

/// A file that waits for room.
#[derive(Debug)]
pub(super) struct WaitingBackend<B = FileBackend> {
    inner: B,
    /// Preallocates room; `None` in memory.
    ahead: Option<Ahead>,
}

/// Preallocated room.
#[derive(Debug)]
struct Ahead {
    file: File,
    /// The file has its room up to here, as far as this process has allocated it:
    /// [`UNKNOWN_TO_FILE_SYSTEM`] where preallocation is not supported.
    end: AtomicU64,
}

impl WaitingBackend {
    /// Takes ownership of the file.
    ///
    /// # Errors
    /// As redb's own backend.
    pub(super) fn new(file: File) -> Result<Self, DatabaseError> {
        let ahead = Ahead { file: file.try_clone()?, end: AtomicU64::new(0) };
        // redb's length is far behind what it has written: each write allocates up to its own
        // place, and most of that exists already.
        ahead.allocate(0);
        Ok(Self { inner: FileBackend::new(file)?, ahead: Some(ahead) })
    }
}

impl Ahead {
    /// Allocates room behind `written`, if half of it is used up. If the disk has none, the next
    /// write tries again.
    fn allocate(&self, written: u64) {
        let taken = self.end.load(Ordering::Relaxed);
        if written.saturating_add(AHEAD_BYTES / 2) <= taken {
            return;
        }
        let end = written.saturating_add(AHEAD_BYTES);
        assert!(taken < end, "room is added behind what there is");
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, taken, end - taken) {
            Ok(()) => self.end.store(end, Ordering::Relaxed),
            Err(Errno::OPNOTSUPP) => self.end.store(UNKNOWN_TO_FILE_SYSTEM, Ordering::Relaxed),
            Err(_) => {}
        }
    }

    /// Records that the file was cut to `len`, which frees the preallocated room behind it.
    fn give_back(&self, len: u64) {
        let cut = |end| (end != UNKNOWN_TO_FILE_SYSTEM).then_some(len.min(end));
        // The update fails only where nothing is preallocated.
        let _ = self.end.fetch_update(Ordering::Relaxed, Ordering::Relaxed, cut);
    }
}

/// Repeats the call until it does not fail for want of room. On a thread that may block: the store
/// has one of its own.
#[expect(clippy::disallowed_methods, reason = "a real file: simulations keep their stores in memory")]
fn wait_for_room(call: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::StorageFull => thread::sleep(ROOM_RETRY),
            ended => return ended,
        }
    }
}

impl<B: StorageBackend> StorageBackend for WaitingBackend<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        wait_for_room(|| self.inner.set_len(len))?;
        if let Some(ahead) = &self.ahead {
            ahead.give_back(len);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        // Not repeated: after a failed sync the state of earlier writes is unknown (env::File).
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(ahead) = &self.ahead {
            ahead.allocate(offset + data.len() as u64);
        }
        wait_for_room(|| self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("t");

    /// Memory in which writes behind a point find no room.
    #[derive(Debug)]
    struct Small {
        memory: InMemoryBackend,
        bytes_max: Arc<AtomicU64>,
        refused: Arc<AtomicU64>,
    }

    impl Small {
        fn check(&self, end: u64) -> io::Result<()> {
            if end <= self.bytes_max.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(ErrorKind::StorageFull.into())
        }
    }

    impl StorageBackend for Small {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.memory.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.memory.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check(offset + data.len() as u64)?;
            self.memory.write(offset, data)
        }
    }

    #[test]
    fn a_commit_that_finds_no_room_waits_and_loses_nothing() {
        let (bytes_max, refused) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
        let small = Small {
            memory: InMemoryBackend::new(),
            bytes_max: Arc::clone(&bytes_max),
            refused: Arc::clone(&refused),
        };
        let mut builder = Database::builder();
        builder.set_cache_size(1 << 20);
        let database = builder.create_with_backend(WaitingBackend { inner: small, ahead: None }).unwrap();
        bytes_max.store(256 << 10, Ordering::Relaxed);
        let giver = {
            let (bytes_max, refused) = (Arc::clone(&bytes_max), Arc::clone(&refused));
            thread::spawn(move || {
                while refused.load(Ordering::Relaxed) < 2 {
                    thread::yield_now();
                }
                bytes_max.store(u64::MAX, Ordering::Relaxed);
            })
        };
        let value = vec![7; 2 << 20];
        for key in 0..4 {
            let txn = database.begin_write().unwrap();
            txn.open_table(TABLE).unwrap().insert(key, value.as_slice()).unwrap();
            txn.commit().unwrap();
        }
        giver.join().unwrap();
        assert!(2 <= refused.load(Ordering::Relaxed));
        let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
        for key in 0..4 {
            assert_eq!(table.get(key).unwrap().unwrap().value(), value.as_slice());
        }
    }

    #[test]
    fn a_store_has_room_behind_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.path().join("store"))
            .unwrap();
        let look = file.try_clone().unwrap();
        let backend = WaitingBackend::new(file).unwrap();
        backend.set_len(64 << 20).unwrap();
        let stored = || look.metadata().unwrap().blocks() * 512;
        let before = stored();
        assert!(AHEAD_BYTES <= before, "{before}");
        backend.write(AHEAD_BYTES / 4, &[7; 4096]).unwrap();
        assert_eq!(stored(), before, "there is enough room");
        backend.write(AHEAD_BYTES, &[7; 4096]).unwrap();
        assert!(2 * AHEAD_BYTES <= stored());
        assert_eq!(backend.len().unwrap(), 64 << 20, "its length is redb's");
        // Cutting the file frees the room, which is then allocated again.
        backend.set_len(1 << 20).unwrap();
        assert!(stored() <= 2 << 20);
        backend.set_len(64 << 20).unwrap();
        backend.write(0, &[7; 4096]).unwrap();
        assert!(AHEAD_BYTES <= stored());
    }

    /// redb makes the file twice as long as it needs: a start allocates no more of the disk than
    /// the last process had.
    #[test]
    fn a_start_takes_no_room_for_what_was_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut stored = Vec::new();
        for _ in 0..3 {
            let file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            let look = file.try_clone().unwrap();
            let backend = WaitingBackend::new(file).unwrap();
            backend.set_len(1 << 30).unwrap();
            backend.write(AHEAD_BYTES, &[7; 4096]).unwrap();
            stored.push(look.metadata().unwrap().blocks() * 512);
        }
        assert!(stored[0] < 3 * AHEAD_BYTES && stored.iter().all(|bytes| *bytes == stored[0]), "{stored:?}");
    }
}
