//! The writes of an open transaction, over the snapshot it started from.
//!
//! An ordered map keeps the writes until the commit: a key written many times in a batch (the
//! directory of many creates) reaches the engine once, and the engine gets its keys in order.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::{StoreError, View, Visit};

/// The pending writes: a value, or `None` for a removal.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A snapshot and the writes on top of it.
#[derive(Debug)]
pub struct Overlay<B> {
    base: B,
    writes: Writes,
}

impl<B: View> Overlay<B> {
    /// Begins without writes.
    #[must_use]
    pub fn new(base: B) -> Self {
        Self { base, writes: Writes::new() }
    }

    /// Writes a value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        if let Some(slot) = self.writes.get_mut(key) {
            let bytes = slot.get_or_insert_with(Vec::new);
            bytes.clear();
            bytes.extend_from_slice(value);
        } else {
            self.writes.insert(key.to_vec(), Some(value.to_vec()));
        }
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &[u8]) {
        if let Some(slot) = self.writes.get_mut(key) {
            *slot = None;
        } else {
            self.writes.insert(key.to_vec(), None);
        }
    }

    /// The pending writes.
    pub fn writes(&self) -> &Writes {
        &self.writes
    }

    /// The snapshot below the writes.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// Returns the writes for the commit, and drops the snapshot.
    pub fn into_writes(self) -> Writes {
        self.writes
    }

    /// Returns the snapshot and the writes.
    pub fn into_parts(self) -> (B, Writes) {
        (self.base, self.writes)
    }
}

impl<B: View> View for Overlay<B> {
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

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let mut over = self.writes.range::<[u8], _>(bounds).peekable();
        let mut stopped = false;
        self.base.range(from, to, &mut |key, value| {
            // Our keys up to this one come first; an equal key of ours hides the one below.
            let mut hidden = false;
            while let Some((our_key, our_value)) = over.next_if(|(our_key, _)| our_key.as_slice() <= key) {
                hidden = our_key.as_slice() == key;
                if let Some(our_value) = our_value
                    && visit(our_key, our_value).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            if !hidden && visit(key, value).is_break() {
                stopped = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if stopped {
            return Ok(());
        }
        for (our_key, our_value) in over {
            if let Some(our_value) = our_value
                && visit(our_key, our_value).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}
