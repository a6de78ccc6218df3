//! The nodes of the cluster, as far as this node knows: those that it was made with, until shard 0
//! has a list.

use std::sync::Arc;

use parking_lot::RwLock;

/// A node's number and address, `ip:port`.
pub(crate) type Known = (u64, String);

/// All nodes, this one too, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Nodes {
    list: RwLock<Arc<Vec<Known>>>,
}

impl Nodes {
    pub(crate) fn new(list: Vec<Known>) -> Self {
        Self { list: RwLock::new(Arc::new(list)) }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Arc<Vec<Known>> {
        Arc::clone(&self.list.read())
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.list.read().iter().map(|(number, _)| *number).collect()
    }

    /// The address of a node.
    pub(crate) fn address(&self, number: u64) -> Option<String> {
        self.list.read().iter().find(|(known, _)| *known == number).map(|(_, address)| address.clone())
    }

    /// Replaces the list. Returns whether it changed.
    pub(crate) fn set(&self, list: Vec<Known>) -> bool {
        let mut known = self.list.write();
        let is_news = **known != list;
        if is_news {
            *known = Arc::new(list);
        }
        is_news
    }
}
