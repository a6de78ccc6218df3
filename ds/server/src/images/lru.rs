//! A table with a bound on what its entries cost together, which forgets the least recently used
//! one first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A bounded table.
pub(super) struct Lru<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, K>,
    tick: u64,
    cost: usize,
    cost_max: usize,
}

struct Entry<V> {
    value: V,
    cost: usize,
    tick: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> Lru<K, V> {
    pub(super) fn new(cost_max: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), tick: 0, cost: 0, cost_max }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.tick += 1;
        let entry = self.entries.get_mut(key)?;
        let ordered = self.order.remove(&entry.tick);
        assert!(ordered.as_ref() == Some(key), "every entry has its place in the order");
        entry.tick = self.tick;
        self.order.insert(self.tick, *key);
        Some(entry.value.clone())
    }

    /// Puts something in; what costs more than the whole table is not kept.
    pub(super) fn put(&mut self, key: K, value: V, cost: usize) {
        self.remove(&key);
        if self.cost_max < cost {
            return;
        }
        while self.cost_max < self.cost + cost {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.tick += 1;
        self.cost += cost;
        self.order.insert(self.tick, key);
        self.entries.insert(key, Entry { value, cost, tick: self.tick });
        assert!(self.cost <= self.cost_max, "the table costs no more than its bound");
        assert_eq!(self.order.len(), self.entries.len(), "every entry has its place in the order");
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(gone) = self.entries.remove(key) {
            self.order.remove(&gone.tick);
            assert!(gone.cost <= self.cost, "an entry that goes was counted");
            self.cost -= gone.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_goes_first() {
        let mut table = Lru::new(10);
        (0..5).for_each(|number| table.put(number, number * 100, 2));
        assert_eq!(table.get(&0), Some(0));
        table.put(9, 900, 4);
        let kept: Vec<i32> = (0..10).filter(|number| table.get(number).is_some()).collect();
        assert_eq!(kept, [0, 3, 4, 9]);
        table.put(9, 901, 1);
        assert_eq!(table.get(&9), Some(901));
        assert_eq!(table.cost, 7);
    }

    #[test]
    fn the_bound_holds() {
        let mut table = Lru::new(10);
        table.put(1, (), 11);
        assert!(table.get(&1).is_none());
        for number in 0..1000 {
            table.put(number % 37, (), number % 11);
            assert!(table.cost <= 10 && table.order.len() == table.entries.len());
        }
        (0..37).for_each(|number| table.remove(&number));
        assert_eq!((table.cost, table.order.len()), (0, 0));
    }
}
