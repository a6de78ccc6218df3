//! COMMIT.
//!
//! Whatever range the client names, all of the extent is made stable, here and on its replicas: the
//! journals sync as a whole, and one sync serves all requests that wait for one.
//!
//! Spec: RFC 1813 §3.3.21; docs/protocol/replicate.md §2; docs/protocol/seal.md §12.

use std::net::IpAddr;

use wire_nfs::v3::{Nfsstat3, WccData, commit};

use super::Primary;
use crate::access::Wanted;
use crate::limits::SETTLE_MS_MAX;
use crate::metrics::log_if_slow;
use crate::status;

impl Primary {
    /// Carries out a COMMIT.
    ///
    /// # Errors
    /// The status that says why not.
    pub(crate) async fn commit(&self, args: &commit::Args, from: IpAddr) -> Result<commit::ResOk, Nfsstat3> {
        let handle = self.gate.admit_request(&args.file, Wanted::Write, from).await?;
        let (extent, replication) = (handle.extent, &self.replication);
        let verf = self.serving.verifier();
        // First, as for a WRITE.
        self.store.check_epoch(extent, handle.epoch).map_err(|error| status::of_change(&error))?;
        let kept = replication.table.find_for_commit(&handle);
        let sequence = self.store.sequence(extent);
        let everywhere = async {
            if let Some(kept) = &kept {
                kept.settle(replication, sequence, SETTLE_MS_MAX).await?;
            }
            self.thaws.wait_for_promise(extent).await
        };
        let committed = self.store.commit(extent, handle.epoch);
        let committed = log_if_slow(&*self.clock, extent, "the journal", Vec::new, committed);
        let (here, everywhere) = tokio::join!(committed, everywhere);
        here.map_err(|error| self.fail(&error))?;
        everywhere.map_err(status::of_settling)?;
        Ok(commit::ResOk { file_wcc: WccData::default(), verf })
    }
}
