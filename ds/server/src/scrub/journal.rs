//! What the journal says of one extent: reading all of it, and having restored what is bad.
//!
//! Spec: docs/protocol/seal.md §10.

use ds_store::BadRun;
use layout::ExtentId;

use super::Scrub;
use super::plan::Outcome;
use crate::restore;

impl Scrub {
    /// Looks after an extent.
    pub(super) async fn extent(&self, extent: ExtentId) -> Outcome {
        let (mut next, mut outcome) = (Some(0), Outcome::default());
        while let Some(from) = next {
            let checked = self.core.store.check(extent, from).await;
            for run in checked.bad {
                match restore::restore(&self.core, extent, run).await {
                    Ok(()) => outcome.repaired += 1,
                    Err(why) => {
                        let BadRun { offset, length, .. } = run;
                        tracing::error!(%extent, offset, length, %why, "bytes of the journal stay bad");
                        outcome.bad += 1;
                    }
                }
            }
            next = checked.next;
            self.passed(checked.bytes).await;
        }
        outcome
    }
}
