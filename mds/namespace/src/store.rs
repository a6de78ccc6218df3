//! The interface of an ordered key-value store: snapshots to read, one writer at a time.
//!
//! Keys and values are bytes, ordered as unsigned bytes; `keys` assigns them to modules. There are
//! two implementations: `mem` for tests and `disk` for everything else.
//!
//! INVARIANT: a transaction dropped without `commit` leaves nothing behind.

pub mod disk;
pub mod draft;
pub mod mem;
pub mod overlay;
pub mod spread;
pub mod transfer;
mod waiting_backend;

use std::ops::ControlFlow;

/// The first key behind all keys: the end of a range over the whole store.
pub const KEY_SPACE_END: &[u8] = &[0xff];

/// Why a store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk or the engine on it failed.
    #[error("engine: {0}")]
    Engine(String),
    /// The store contains a key or value that no version of this program wrote.
    #[error("corrupt: {0}")]
    Corrupt(&'static str),
    /// The store was made by another version of this program, whose bytes this one does not read.
    #[error("the store has format {0}, this version of shoal reads format 2 only")]
    OtherVersion(u8),
    /// The store has no superblock yet.
    #[error("not formatted")]
    NotFormatted,
    /// Another node may be changing it now, together with other stores: this one may have only a
    /// part of the change.
    #[error("another node has the store now")]
    Elsewhere,
}

/// Durability of a commit when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Seen by every later view, lost with the process: the Raft log repeats it.
    Memory,
    /// On stable storage, together with every commit before it.
    Synced,
}

/// A store.
pub trait MetaStore: Send + Sync {
    /// Takes a consistent snapshot of everything committed so far. Cheap; holding it for long keeps
    /// old pages.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn view(&self) -> Result<Box<dyn View + Send>, StoreError>;

    /// Starts the single writing transaction; waits while another one is open. It reads its own
    /// writes.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn begin(&self) -> Result<Box<dyn Txn + '_>, StoreError>;

    /// Makes everything committed so far durable.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn checkpoint(&self) -> Result<(), StoreError>;

    /// Removes every key, with [`Durability::Memory`].
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn clear(&self) -> Result<(), StoreError>;

    /// Bytes the store takes on disk (0 for one in memory).
    fn bytes_on_disk(&self) -> u64;

    /// Whether a call may wait for a device, and should run on a thread of its own.
    fn waits(&self) -> bool {
        true
    }
}

/// Called by a range scan with each key and value; `Break` ends the scan.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Reads from a snapshot or from within a transaction.
pub trait View {
    /// Passes the value of a key to `visit`, without copying it. Returns whether the key exists.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError>;

    /// Passes the pairs with `from <= key < to` to `visit`, in order, until it breaks.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError>;

    /// The value of a key, copied.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut value = None;
        self.read(key, &mut |bytes| value = Some(bytes.to_vec()))?;
        Ok(value)
    }

    /// As [`MetaStore::waits`].
    fn waits(&self) -> bool {
        true
    }
}

impl<V: View + ?Sized> View for &V {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        (**self).read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        (**self).range(from, to, visit)
    }

    fn waits(&self) -> bool {
        (**self).waits()
    }
}

impl<V: View + ?Sized> View for &mut V {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        (**self).read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        (**self).range(from, to, visit)
    }

    fn waits(&self) -> bool {
        (**self).waits()
    }
}

/// As [`View::range`], for a visit that may fail: the first error ends the scan, and is returned.
///
/// # Errors
/// Those of `visit`, or [`StoreError::Engine`].
pub fn scan<E: From<StoreError>>(
    view: &dyn View,
    from: &[u8],
    to: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut failed = None;
    view.range(from, to, &mut |key, value| {
        visit(key, value).unwrap_or_else(|error| {
            failed = Some(error);
            ControlFlow::Break(())
        })
    })?;
    failed.map_or(Ok(()), Err)
}

/// The first `values_max` values of a range, read by `decode` from key and value.
///
/// # Errors
/// Those of `decode`, or [`StoreError::Engine`].
pub fn list<T, E: From<StoreError>>(
    view: &dyn View,
    from: &[u8],
    to: &[u8],
    values_max: usize,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let mut values = Vec::new();
    scan(view, from, to, |key, value| {
        if values.len() == values_max {
            return Ok(ControlFlow::Break(()));
        }
        values.push(decode(key, value)?);
        Ok::<_, E>(ControlFlow::Continue(()))
    })?;
    assert!(values.len() <= values_max, "no more values than were asked for");
    Ok(values)
}

/// A writing transaction.
pub trait Txn: View {
    /// Writes a pair, replacing any older value.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a key; a missing key is no error.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails.
    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError>;

    /// Makes all writes visible at once.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine fails; nothing was written.
    fn commit(self: Box<Self>, durability: Durability) -> Result<(), StoreError>;
}
