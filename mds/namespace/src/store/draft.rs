//! A planned act on several stores that is not carried out: its writes, store by store.
//!
//! Operations run on it as on any transaction. Nothing reaches a store; [`Draft::parts`] are the
//! parts to send to each (docs/protocol/shards.md §4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::overlay::Overlay;
use super::{Durability, StoreError, Txn, View, Visit};
use crate::inode::{Ino, shard_of};
use crate::keys;
use crate::superblock::{self, Counters};

/// One resulting key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Key.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// Value; `None` to delete the key.
    #[serde(with = "serde_bytes")]
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Bytes of key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// The writes of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The shard.
    pub shard: u16,
    /// In the order of keys.
    pub writes: Vec<Write>,
}

/// Writes over a view of all stores.
pub struct Draft<'a> {
    overlay: Overlay<&'a dyn View>,
    reserved: Option<Ino>,
}

impl<'a> Draft<'a> {
    /// Begins. A new object gets the number `reserved`; without one nothing can be made.
    ///
    /// # Errors
    /// The view's.
    pub fn new(view: &'a dyn View, reserved: Option<Ino>) -> Result<Self, StoreError> {
        let mut draft = Self { overlay: Overlay::new(view), reserved };
        // Each store counts its inodes itself when it writes its part.
        let (next_inode, inodes) = (reserved.unwrap_or(0), u64::from(u32::MAX));
        superblock::put_counters(&mut draft, &Counters { next_inode, next_work: 1, inodes })?;
        Ok(draft)
    }

    /// The parts of all shards, in the order of shards.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if a key was written that an act on several stores may not write, or
    /// more objects were made than numbers were reserved.
    pub fn parts(self) -> Result<Vec<Part>, StoreError> {
        let made = superblock::counters(&self)?.next_inode - self.reserved.unwrap_or(0);
        if u64::from(self.reserved.is_some()) < made {
            return Err(StoreError::Engine("an object was made without a number".to_owned()));
        }
        let mut parts: BTreeMap<u16, Vec<Write>> = BTreeMap::new();
        for (key, value) in self.overlay.into_writes() {
            if key == keys::COUNTERS {
                continue;
            }
            let ino = keys::ino_of_name_key(&key).ok_or_else(|| {
                StoreError::Engine("an act on several shards wrote a foreign key".to_owned())
            })?;
            parts.entry(shard_of(ino)).or_default().push(Write { key, value });
        }
        let part = |(shard, writes)| Part { shard, writes };
        let parts: Vec<Part> = parts.into_iter().map(part).collect();
        assert!(parts.iter().all(|part| !part.writes.is_empty()), "a shard that is named has writes");
        debug_assert!(
            parts.iter().all(|part| part.writes.is_sorted_by(|one, next| one.key < next.key)),
            "each key is written once, in order"
        );
        Ok(parts)
    }
}

impl View for Draft<'_> {
    fn read(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        self.overlay.read(key, visit)
    }

    fn range(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), StoreError> {
        self.overlay.range(from, to, visit)
    }
}

impl Txn for Draft<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.overlay.put(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.overlay.delete(key);
        Ok(())
    }

    fn commit(self: Box<Self>, _durability: Durability) -> Result<(), StoreError> {
        Err(StoreError::Engine("an act on several shards is committed by them".to_owned()))
    }
}
