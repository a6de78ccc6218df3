//! The former servers of extents whose home has not proved yet that it has the bytes.
//!
//! Spec: docs/protocol/replicate.md §4.

use std::collections::BTreeMap;

use layout::ExtentId;
use layout::copies::Formers;
use mds_namespace::{ExtentRecord, op};
use mds_state::StateView;

/// The former servers of those of these extents whose home is to show what it has. `None` if the
/// store cannot be read.
pub(crate) fn formers_of(view: &StateView, records: &[ExtentRecord]) -> Option<BTreeMap<ExtentId, Formers>> {
    let mut all = BTreeMap::new();
    for record in records.iter().filter(|record| record.pending_work.is_some()) {
        if let Some(formers) = op::formers::formers(view.namespace(), record).ok()? {
            all.insert(record.extent, formers);
        }
    }
    Some(all)
}

/// The former servers of an extent; none if there are none, or the store cannot be read.
pub(crate) fn formers(view: &StateView, record: &ExtentRecord) -> Formers {
    let all = formers_of(view, std::slice::from_ref(record)).unwrap_or_default();
    all.get(&record.extent).copied().unwrap_or_default()
}
