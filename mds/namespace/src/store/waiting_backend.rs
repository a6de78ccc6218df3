//! The store's file, whose writes wait for room. redb takes no more after a write that failed, so the server would have to end; one that
//! waits goes on as soon as there is room again, and nothing of it is lost.
//!
//! INVARIANT: what found no room is written again from the same bytes to the same place before the next call of this backend returns.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::thread;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// A write that found no room is tried again after this.
const ROOM_RETRY: Duration = Duration::from_millis(100);

/// A file that waits for room.
#[derive(Debug)]
pub(super) struct WaitingBackend<B = FileBackend>(B);

impl WaitingBackend {
    /// Takes the file.
    ///
    /// # Errors
    /// As redb's own backend.
    pub(super) fn new(file: File) -> Result<Self, DatabaseError> {
        FileBackend::new(file).map(Self)
    }
}

/// Makes the call until it ends otherwise than for want of room. On a thread that may block: the store has one of its own.
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
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        wait_for_room(|| self.0.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        // Not again: after a failed sync nothing is known of what was written (env::File).
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        wait_for_room(|| self.0.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

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
        let database = builder.create_with_backend(WaitingBackend(small)).unwrap();
        bytes_max.store(256 << 10, Ordering::Relaxed);
        let giver = {
            let (bytes_max, refused) = (Arc::clone(&bytes_max), Arc::clone(&refused));
            thread::spawn(move || {
                while refused.load(Ordering::Relaxed) < 2 {
                    thread::sleep(Duration::from_millis(5));
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
}
