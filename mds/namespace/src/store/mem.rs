//! A store in memory, for tests and simulations.
//!
//! A snapshot is a shared reference to the map; a commit copies the map only while a snapshot of it
//! exists. `crash` discards what was never synced, as a crash of the store on disk would.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::overlay::Overlay;
use super::{Durability, MetaStore, StoreError, Txn, View, Visit};

type Map = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemStore {
    current: RwLock<Arc<Map>>,
    synced: RwLock<Arc<Map>>,
    writer: Mutex<()>,
}

impl MemStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns to the last synced state, as if the process had died.
    pub fn crash(&self) {
        let _writer = self.writer.lock();
        *self.current.write() = Arc::clone(&self.synced.read());
    }
}

impl MetaStore for MemStore {
    fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        Ok(Box::new(MemView(Arc::clone(&self.current.read()))))
    }

    fn begin(&self) -> Result<Box<dyn Txn + '_>, StoreError> {
        let writer = self.writer.lock();
        let base = MemView(Arc::clone(&self.current.read()));
        Ok(Box::new(MemTxn { store: self, overlay: Overlay::new(base), _writer: writer }))
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        let _writer = self.writer.lock();
        *self.synced.write() = Arc::clone(&self.current.read());
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        let _writer = self.writer.lock();
        *self.current.write() = Arc::default();
        Ok(())
    }

    fn bytes_on_disk(&self) -> u64 {
        0
    }

    fn waits(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct MemView(Arc<Map>);

impl View for MemView {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        let value = self.0.get(key);
        if let Some(value) = value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in self.0.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn waits(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct MemTxn<'a> {
    store: &'a MemStore,
    overlay: Overlay<MemView>,
    _writer: MutexGuard<'a, ()>,
}

impl View for MemTxn<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.overlay.read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.overlay.range(from, to, visit)
    }
}

impl Txn for MemTxn<'_> {
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
        let writes = overlay.into_writes();
        let mut current = store.current.write();
        let map = Arc::make_mut(&mut current);
        for (key, value) in writes {
            match value {
                Some(value) => map.insert(key, value.into()),
                None => map.remove(&key),
            };
        }
        if durability == Durability::Synced {
            *store.synced.write() = Arc::clone(&current);
        }
        Ok(())
    }
}
