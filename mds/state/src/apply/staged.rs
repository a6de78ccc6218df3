//! The writes of one command, held back until it has succeeded.
//!
//! Many commands share a store transaction; a refused one must leave nothing in it.

use mds_namespace::keys::{self, TAG_INODE};
use mds_namespace::store::Visit;
use mds_namespace::store::overlay::Overlay;
use mds_namespace::{Durability, Ino, StoreError, Txn, View};

/// A transaction on top of a transaction. Dropping it discards its writes.
pub(super) struct Staged<'a> {
    overlay: Overlay<&'a mut (dyn Txn + 'a)>,
    /// The most keys that it may write.
    keys_max: usize,
    /// The command tried to write more keys: its writes are discarded, whatever its outcome.
    is_full: bool,
}

impl<'a> Staged<'a> {
    pub(super) fn new(base: &'a mut (dyn Txn + 'a), keys_max: usize) -> Self {
        Self { overlay: Overlay::new(base), keys_max, is_full: false }
    }

    /// Whether the command tried to write more keys than allowed.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    fn make_room(&mut self) -> Result<(), StoreError> {
        self.is_full |= self.keys_max <= self.overlay.writes().len();
        if self.is_full { Err(StoreError::Engine("a command writes too much".to_owned())) } else { Ok(()) }
    }

    /// Whether the command changes or removes an existing inode other than these.
    pub(super) fn changes_inode_but(&self, inodes: &[Ino]) -> Result<bool, StoreError> {
        for key in self.overlay.writes().range(vec![TAG_INODE]..vec![TAG_INODE + 1]).map(|(key, _)| key) {
            let is_bound = keys::ino_of_name_key(key).is_some_and(|ino| inodes.contains(&ino));
            if !is_bound && self.overlay.base().get(key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands the writes to the transaction below.
    pub(super) fn write_through(self) -> Result<(), StoreError> {
        assert!(!self.is_full, "a command that writes too much is not written through");
        let keys_max = self.keys_max;
        let (base, writes) = self.overlay.into_parts();
        assert!(writes.len() <= keys_max, "a command stays within its keys");
        for (key, value) in writes {
            match value {
                Some(value) => base.put(&key, &value)?,
                None => base.delete(&key)?,
            }
        }
        Ok(())
    }
}

impl View for Staged<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.overlay.read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.overlay.range(from, to, visit)
    }
}

impl Txn for Staged<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.make_room()?;
        self.overlay.put(key, value);
        debug_assert!(self.overlay.writes().len() <= self.keys_max, "there was room for the key");
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.make_room()?;
        self.overlay.delete(key);
        debug_assert!(self.overlay.writes().len() <= self.keys_max, "there was room for the key");
        Ok(())
    }

    fn commit(self: Box<Self>, _durability: Durability) -> Result<(), StoreError> {
        Err(StoreError::Engine("a command does not commit its batch".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use mds_namespace::MetaStore;
    use mds_namespace::store::mem::MemStore;

    use super::*;

    fn seen(view: &dyn View, from: &[u8], to: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        view.range(from, to, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap();
        found
    }

    /// The staged view equals the store after writing through, and a dropped one leaves the store
    /// alone.
    #[test]
    fn ranges_merge_both_layers() {
        let store = MemStore::new();
        let mut txn = store.begin().unwrap();
        for key in [b"b", b"d", b"f", b"h"] {
            txn.put(key, b"old").unwrap();
        }
        let before = seen(&*txn, b"a", b"z", 99);
        let write = |staged: &mut Staged<'_>| {
            staged.put(b"a", b"new").unwrap();
            staged.put(b"d", b"new").unwrap();
            staged.delete(b"f").unwrap();
            staged.put(b"i", b"new").unwrap();
            staged.delete(b"zz").unwrap();
        };
        let mut staged = Staged::new(&mut *txn, usize::MAX);
        write(&mut staged);
        let shown = seen(&staged, b"a", b"z", 99);
        let keys: Vec<_> = shown.iter().map(|(key, _)| key[0]).collect();
        assert_eq!(keys, b"abdhi");
        for limit in 1..5 {
            assert_eq!(seen(&staged, b"a", b"z", limit), shown[..limit]);
        }
        assert_eq!(seen(&staged, b"b", b"d", 99).len(), 1);
        assert_eq!(staged.get(b"f").unwrap(), None);
        drop(staged);
        assert_eq!(seen(&*txn, b"a", b"z", 99), before);

        let mut staged = Staged::new(&mut *txn, usize::MAX);
        write(&mut staged);
        staged.write_through().unwrap();
        assert_eq!(seen(&*txn, b"a", b"z", 99), shown);
    }
}
