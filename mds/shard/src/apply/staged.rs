//! The writes of one command, held back until it is known to succeed.
//!
//! Many commands share a store transaction; a refused one must leave nothing in it.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use mds_namespace::{Durability, StoreError, Txn, View};

/// A transaction on top of a transaction. Dropped, it leaves nothing.
pub(super) struct Staged<'a> {
    base: &'a mut (dyn Txn + 'a),
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Staged<'a> {
    pub(super) fn new(base: &'a mut (dyn Txn + 'a)) -> Self {
        Self { base, writes: BTreeMap::new() }
    }

    /// Hands the writes to the transaction below.
    pub(super) fn write_through(self) -> Result<(), StoreError> {
        for (key, value) in self.writes {
            match value {
                Some(value) => self.base.put(&key, &value)?,
                None => self.base.delete(&key)?,
            }
        }
        Ok(())
    }
}

impl View for Staged<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        match self.writes.get(key) {
            Some(Some(value)) => {
                visit(value);
                Ok(true)
            }
            Some(None) => Ok(false),
            None => self.base.read(key, visit),
        }
    }

    fn range(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if to <= from {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let mut staged = self.writes.range::<[u8], _>(bounds).peekable();
        let mut stopped = false;
        self.base.range(from, to, &mut |key, value| {
            while let Some((staged_key, staged_value)) = staged.next_if(|(at, _)| at.as_slice() < key) {
                if let Some(bytes) = staged_value
                    && visit(staged_key, bytes).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let flow = match staged.next_if(|(at, _)| at.as_slice() == key) {
                Some((_, None)) => ControlFlow::Continue(()),
                Some((_, Some(bytes))) => visit(key, bytes),
                None => visit(key, value),
            };
            stopped = flow.is_break();
            flow
        })?;
        for (key, value) in staged {
            if stopped {
                break;
            }
            if let Some(bytes) = value {
                stopped = visit(key, bytes).is_break();
            }
        }
        Ok(())
    }
}

impl Txn for Staged<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.writes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.writes.insert(key.to_vec(), None);
        Ok(())
    }

    fn commit(self: Box<Self>, _durability: Durability) -> Result<(), StoreError> {
        Err(StoreError::Engine("a command does not commit its batch".to_owned()))
    }
}

#[cfg(test)]
mod tests {
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

    /// The staged view equals the store after writing through, and a dropped one leaves the store alone.
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
        let mut staged = Staged::new(&mut *txn);
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

        let mut staged = Staged::new(&mut *txn);
        write(&mut staged);
        staged.write_through().unwrap();
        assert_eq!(seen(&*txn, b"a", b"z", 99), shown);
    }
}
