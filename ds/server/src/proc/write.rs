//! WRITE.
//!
//! The data go from the call's buffer into the journal, and to the backups, as they are. An answer
//! says FILE_SYNC for everything that was asked to be stable: there is no half-stable here.
//!
//! Spec: RFC 1813 §3.3.7; docs/protocol/replicate.md §2; docs/protocol/seal.md §8, §12.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ds_store::{ChangeError, Stability, Ticket};
use layout::DsHandle;
use wire_nfs::v3::{Nfsstat3, StableHow, WccData, write};

use crate::core::Core;
use crate::limits::{SETTLE_MS_MAX, THAW_IMAGES_MAX};
use crate::{access, copies, slow, status, thaw};

/// Carries out a WRITE.
///
/// # Errors
/// The status that says why not.
pub(crate) async fn run(core: &Arc<Core>, args: write::Args, from: IpAddr) -> Result<write::ResOk, Nfsstat3> {
    let handle = access::admit(core, &args.file, access::Wanted::Write, from).await?;
    let verf = core.verifier();
    let offset = access::within(handle.extent, args.offset).ok_or(Nfsstat3::Inval)?;
    let count = u32::try_from(args.data.len()).map_err(|_| Nfsstat3::Inval)?;
    let (stability, committed) = match args.stable {
        StableHow::Unstable => (Stability::Unstable, StableHow::Unstable),
        StableHow::DataSync | StableHow::FileSync => (Stability::Synced, StableHow::FileSync),
    };
    if count == 0 {
        let nothing = core.store.write(handle.extent, handle.epoch, offset, vec![], stability).await;
        nothing.map_err(|error| failed(core, &error))?;
    } else {
        keep(core, &handle, offset, args.data, stability).await?;
    }
    Ok(write::ResOk { file_wcc: WccData::default(), count, committed, verf })
}

/// Writes here and on the backups, side by side.
async fn keep(
    core: &Arc<Core>,
    handle: &DsHandle,
    offset: u32,
    data: Bytes,
    stability: Stability,
) -> Result<(), Nfsstat3> {
    // First: who is not home any more must not tell those who are, at the epoch of an old handle,
    // what it has forgotten.
    let is_from_before =
        core.store.check_copies(handle.extent, handle.epoch).map_err(|error| failed(core, &error))?;
    if is_from_before {
        copies::learn(core, handle.extent).await.map_err(status::of_settling)?;
    }
    let before = copies::ready(core, handle).await.map_err(status::of_settling)?;
    let length = u32::try_from(data.len()).map_err(|_| Nfsstat3::Inval)?;
    let ticket = admit(core, handle, offset, length).await?;
    // The log takes note while the bytes are on their way.
    thaw::begin_to_promise(core, handle.extent);
    let sequence = ticket.sequence();
    let stable = stability == Stability::Synced;
    // Only now: a backup that joined before the sequence was given must get the record.
    let kept = core.copies.find(handle.extent);
    drop(before);
    let sending = kept.as_ref().map(|kept| kept.send(core, sequence, offset, &data, stable));
    let sent = async {
        match sending {
            Some(sending) if stable => sending.done().await,
            Some(sending) => sending.begun().await,
            None => {}
        }
    };
    let written = ticket.write(vec![data], stability);
    let written = slow::waited(&*core.env.clock, handle.extent, "the journal", Vec::new, written);
    let (here, ()) = tokio::join!(written, sent);
    here.map_err(|error| failed(core, &error))?;
    if !stable {
        return Ok(());
    }
    if let Some(kept) = &kept {
        kept.settle(core, sequence, SETTLE_MS_MAX).await.map_err(status::of_settling)?;
    }
    thaw::may_promise(core, handle.extent).await.map_err(status::of_settling)
}

/// Gives a WRITE its place, once a metadata server knows that something lies above the image below
/// it, if there is one.
async fn admit(core: &Arc<Core>, handle: &DsHandle, offset: u32, length: u32) -> Result<Ticket, Nfsstat3> {
    for _ in 0..THAW_IMAGES_MAX {
        let ticket = core.store.admit(handle.extent, handle.epoch, offset, length).await;
        let ticket = ticket.map_err(|error| failed(core, &error))?;
        // Not sooner: an image may come into use until a WRITE has its place.
        let Some(image) = ticket.above_image() else { return Ok(ticket) };
        thaw::wait(core, handle.extent, image, ticket).await.map_err(status::of_settling)?;
    }
    Err(Nfsstat3::Jukebox)
}

fn failed(core: &Core, error: &ChangeError) -> Nfsstat3 {
    core.note(error);
    status::of_change(error)
}
