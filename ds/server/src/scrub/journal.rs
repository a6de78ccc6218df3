//! What the journal says of one extent: reading it, and fetching bad bytes from a backup.
//!
//! INVARIANT: bytes are said again only if a backup of the set in force gave them, which had everything up to the last sequence, from
//! records that are no older than the bad one.
//! Spec: docs/protocol/seal.md §10.

use ds_store::BadRun;
use layout::{Epoch, ExtentId};
use wire_nfs::control::Procedure;
use wire_nfs::control::copies::CopySet;
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::replicate::{HeldData, ReadData};

use super::Scrub;
use super::plan::Outcome;
use crate::copies::{self, Asked};
use crate::limits::{IMAGE_CALL_MS_MAX, SETTLE_MS_MAX};

/// Why a run is as bad as before.
#[derive(Debug, thiserror::Error)]
enum NotRestored {
    #[error("it is the record of an image")]
    ImageRecord,
    #[error("another data server is home, or nobody tells who is")]
    NotHome,
    #[error("a backup is being filled, or does not have everything")]
    Unsettled,
    #[error("no backup gives the bytes")]
    Nobody,
    #[error("{0}")]
    Change(#[from] ds_store::ChangeError),
    #[error("it is still bad")]
    StillBad,
}

impl Scrub {
    /// Looks after an extent.
    pub(super) async fn extent(&self, extent: ExtentId) -> Outcome {
        let (mut next, mut outcome) = (Some(0), Outcome::default());
        while let Some(from) = next {
            let checked = self.core.store.check(extent, from).await;
            for run in checked.bad {
                match self.restore(extent, run).await {
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

    async fn restore(&self, extent: ExtentId, run: BadRun) -> Result<(), NotRestored> {
        if run.is_image_record {
            return Err(NotRestored::ImageRecord);
        }
        let core = &self.core;
        let Asked::Home(set) = copies::ask(core, extent).await else { return Err(NotRestored::NotHome) };
        if set.backups.iter().any(|one| one.filling) {
            return Err(NotRestored::Unsettled);
        }
        let kept = copies::keep(core, &set).ok_or(NotRestored::Nobody)?;
        kept.opened(core).await.map_err(|_| NotRestored::Unsettled)?;
        let settled = kept.settle(core, core.store.sequence(extent), SETTLE_MS_MAX).await;
        settled.map_err(|_| NotRestored::Unsettled)?;
        if !kept.is_at_epoch(Epoch(set.epoch)) {
            return Err(NotRestored::Unsettled);
        }
        let data = self.fetch(extent, &set, run).await.ok_or(NotRestored::Nobody)?;
        core.store.restore(extent, run.offset, run.sequence, data).await?;
        let BadRun { offset, length, .. } = run;
        tracing::info!(%extent, offset, length, "bytes of the journal are good again: a backup had them");
        let again = core.store.check(extent, offset.max(1)).await;
        let is_it = |one: &BadRun| one.offset < offset + length && offset < one.offset + one.length;
        if again.bad.iter().any(is_it) { Err(NotRestored::StillBad) } else { Ok(()) }
    }

    async fn fetch(&self, extent: ExtentId, set: &CopySet, run: BadRun) -> Option<bytes::Bytes> {
        let name = ExtentName { ino: extent.ino, index: extent.index };
        let args = ReadData { extent: name, epoch: set.epoch, offset: run.offset, length: run.length };
        for backup in &set.backups {
            let neighbour =
                self.core.directory.neighbour(&self.core.env, layout::DataServerId(backup.server));
            let Some(neighbour) = neighbour else { continue };
            let asked =
                neighbour.link.ask_within::<HeldData>(Procedure::ReadData, &args, IMAGE_CALL_MS_MAX).await;
            match asked {
                Ok(held) if held.data.len() == run.length as usize && run.sequence <= held.sequence => {
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
}
