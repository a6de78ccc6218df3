//! The former servers of extents whose home has not proved yet that it has the bytes.
//!
//! Spec: docs/protocol/replicate.md §4.

use std::collections::BTreeMap;

use layout::ExtentId;
use layout::copies::Formers;
use mds_namespace::{ExtentRecord, op};

use crate::server::Server;

/// The former servers of those of these extents whose home is to show what it has. `None` if that
/// cannot be told now.
pub(crate) fn formers_of(server: &Server, records: &[ExtentRecord]) -> Option<BTreeMap<ExtentId, Formers>> {
    let view = server.view().ok()?;
    let mut all = BTreeMap::new();
    for record in records.iter().filter(|record| record.pending_work.is_some()) {
        if let Some(formers) = op::formers::formers(view.namespace(), record).ok()? {
            all.insert(record.extent, formers);
        }
    }
    Some(all)
}

/// The former servers of an extent whose home is to show what it has; none if there are none, or
/// that cannot be told now.
pub(crate) fn formers(server: &Server, record: &ExtentRecord) -> Formers {
    let all = formers_of(server, std::slice::from_ref(record)).unwrap_or_default();
    all.get(&record.extent).copied().unwrap_or_default()
}
