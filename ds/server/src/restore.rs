//! Bytes of the journal that cannot be read: fetched from a replica and appended again, for the
//! scrub and for a READ that meets them.
//!
//! INVARIANT: bytes are appended again only if a replica of the set in force gave them, which is
//! not being filled, and either its records are no older than the bad one, or it has everything
//! that was ever said. Where its records are younger they are those of an overlay, or of acts that
//! were not promised.
//! Spec: docs/protocol/seal.md §10.

use std::sync::Arc;

use bytes::Bytes;
use ds_store::{BadRun, ChangeError, ImageRef, Store};
use layout::{DataServerId, Epoch, ExtentId};
use tokio::sync::Semaphore;
use wire_nfs::control::copies::CopySet;
use wire_nfs::control::replicate::{HeldData, ReadData, SayAgain};
use wire_nfs::control::{Nothing, Procedure};

use crate::copies::image::Asked;
use crate::copies::{ExtentCopies, Replication};
use crate::directory::Directory;
use crate::lease::Serving;
use crate::limits::{IMAGE_CALL_MS_MAX, RESTORE_MS_MAX, RESTORES_MAX, SAY_AGAIN_MS_MAX};
use crate::link::{AskError, extent_name};
use crate::scrub::metrics::ScrubMetrics;

/// Why a run is as bad as before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRestored {
    #[error("no metadata server tells which servers keep the extent")]
    Unknown,
    #[error("this server is not of its set, so no client needs it here")]
    NotOurs,
    #[error("a replica is being filled, or the set changes")]
    Unsettled,
    #[error("no replica gives the bytes")]
    NoReplica,
    #[error("the primary does not send them again: {0}")]
    Primary(AskError),
    #[error("{0}")]
    Change(#[from] ChangeError),
    #[error("it is still bad")]
    StillBad,
    #[error("it takes too long")]
    Late,
}

/// Restores what this server's journal does not give.
pub(crate) struct Restorer {
    store: Store,
    serving: Arc<Serving>,
    directory: Arc<Directory>,
    replication: Arc<Replication>,
    scrub: ScrubMetrics,
    /// READs that may have bytes restored at once.
    turns: Semaphore,
}

impl Restorer {
    pub(crate) fn new(
        store: Store,
        serving: Arc<Serving>,
        directory: Arc<Directory>,
        replication: Arc<Replication>,
        scrub: ScrubMetrics,
    ) -> Self {
        Self { store, serving, directory, replication, scrub, turns: Semaphore::new(RESTORES_MAX) }
    }

    /// Restores what is bad in a range of an extent that this server is primary of, while a client
    /// waits. Other parts of the extent are left to the scrub.
    ///
    /// # Units
    /// `offset` counts bytes from the start of the extent.
    /// # Errors
    /// Any [`NotRestored`].
    pub(crate) async fn restore_range(
        &self,
        extent: ExtentId,
        offset: u32,
        length: u32,
    ) -> Result<(), NotRestored> {
        let work = async {
            let _turn = self.turns.acquire().await.map_err(|_| NotRestored::Late)?;
            // A look at the extent's start is one at its image's record as well.
            if offset != 0 && self.store.image(extent).await.is_err() {
                let mut bad = self.store.check(extent, 0).await.bad;
                bad.retain(|run| run.is_image_record);
                self.restore_runs(extent, &bad).await?;
            }
            let (mut next, end) = (Some(offset), offset.saturating_add(length));
            while let Some(from) = next.filter(|from| *from < end) {
                let checked = self.store.check(extent, from).await;
                let inside: Vec<BadRun> = checked.bad.into_iter().filter(|run| run.offset < end).collect();
                self.restore_runs(extent, &inside).await?;
                assert!(checked.next.is_none_or(|next| from < next), "a check goes on forward");
                next = checked.next;
            }
            Ok(())
        };
        let restored = tokio::select! {
            restored = work => restored,
            () = self.replication.clock.sleep_ms(RESTORE_MS_MAX) => Err(NotRestored::Late),
        };
        if let Err(NotRestored::StillBad) = restored {
            self.serving.fail_disk("bytes that were just written cannot be read");
        }
        restored
    }

    async fn restore_runs(&self, extent: ExtentId, bad: &[BadRun]) -> Result<(), NotRestored> {
        for run in bad {
            self.restore_run(extent, *run).await?;
            self.scrub.found.inc();
            self.scrub.repaired.inc();
        }
        Ok(())
    }

    /// Restores one run.
    ///
    /// # Errors
    /// Any [`NotRestored`].
    pub(crate) async fn restore_run(&self, extent: ExtentId, run: BadRun) -> Result<(), NotRestored> {
        if !self.is_bad(extent, run).await {
            // What restored another run has restored this one.
            return Ok(());
        }
        // The store may still remember which image a record named.
        let known = self.store.image(extent).await.ok().flatten();
        let named = known.filter(|(sequence, _)| run.is_image_record && *sequence == run.sequence);
        if let Some((_, image)) = named {
            self.store.restore_image(extent, run.sequence, &image).await?;
        } else {
            match self.replication.ask_set(extent).await {
                Asked::Primary(set) => self.restore_as_primary(extent, run, &set).await?,
                Asked::NotPrimary => self.restore_as_replica(extent, run).await?,
                Asked::Unknown => return Err(NotRestored::Unknown),
            }
        }
        if self.is_bad(extent, run).await {
            return Err(NotRestored::StillBad);
        }
        let BadRun { offset, length, is_image_record, .. } = run;
        tracing::info!(
            %extent, offset, length, is_image_record,
            "bytes of the journal are restored"
        );
        Ok(())
    }

    async fn is_bad(&self, extent: ExtentId, run: BadRun) -> bool {
        let BadRun { offset, length, .. } = run;
        let from = if run.is_image_record { 0 } else { offset };
        let again = self.store.check(extent, from).await;
        let overlaps = |one: &BadRun| one.offset < offset + length && offset < one.offset + one.length;
        again.bad.iter().any(|one| one.is_image_record == run.is_image_record && overlaps(one))
    }

    /// Fetches what is bad from a replica that has it.
    async fn restore_as_primary(
        &self,
        extent: ExtentId,
        run: BadRun,
        set: &CopySet,
    ) -> Result<(), NotRestored> {
        let kept = self.replication.adopt_set(set).ok_or(NotRestored::NoReplica)?;
        // Not that a replica has everything: what lacks these bytes may just be the reason that it
        // does not. Its sequences tell.
        if !kept.is_at_epoch(Epoch(set.epoch)) {
            return Err(NotRestored::Unsettled);
        }
        let data = self.fetch_run(extent, &kept, set, run).await.ok_or(NotRestored::NoReplica)?;
        if run.is_image_record {
            let image = ImageRef::decode(&data).map_err(|_| NotRestored::NoReplica)?;
            self.store.restore_image(extent, run.sequence, &image).await?;
        } else {
            assert_eq!(data.len(), run.length as usize, "what was fetched fits the run");
            self.store.restore(extent, run.offset, run.sequence, data).await?;
        }
        Ok(())
    }

    /// Has the primary send everything again, above what is bad here.
    async fn restore_as_replica(&self, extent: ExtentId, run: BadRun) -> Result<(), NotRestored> {
        let set = self.replication.ask_set_as_replica(extent).await.ok_or(NotRestored::NotOurs)?;
        let own = self.directory.own().ok_or(NotRestored::Unknown)?;
        let kept = set.backups.iter().find(|one| one.server == own.0).ok_or(NotRestored::NotOurs)?;
        if kept.filling {
            return Err(NotRestored::Unsettled);
        }
        let primary = self.directory.neighbour(DataServerId(set.home)).ok_or(NotRestored::Unknown)?;
        let args = SayAgain { extent: set.extent, epoch: set.epoch, server: own.0 };
        let said = primary.link.ask_within::<Nothing>(Procedure::SayAgain, &args, SAY_AGAIN_MS_MAX).await;
        said.map_err(|error| {
            primary.link.disconnect_if_silent(&error);
            NotRestored::Primary(error)
        })?;
        self.store.relieve(&[run.segment]);
        Ok(())
    }

    async fn fetch_run(
        &self,
        extent: ExtentId,
        kept: &ExtentCopies,
        set: &CopySet,
        run: BadRun,
    ) -> Option<Bytes> {
        let length = if run.is_image_record { 0 } else { run.length };
        let args = ReadData { extent: extent_name(extent), epoch: set.epoch, offset: run.offset, length };
        for replica in set.backups.iter().filter(|replica| !replica.filling) {
            let server = DataServerId(replica.server);
            let Some(neighbour) = self.directory.neighbour(server) else { continue };
            // A primary that was sent everything again when it was a replica has the same bytes at
            // higher sequences than other replicas.
            let has_all = kept.has_all(&self.replication, server);
            let asked =
                neighbour.link.ask_within::<HeldData>(Procedure::ReadData, &args, IMAGE_CALL_MS_MAX).await;
            match asked {
                Ok(held) if (run.sequence <= held.sequence || has_all) && fits(&run, &held) => {
                    return Some(held.data);
                }
                Ok(held) => {
                    tracing::warn!(
                        %extent, replica = server.0, sequence = held.sequence,
                        "a replica has older bytes"
                    );
                }
                Err(error) => {
                    tracing::warn!(%extent, replica = server.0, %error, "a replica gives no bytes");
                    neighbour.link.disconnect_if_silent(&error);
                }
            }
        }
        None
    }
}

/// Whether the bytes are those that were asked for.
fn fits(run: &BadRun, held: &HeldData) -> bool {
    if !run.is_image_record {
        return held.data.len() == run.length as usize;
    }
    // A newer image says the same, with what lies above the one that is restored.
    ImageRef::decode(&held.data).is_ok_and(|image| image.content_bytes == run.length)
}
