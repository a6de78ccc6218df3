//! COMMIT.
//!
//! Whatever range is named, all of the extent is made stable, here and on its backups: the journals
//! sync as a whole, and one sync serves everybody who waits for one.
//!
//! Spec: RFC 1813 §3.3.21; docs/protocol/replicate.md §2; docs/protocol/seal.md §12.

use std::net::IpAddr;
use std::sync::Arc;

use wire_nfs::v3::{Nfsstat3, WccData, commit};

use crate::core::Core;
use crate::limits::SETTLE_MS_MAX;
use crate::{access, copies, slow, status, thaw};

/// Carries out a COMMIT.
///
/// # Errors
/// The status that says why not.
pub(crate) async fn run(
    core: &Arc<Core>,
    args: &commit::Args,
    from: IpAddr,
) -> Result<commit::ResOk, Nfsstat3> {
    let handle = access::admit(core, &args.file, access::Wanted::Write, from).await?;
    let verf = core.verifier();
    // First, as for a WRITE.
    core.store.check_epoch(handle.extent, handle.epoch).map_err(|error| status::of_change(&error))?;
    let kept = copies::to_commit(core, &handle);
    let sequence = core.store.sequence(handle.extent);
    let everywhere = async {
        if let Some(kept) = &kept {
            kept.settle(core, sequence, SETTLE_MS_MAX).await?;
        }
        thaw::may_promise(core, handle.extent).await
    };
    let committed = core.store.commit(handle.extent, handle.epoch);
    let committed = slow::waited(&*core.env.clock, handle.extent, "the journal", Vec::new, committed);
    let (here, everywhere) = tokio::join!(committed, everywhere);
    here.map_err(|error| {
        core.note(&error);
        status::of_change(&error)
    })?;
    everywhere.map_err(status::of_settling)?;
    Ok(commit::ResOk { file_wcc: WccData::default(), verf })
}
