//! WRITE.
//!
//! The data go from the call's buffer into the journal as they are. An answer says FILE_SYNC for everything that was asked to be
//! stable: there is no half-stable here.
//!
//! Spec: RFC 1813 §3.3.7.

use ds_store::Stability;
use layout::Iomode;
use wire_nfs::v3::{Nfsstat3, StableHow, WccData, write};

use crate::access;
use crate::core::Core;
use crate::status;

/// Carries out a WRITE.
///
/// # Errors
/// The status that says why not.
pub(crate) async fn run(core: &Core, args: write::Args) -> Result<write::ResOk, Nfsstat3> {
    let key = core.serving_key()?;
    let handle = access::open(&key, &args.file, Iomode::ReadWrite)?;
    let offset = access::within(handle.extent, args.offset).ok_or(Nfsstat3::Inval)?;
    let count = u32::try_from(args.data.len()).map_err(|_| Nfsstat3::Inval)?;
    let (stability, committed) = match args.stable {
        StableHow::Unstable => (Stability::Unstable, StableHow::Unstable),
        StableHow::DataSync | StableHow::FileSync => (Stability::Synced, StableHow::FileSync),
    };
    let written = core.store.write(handle.extent, handle.epoch, offset, vec![args.data], stability).await;
    written.map_err(|error| {
        core.note(&error);
        status::of_change(&error)
    })?;
    Ok(write::ResOk { file_wcc: WccData::default(), count, committed, verf: core.verifier })
}
