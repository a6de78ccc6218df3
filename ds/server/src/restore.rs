//! Bytes of the journal that cannot be read: fetched from a replica and appended again, by the
//! scrub and by a READ that meets them.
//!
//! INVARIANT: bytes are said again only if a backup of the set in force gave them, which is not
//! being filled, and either its records are no older than the bad one, or it has everything that
//! was ever said. Where they are younger they are those of an overlay, or of acts that were not
//! promised.
//! Spec: docs/protocol/seal.md §10.

use std::sync::Arc;

use ds_store::{BadRun, ImageRef};
use layout::{DataServerId, Epoch, ExtentId};
use wire_nfs::control::copies::CopySet;
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::replicate::{HeldData, ReadData, SayAgain};
use wire_nfs::control::{Nothing, Procedure};

use crate::copies::{self, Asked, ExtentCopies};
use crate::core::Core;
use crate::limits::{IMAGE_CALL_MS_MAX, RESTORE_MS_MAX, SAY_AGAIN_MS_MAX};
use crate::link::AskError;

/// Why a run is as bad as before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRestored {
    #[error("nobody tells who keeps the extent")]
    Unknown,
    #[error("this server is not of its set, so nobody needs it")]
    NotOurs,
    #[error("a backup is being filled, or the set changes")]
    Unsettled,
    #[error("no backup gives the bytes")]
    Nobody,
    #[error("the home does not say them again: {0}")]
    Home(AskError),
    #[error("{0}")]
    Change(#[from] ds_store::ChangeError),
    #[error("it is still bad")]
    StillBad,
    #[error("it takes too long")]
    Late,
}

/// Restores what is bad in a range of an extent that this server is primary of, while a client
/// waits. Other parts of the extent are left to the scrub.
///
/// # Units
/// `offset` counts bytes from the start of the extent.
/// # Errors
/// Any [`NotRestored`].
pub(crate) async fn range(
    core: &Arc<Core>,
    extent: ExtentId,
    offset: u32,
    length: u32,
) -> Result<(), NotRestored> {
    let work = async {
        let _turn = core.restores.acquire().await.map_err(|_| NotRestored::Late)?;
        // A look at the extent's start is one at its image's record as well.
        if offset != 0 && core.store.image(extent).await.is_err() {
            let mut bad = core.store.check(extent, 0).await.bad;
            bad.retain(|run| run.is_image_record);
            restore_all(core, extent, &bad).await?;
        }
        let (mut next, end) = (Some(offset), offset.saturating_add(length));
        while let Some(from) = next.filter(|from| *from < end) {
            let checked = core.store.check(extent, from).await;
            let inside: Vec<BadRun> = checked.bad.into_iter().filter(|run| run.offset < end).collect();
            restore_all(core, extent, &inside).await?;
            next = checked.next;
        }
        Ok(())
    };
    let restored = tokio::select! {
        restored = work => restored,
        () = core.env.clock.sleep_ms(RESTORE_MS_MAX) => Err(NotRestored::Late),
    };
    if let Err(NotRestored::StillBad) = restored {
        core.fail("bytes that were just written cannot be read");
    }
    restored
}

async fn restore_all(core: &Arc<Core>, extent: ExtentId, bad: &[BadRun]) -> Result<(), NotRestored> {
    for run in bad {
        restore(core, extent, *run).await?;
        core.scrub.found.inc();
        core.scrub.repaired.inc();
    }
    Ok(())
}

/// Restores one run.
///
/// # Errors
/// Any [`NotRestored`].
pub(crate) async fn restore(core: &Arc<Core>, extent: ExtentId, run: BadRun) -> Result<(), NotRestored> {
    if !is_bad(core, extent, run).await {
        // What made another run good made this one good.
        return Ok(());
    }
    // Which image a record named may still be remembered.
    let known = core.store.image(extent).await.ok().flatten();
    if let Some((_, image)) = known.filter(|(sequence, _)| run.is_image_record && *sequence == run.sequence) {
        core.store.restore_image(extent, run.sequence, &image).await?;
    } else {
        match copies::ask_set(core, extent).await {
            Asked::Home(set) => restore_at_home(core, extent, run, &set).await?,
            Asked::NotHome => have_said_again(core, extent, run).await?,
            Asked::Unknown => return Err(NotRestored::Unknown),
        }
    }
    if is_bad(core, extent, run).await {
        return Err(NotRestored::StillBad);
    }
    let BadRun { offset, length, is_image_record, .. } = run;
    tracing::info!(%extent, offset, length, is_image_record, "bytes of the journal are good again");
    Ok(())
}

async fn is_bad(core: &Core, extent: ExtentId, run: BadRun) -> bool {
    let BadRun { offset, length, .. } = run;
    let from = if run.is_image_record { 0 } else { offset };
    let again = core.store.check(extent, from).await;
    let overlaps = |one: &BadRun| one.offset < offset + length && offset < one.offset + one.length;
    again.bad.iter().any(|one| one.is_image_record == run.is_image_record && overlaps(one))
}

/// Fetches what is bad from a backup that has it.
async fn restore_at_home(
    core: &Arc<Core>,
    extent: ExtentId,
    run: BadRun,
    set: &CopySet,
) -> Result<(), NotRestored> {
    let kept = copies::keep(core, set).ok_or(NotRestored::Nobody)?;
    // Not that it has everything: what lacks these bytes may just be the reason that it does not.
    // Its sequences tell.
    if !kept.is_at_epoch(Epoch(set.epoch)) {
        return Err(NotRestored::Unsettled);
    }
    let data = fetch(core, extent, &kept, set, run).await.ok_or(NotRestored::Nobody)?;
    if run.is_image_record {
        let image = ImageRef::decode(&data).map_err(|_| NotRestored::Nobody)?;
        core.store.restore_image(extent, run.sequence, &image).await?;
    } else {
        core.store.restore(extent, run.offset, run.sequence, data).await?;
    }
    Ok(())
}

/// As a backup: the home says everything again, above what is bad.
async fn have_said_again(core: &Core, extent: ExtentId, run: BadRun) -> Result<(), NotRestored> {
    let set = copies::ask_as_backup(core, extent).await.ok_or(NotRestored::NotOurs)?;
    let own = core.server().ok_or(NotRestored::Unknown)?;
    let kept = set.backups.iter().find(|one| one.server == own.0).ok_or(NotRestored::NotOurs)?;
    if kept.filling {
        return Err(NotRestored::Unsettled);
    }
    let home = core.directory.neighbour(&core.env, DataServerId(set.home)).ok_or(NotRestored::Unknown)?;
    let args = SayAgain { extent: set.extent, epoch: set.epoch, server: own.0 };
    let said = home.link.ask_within::<Nothing>(Procedure::SayAgain, &args, SAY_AGAIN_MS_MAX).await;
    said.map_err(|error| {
        home.link.disconnect_if_silent(&error);
        NotRestored::Home(error)
    })?;
    core.store.relieve(&[run.segment]);
    Ok(())
}

async fn fetch(
    core: &Core,
    extent: ExtentId,
    kept: &ExtentCopies,
    set: &CopySet,
    run: BadRun,
) -> Option<bytes::Bytes> {
    let name = ExtentName { ino: extent.ino, index: extent.index };
    let length = if run.is_image_record { 0 } else { run.length };
    let args = ReadData { extent: name, epoch: set.epoch, offset: run.offset, length };
    for backup in set.backups.iter().filter(|backup| !backup.filling) {
        let neighbour = core.directory.neighbour(&core.env, DataServerId(backup.server));
        let Some(neighbour) = neighbour else { continue };
        // A home that was told everything again when it was a backup has the same bytes at higher
        // sequences than other backups.
        let has_all = kept.has_all(core, DataServerId(backup.server));
        let asked =
            neighbour.link.ask_within::<HeldData>(Procedure::ReadData, &args, IMAGE_CALL_MS_MAX).await;
        match asked {
            Ok(held) if (run.sequence <= held.sequence || has_all) && fits(&run, &held) => {
                return Some(held.data);
            }
            Ok(held) => {
                tracing::warn!(%extent, backup = backup.server, sequence = held.sequence, "a backup has older bytes");
            }
            Err(error) => {
                tracing::warn!(%extent, backup = backup.server, %error, "a backup gives no bytes");
                neighbour.link.disconnect_if_silent(&error);
            }
        }
    }
    None
}

/// Whether it is what was asked for.
fn fits(run: &BadRun, held: &HeldData) -> bool {
    if !run.is_image_record {
        return held.data.len() == run.length as usize;
    }
    // A newer image says the same, with what lies above the one that is looked for.
    ImageRef::decode(&held.data).is_ok_and(|image| image.content_bytes == run.length)
}
