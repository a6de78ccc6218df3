//! COMMIT.
//!
//! Whatever range is named, all of the extent is made stable: the journal syncs as a whole, and one sync serves everybody who
//! waits for one.
//!
//! Spec: RFC 1813 §3.3.21.

use layout::Iomode;
use wire_nfs::v3::{Nfsstat3, WccData, commit};

use crate::access;
use crate::core::Core;
use crate::status;

/// Carries out a COMMIT.
///
/// # Errors
/// The status that says why not.
pub(crate) async fn run(core: &Core, args: &commit::Args) -> Result<commit::ResOk, Nfsstat3> {
    let key = core.serving_key()?;
    let handle = access::open(&key, &args.file, Iomode::ReadWrite)?;
    let committed = core.store.commit(handle.extent, handle.epoch).await;
    committed.map_err(|error| {
        core.note(&error);
        status::of_change(&error)
    })?;
    Ok(commit::ResOk { file_wcc: WccData::default(), verf: core.verifier })
}
