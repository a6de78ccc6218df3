//! What the journal says of one extent: the scrub reads all of it, and has restored what is bad.
//!
//! Spec: docs/protocol/seal.md §10.

use ds_store::{BadRun, Store};
use layout::ExtentId;

use super::pace::Pace;
use super::plan::Outcome;
use crate::restore::Restorer;

/// Checks an extent.
pub(super) async fn check_extent(
    pace: &Pace,
    store: &Store,
    restorer: &Restorer,
    extent: ExtentId,
) -> Outcome {
    let (mut next, mut outcome) = (Some(0), Outcome::default());
    while let Some(from) = next {
        let checked = store.check(extent, from).await;
        for run in checked.bad {
            match restorer.restore_run(extent, run).await {
                Ok(()) => outcome.repaired += 1,
                Err(why) => {
                    let BadRun { offset, length, .. } = run;
                    tracing::error!(%extent, offset, length, %why, "bytes of the journal stay bad");
                    outcome.bad += 1;
                }
            }
        }
        assert!(checked.next.is_none_or(|next| from < next), "a check goes on forward");
        next = checked.next;
        pace.pause_after(checked.bytes).await;
    }
    outcome
}
