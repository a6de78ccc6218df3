//! Many stores read as one: each key is read from its own store.
//!
//! A snapshot is taken at the first read of its store, so a view may show two stores at two
//! moments. A caller that needs one moment holds the locks for it (docs/protocol/shards.md §3).

use std::cell::OnceCell;

use super::{StoreError, View, Visit};

/// Location of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// In one store.
    To(u16),
    /// Each store may have it.
    ToAny,
}

/// Takes a snapshot of a store by its number.
pub type TakeView<'a> = Box<dyn Fn(u16) -> Result<Box<dyn View + Send>, StoreError> + Send + 'a>;

/// Snapshots of stores 0 to `stores - 1`, as one.
pub struct SpreadView<'a> {
    views: Vec<OnceCell<Box<dyn View + Send>>>,
    take: TakeView<'a>,
    belongs: fn(&[u8]) -> Belongs,
}

impl<'a> SpreadView<'a> {
    /// Takes no snapshot yet. `belongs` returns the location of a key; a key of a store that does
    /// not exist has no value.
    ///
    /// INVARIANT: if `belongs` returns a store for a key, every key that begins with that key is in
    /// that store.
    #[must_use]
    pub fn new(stores: u16, take: TakeView<'a>, belongs: fn(&[u8]) -> Belongs) -> Self {
        Self { views: (0..stores).map(|_| OnceCell::new()).collect(), take, belongs }
    }

    fn store(&self, number: u16) -> Result<Option<&dyn View>, StoreError> {
        let Some(cell) = self.views.get(usize::from(number)) else { return Ok(None) };
        if let Some(view) = cell.get() {
            return Ok(Some(&**view));
        }
        let taken = (self.take)(number)?;
        Ok(Some(&**cell.get_or_init(|| taken)))
    }

    fn stores(&self) -> u16 {
        u16::try_from(self.views.len()).expect("they were counted by 16 bits")
    }
}

impl View for SpreadView<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        let among = match (self.belongs)(key) {
            Belongs::To(number) => number..number.saturating_add(1),
            Belongs::ToAny => 0..self.stores(),
        };
        for number in among {
            if let Some(store) = self.store(number)?
                && store.read(key, visit)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Scans in the order of stores, and of keys within each: keys that begin with their store's
    /// number come in order.
    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        // `to` is no key of the range, and may be of another kind with another location. All keys
        // of the range share the common prefix of the two bounds.
        let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        let among = match (self.belongs)(&from[..shared]) {
            Belongs::To(number) => number..number.saturating_add(1),
            Belongs::ToAny => 0..self.stores(),
        };
        let mut stopped = false;
        for number in among {
            let Some(store) = self.store(number)? else { break };
            store.range(from, to, &mut |key, value| {
                let flow = visit(key, value);
                stopped = flow.is_break();
                flow
            })?;
            if stopped {
                break;
            }
        }
        Ok(())
    }

    fn waits(&self) -> bool {
        // A snapshot that is not taken yet will be like the others.
        self.views.iter().filter_map(OnceCell::get).any(|view| view.waits())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::store::mem::MemStore;
    use crate::store::{Durability, MetaStore};

    /// Keys belong to the store that their first byte names, except those that begin with `?`.
    fn belongs(key: &[u8]) -> Belongs {
        match key.first() {
            Some(b'?') | None => Belongs::ToAny,
            Some(digit) => Belongs::To(u16::from(digit - b'0')),
        }
    }

    fn stores() -> [MemStore; 3] {
        let stores = [MemStore::new(), MemStore::new(), MemStore::new()];
        for (number, store) in stores.iter().enumerate() {
            let mut txn = store.begin().unwrap();
            for rest in ["a", "b", "c"] {
                txn.put(format!("{number}{rest}").as_bytes(), rest.as_bytes()).unwrap();
            }
            txn.put(format!("?{number}").as_bytes(), b"any").unwrap();
            txn.commit(Durability::Memory).unwrap();
        }
        stores
    }

    fn keys(view: &dyn View, from: &str, to: &str, keys_max: usize) -> Vec<String> {
        let mut seen = Vec::new();
        view.range(from.as_bytes(), to.as_bytes(), &mut |key, _| {
            seen.push(String::from_utf8(key.to_vec()).unwrap());
            if seen.len() < keys_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap();
        seen
    }

    #[test]
    fn keys_are_found_where_they_belong() {
        let stores = stores();
        let view = SpreadView::new(3, Box::new(|number| stores[usize::from(number)].view()), belongs);
        assert_eq!(view.get(b"2b").unwrap().as_deref(), Some(&b"b"[..]));
        assert_eq!(view.get(b"?1").unwrap().as_deref(), Some(&b"any"[..]));
        assert_eq!(view.get(b"?9").unwrap(), None);
        assert_eq!(view.get(b"7a").unwrap(), None, "there is no store 7");
        assert_eq!(keys(&view, "1a", "1c", 9), ["1a", "1b"]);
        assert_eq!(keys(&view, "0b", "2b", 9), ["0b", "0c", "1a", "1b", "1c", "2a"]);
        assert_eq!(keys(&view, "0b", "2b", 3), ["0b", "0c", "1a"]);
        assert_eq!(keys(&view, "?", "@", 9), ["?0", "?1", "?2"]);
        assert_eq!(keys(&view, "1b", "2", 9), ["1b", "1c"], "the end is of the next store");
    }

    #[test]
    fn only_stores_that_are_read_are_opened() {
        let stores = stores();
        let take: TakeView<'_> = Box::new(|number| match number {
            1 => stores[1].view(),
            _ => Err(StoreError::Engine("not this one".to_owned())),
        });
        let view = SpreadView::new(3, take, belongs);
        assert_eq!(view.get(b"1c").unwrap().as_deref(), Some(&b"c"[..]));
        assert!(view.get(b"0c").is_err());
        let before = view.get(b"1d").unwrap();
        let mut txn = stores[1].begin().unwrap();
        txn.put(b"1d", b"late").unwrap();
        txn.commit(Durability::Memory).unwrap();
        assert_eq!(view.get(b"1d").unwrap(), before, "a snapshot does not change");
    }
}
