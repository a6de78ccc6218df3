//! Fence epochs of extents that the index has dropped, so that an old handle is refused and does
//! not read zeros.
//!
//! The index drops an extent when compaction removes its last record, within seconds in a quiet
//! journal. A partitioned client may present a handle long after that.
//!
//! INVARIANT: at most [`FORGOTTEN_MAX`] are kept, the ones forgotten last; a restart keeps none.
//! Spec: docs/protocol/control.md §3.

use std::collections::{HashMap, VecDeque};

use layout::{Epoch, ExtentId};

use crate::limits::FORGOTTEN_MAX;

/// The extents that were forgotten last.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    epochs: HashMap<ExtentId, Epoch>,
    /// In the order in which they were forgotten first.
    order: VecDeque<ExtentId>,
}

impl Forgotten {
    /// An extent is forgotten; handles below this epoch are refused from now on.
    pub(crate) fn note(&mut self, extent: ExtentId, fence_epoch: Epoch) {
        if let Some(epoch) = self.epochs.get_mut(&extent) {
            *epoch = fence_epoch.max(*epoch);
            return;
        }
        if self.order.len() == FORGOTTEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.epochs.remove(&oldest);
        }
        self.epochs.insert(extent, fence_epoch);
        self.order.push_back(extent);
        assert_eq!(self.order.len(), self.epochs.len(), "each extent has one place in the order");
        assert!(self.order.len() <= FORGOTTEN_MAX, "few extents are kept in mind");
    }

    /// The least epoch of a handle of this extent that may be served.
    pub(crate) fn fence_epoch(&self, extent: ExtentId) -> Epoch {
        self.epochs.get(&extent).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_epochs_only_rise() {
        let mut forgotten = Forgotten::default();
        let extent = |number: usize| ExtentId { ino: number as u64, index: 0 };
        forgotten.note(extent(0), Epoch(9));
        forgotten.note(extent(0), Epoch(5));
        assert_eq!(forgotten.fence_epoch(extent(0)), Epoch(9));
        (1..FORGOTTEN_MAX).for_each(|number| forgotten.note(extent(number), Epoch(2)));
        assert_eq!(forgotten.fence_epoch(extent(0)), Epoch(9));
        forgotten.note(extent(FORGOTTEN_MAX), Epoch(3));
        assert_eq!(forgotten.fence_epoch(extent(0)), Epoch(0));
        assert_eq!(forgotten.fence_epoch(extent(FORGOTTEN_MAX)), Epoch(3));
        assert_eq!((forgotten.epochs.len(), forgotten.order.len()), (FORGOTTEN_MAX, FORGOTTEN_MAX));
    }
}
