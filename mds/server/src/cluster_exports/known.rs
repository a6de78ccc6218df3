//! The list of exports that this node proposes, and the cluster's list as last read.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use mds_state::record::ExportList;
use parking_lot::RwLock;

use crate::export::{Export, Exports, ExportsError, check};

/// The cluster's list, as this node knows it.
pub(crate) struct ClusterExports {
    /// The list of the node's configuration file; `/` if that has none.
    pub(crate) own: Vec<Export>,
    pub(crate) known: RwLock<Known>,
    /// The last version that this node's log has reported on.
    pub(crate) told: AtomicU64,
}

pub(crate) struct Known {
    /// The shard's count of changes before the list was read; `None` before the first read.
    pub(crate) moved: Option<u64>,
    pub(crate) exports: Arc<Exports>,
}

impl ClusterExports {
    /// For a node with this list in its configuration file; an empty one means
    /// [`Export::everything`].
    ///
    /// # Errors
    /// [`ExportsError`] if the list is invalid.
    pub(crate) fn new(mut own: Vec<Export>) -> Result<Self, ExportsError> {
        if own.is_empty() {
            own.push(Export::everything());
        }
        check(own.iter())?;
        let exports = Arc::new(Exports::proposed(&own));
        let known = RwLock::new(Known { moved: None, exports });
        Ok(Self { own, known, told: AtomicU64::new(0) })
    }

    /// The list, if nothing has changed since it was read.
    pub(crate) fn known(&self, moved: u64) -> Option<Arc<Exports>> {
        let known = self.known.read();
        (known.moved == Some(moved)).then(|| Arc::clone(&known.exports))
    }

    pub(crate) fn learn(&self, moved: u64, list: ExportList) -> Arc<Exports> {
        let mut known = self.known.write();
        // Readers may arrive out of order.
        if known.moved.is_none_or(|before| before < moved) {
            known.moved = Some(moved);
            if list.version != known.exports.version() {
                known.exports = Arc::new(Exports::of_cluster(list));
            }
        }
        Arc::clone(&known.exports)
    }
}
