//! The store on disk: one table of bytes to bytes in a redb file.
//!
//! Commits with [`Durability::Memory`] are seen at once and reach the disk with the next synced
//! one; a crash takes the file back to the last synced commit. Synced commits record the
//! allocator's state, so that a start after a crash does not walk the whole file.
//!
//! INVARIANT: a file under its own name is a complete store. An incomplete one has another name,
//! and the next start creates it again.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, MutexGuard};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};

use super::overlay::{Overlay, Writes};
use super::waiting_backend::WaitingBackend;
use super::{Durability, MetaStore, StoreError, Txn, View, Visit};

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("shoal");

fn engine(error: impl fmt::Display) -> StoreError {
    StoreError::Engine(error.to_string())
}

/// A store in a redb file.
pub struct DiskStore {
    database: Database,
    path: PathBuf,
    writer: Mutex<()>,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Opens the store in file `path`, or makes an empty one; caches at most `cache_bytes` of it
    /// (`limits::DISK_CACHE_BYTES_DEFAULT` unless configured).
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the file cannot be opened or is no store.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        let fresh = if is_there(path)? { None } else { lock_fresh(path)? };
        let is_fresh = fresh.is_some();
        let file = match fresh {
            Some(file) => file,
            None => OpenOptions::new().read(true).write(true).open(path).map_err(engine)?,
        };
        let backend = WaitingBackend::new(file).map_err(engine)?;
        let database = builder.create_with_backend(backend).map_err(engine)?;
        let store = Self { database, path: path.to_path_buf(), writer: Mutex::new(()) };
        // A view needs an existing table.
        store.write(Durability::Synced, |txn| txn.open_table(TABLE).map(drop).map_err(engine))?;
        if is_fresh {
            fs::rename(fresh_path(path), path).map_err(engine)?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            File::open(dir.unwrap_or_else(|| Path::new(".")))
                .and_then(|dir| dir.sync_all())
                .map_err(engine)?;
        }
        Ok(store)
    }

    /// Runs `change` in an engine transaction of its own. The caller holds the writer lock, or is
    /// the only user.
    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut txn = self.database.begin_write().map_err(engine)?;
        match durability {
            Durability::Memory => txn.set_durability(redb::Durability::None).map_err(engine)?,
            Durability::Synced => {
                txn.set_durability(redb::Durability::Immediate).map_err(engine)?;
                txn.set_quick_repair(true);
            }
        }
        change(&txn)?;
        txn.commit().map_err(engine)
    }

    fn snapshot(&self) -> Result<DiskView, StoreError> {
        let txn = self.database.begin_read().map_err(engine)?;
        Ok(DiskView(txn.open_table(TABLE).map_err(engine)?))
    }
}

/// Whether there is a store at `path`. An empty file is none.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(0 < metadata.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(engine(error)),
    }
}

/// The file in which a store is made that will be renamed to `path`.
fn fresh_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

/// An empty locked file in which to make a store; `None` if another process has just made one.
fn lock_fresh(path: &Path) -> Result<Option<File>, StoreError> {
    let fresh = fresh_path(path);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&fresh);
    let file = file.map_err(engine)?;
    // The process that makes a store there has it locked, under its new name too.
    file.try_lock().map_err(|error| engine(format!("{} is in use: {error}", fresh.display())))?;
    if is_there(path)? {
        fs::remove_file(&fresh).map_err(engine)?;
        return Ok(None);
    }
    file.set_len(0).map_err(engine)?;
    Ok(Some(file))
}

impl MetaStore for DiskStore {
    fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        Ok(Box::new(self.snapshot()?))
    }

    fn begin(&self) -> Result<Box<dyn Txn + '_>, StoreError> {
        let writer = self.writer.lock();
        let overlay = Overlay::new(self.snapshot()?);
        Ok(Box::new(DiskTxn { store: self, overlay, _writer: writer }))
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        let _writer = self.writer.lock();
        self.write(Durability::Synced, |_| Ok(()))
    }

    fn clear(&self) -> Result<(), StoreError> {
        let _writer = self.writer.lock();
        self.write(Durability::Memory, |txn| {
            txn.delete_table(TABLE).map_err(engine)?;
            txn.open_table(TABLE).map(drop).map_err(engine)
        })
    }

    fn bytes_on_disk(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

struct DiskView(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl View for DiskView {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        let found = self.0.get_owned(key).map_err(engine)?;
        if let Some(guard) = &found {
            visit(guard.value());
        }
        Ok(found.is_some())
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        for pair in self.0.range_owned::<&[u8]>(bounds).map_err(engine)? {
            let (key, value) = pair.map_err(engine)?;
            if visit(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

struct DiskTxn<'a> {
    store: &'a DiskStore,
    overlay: Overlay<DiskView>,
    _writer: MutexGuard<'a, ()>,
}

impl View for DiskTxn<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.overlay.read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.overlay.range(from, to, visit)
    }
}

impl Txn for DiskTxn<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.overlay.put(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.overlay.delete(key);
        Ok(())
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<(), StoreError> {
        let Self { store, overlay, _writer } = *self;
        let writes: Writes = overlay.into_writes();
        if writes.is_empty() && durability == Durability::Memory {
            return Ok(());
        }
        store.write(durability, |txn| {
            let mut table = txn.open_table(TABLE).map_err(engine)?;
            for (key, value) in &writes {
                match value {
                    Some(value) => table.insert(key.as_slice(), value.as_slice()).map(drop),
                    None => table.remove(key.as_slice()).map(drop),
                }
                .map_err(engine)?;
            }
            Ok(())
        })
    }
}
