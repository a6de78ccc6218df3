//! The former servers of an extent, which keep its bytes until its primary has proved itself.
//!
//! Spec: docs/protocol/replicate.md §4.

use layout::copies::Formers;

use crate::op::extent;
use crate::store::{Txn, View};
use crate::work::WorkItem;
use crate::{ExtentRecord, FsError};

/// The servers that keep what they have of an extent until its primary has shown what that has;
/// `None` if the primary is to show nothing.
///
/// # Errors
/// [`FsError::Store`].
pub fn formers(view: &dyn View, record: &ExtentRecord) -> Result<Option<Formers>, FsError> {
    let item = extent::unfinished(view, record)?;
    Ok(Some(named(item.as_ref())).filter(|formers| !formers.is_empty()))
}

/// The former servers that an item of work names.
pub(super) fn named(item: Option<&WorkItem>) -> Formers {
    match item {
        Some(WorkItem::Prove { formers, .. }) => *formers,
        Some(_) | None => Formers::default(),
    }
}

/// Has former servers forget an extent.
pub(super) fn dismiss(txn: &mut dyn Txn, record: &ExtentRecord, formers: Formers) -> Result<(), FsError> {
    formers.iter().try_for_each(|server| extent::drop_at(txn, record.extent, server, record.epoch))
}
