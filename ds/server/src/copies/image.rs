//! The set of copies in force, as metadata servers say it; and having every replica of a set use an
//! image.
//!
//! INVARIANT: what [`ExtentCopies::have_image_said`] and [`ExtentCopies::check_image_used`] have
//! answered is on the stable storage of every replica of the set of that epoch.
//! Spec: docs/protocol/seal.md §1, §4.

use std::sync::Arc;

use ds_store::ImageRef;
use futures_util::future::join_all;
use layout::ec::ImageId;
use layout::{DataServerId, Epoch, ExtentId};
use wire_nfs::control::copies::{CopySet, Word};

use super::call::{self, CopiesAnswer, Record, Target};
use super::member::{Fault, Member, Step};
use super::{ExtentCopies, Replication, SettleError};
use crate::limits::SETTLE_MS_MAX;

/// What a metadata server says of the set.
pub(crate) enum Asked {
    /// This server is primary of it.
    Primary(CopySet),
    /// Another data server is, or none: the extent is gone.
    NotPrimary,
    /// No metadata server could be asked, or it is not the time.
    Unknown,
}

impl Replication {
    /// Asks for the set in force, and whether it rests: then no CUT of this epoch comes any more.
    pub(crate) async fn ask_set_at_rest(&self, extent: ExtentId) -> Asked {
        self.ask_set_with(extent, Word::Seal).await
    }

    /// Asks for the set in force, whether it rests or not.
    pub(crate) async fn ask_set(&self, extent: ExtentId) -> Asked {
        self.ask_set_with(extent, Word::Ask).await
    }

    async fn ask_set_with(&self, extent: ExtentId, word: Word) -> Asked {
        match call::report_copies(self, extent, word, DataServerId(0), Epoch(0)).await {
            CopiesAnswer::Set(set) if self.directory.is_own(set.home) => Asked::Primary(set),
            CopiesAnswer::Set(_) | CopiesAnswer::NotPrimary => Asked::NotPrimary,
            CopiesAnswer::Silence => Asked::Unknown,
        }
    }

    /// Asks for the set in force, as one of its replicas.
    pub(crate) async fn ask_set_as_replica(&self, extent: ExtentId) -> Option<CopySet> {
        match call::report_copies(self, extent, Word::Who, DataServerId(0), Epoch(0)).await {
            CopiesAnswer::Set(set) => Some(set),
            CopiesAnswer::NotPrimary | CopiesAnswer::Silence => None,
        }
    }

    /// Learns from a metadata server which copies are in force: a handle from before this server
    /// was started, and from before a change that its journal tells of, may name others.
    ///
    /// # Errors
    /// `Deposed` if another data server is primary; `Late` if no metadata server tells.
    pub(crate) async fn learn_set(self: &Arc<Self>, extent: ExtentId) -> Result<(), SettleError> {
        let known = self.store.size(extent).epoch;
        match self.ask_set(extent).await {
            Asked::Primary(set) => {
                self.adopt_set(&set);
                self.store.note_copies_told(extent);
                Ok(())
            }
            Asked::NotPrimary => {
                self.depose_extent(extent, known).await;
                Err(SettleError::Deposed)
            }
            Asked::Unknown => Err(SettleError::Late),
        }
    }
}

impl ExtentCopies {
    /// Sends everything to a replica again, above what it has, and waits until that is on its
    /// stable storage.
    ///
    /// # Errors
    /// Any [`SettleError`]; `Late` also if the server is none of the set.
    pub(crate) async fn resend_all(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        replica: DataServerId,
    ) -> Result<(), SettleError> {
        self.wait_for_open(replication).await?;
        let is_told = {
            let mut state = self.state.lock();
            let member = state.members.iter_mut().find(|one| one.server == replica);
            member.map(Member::say_again).is_some()
        };
        if !is_told {
            return Err(SettleError::Late);
        }
        self.settle(replication, replication.store.sequence(self.id), SETTLE_MS_MAX).await
    }

    /// Has every replica say the image in place of everything up to `sequence`, if the set still
    /// has this epoch.
    ///
    /// # Errors
    /// Any [`SettleError`]; `Late` also if a replica did not do it, is being filled, or the set is
    /// another one; `OtherImage` if a replica goes on with another image.
    pub(crate) async fn have_image_said(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        epoch: Epoch,
        sequence: u64,
        image: &ImageRef,
    ) -> Result<(), SettleError> {
        self.wait_for_open(replication).await?;
        // The replicas have all that the image stands for, so the one that becomes primary gives
        // sequences above it.
        self.settle(replication, sequence, SETTLE_MS_MAX).await?;
        let replicas = self.replicas_at(epoch)?;
        let says = replicas.iter().map(async |(server, instance)| {
            let record = Record::from_image(sequence, image);
            let to = Target { server: *server, instance: *instance, epoch };
            call::send_record(replication, self.id, to, record, true, None).await
        });
        let began_ms = replication.clock.monotonic_ms();
        let said = join_all(says).await;
        assert_eq!(said.len(), replicas.len(), "each replica was sent the image");
        let faults = replicas.iter().zip(&said).filter_map(|((server, _), said)| Some((server, said.err()?)));
        let faults: Vec<(&DataServerId, Fault)> = faults.collect();
        if !faults.is_empty() {
            let is_other = faults.iter().any(|(_, fault)| *fault == Fault::OtherImage);
            let mut state = self.state.lock();
            for (server, fault) in faults {
                // The driver attaches a replica that was started again, and tells it again then.
                let member = state.members.iter_mut().find(|one| one.server == *server);
                let Some(member) = member else { continue };
                member.failed(Step::Rest, fault, began_ms);
            }
            drop(state);
            self.start_drive(replication);
            return Err(if is_other { SettleError::OtherImage } else { SettleError::Late });
        }
        if self.replicas_at(epoch)? == replicas { Ok(()) } else { Err(SettleError::Late) }
    }

    /// Checks that every replica uses the image that the journal here uses, if the set still has
    /// this epoch. A replica that does not is sent everything again.
    ///
    /// The IMAGE is not sent: its sequence here may be one that an overlay gave to this server when
    /// it was a replica, and another replica then has acts below it that the image has not.
    ///
    /// # Errors
    /// As [`have_image_said`](Self::have_image_said).
    pub(crate) async fn check_image_used(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        epoch: Epoch,
        sequence: u64,
        image: ImageId,
    ) -> Result<(), SettleError> {
        self.wait_for_open(replication).await?;
        self.settle(replication, sequence, SETTLE_MS_MAX).await?;
        let replicas = self.replicas_at(epoch)?;
        let asks = replicas.iter().map(async |(server, instance)| {
            let used = call::ask_used_image(replication, self.id, *server, epoch).await?;
            // It may use the image by a record that it has not made durable yet.
            call::flush_replica(replication, *server, *instance).await.map(|()| used == Some(image))
        });
        let began_ms = replication.clock.monotonic_ms();
        let answers = join_all(asks).await;
        let mut error = None;
        {
            let mut state = self.state.lock();
            for ((server, _), answer) in replicas.iter().zip(answers) {
                let Some(member) = state.members.iter_mut().find(|one| one.server == *server) else {
                    continue;
                };
                match answer {
                    Ok(true) => {}
                    Ok(false) => {
                        member.say_again();
                        error = Some(SettleError::OtherImage);
                    }
                    Err(fault) => {
                        member.failed(Step::Rest, fault, began_ms);
                        error.get_or_insert(SettleError::Late);
                    }
                }
            }
        }
        match error {
            Some(error) => {
                self.start_drive(replication);
                Err(error)
            }
            None if self.replicas_at(epoch)? == replicas => Ok(()),
            None => Err(SettleError::Late),
        }
    }

    /// Whether a replica surely has everything that was said so far, on stable storage.
    pub(crate) fn has_all(&self, replication: &Replication, replica: DataServerId) -> bool {
        let sequence = replication.store.sequence(self.id);
        self.state.lock().members.iter().any(|one| one.server == replica && one.is_stable(sequence))
    }

    /// The replicas and their instances, none of them being filled.
    fn replicas_at(&self, epoch: Epoch) -> Result<Vec<(DataServerId, u64)>, SettleError> {
        let state = self.state.lock();
        if state.deposed {
            return Err(SettleError::Deposed);
        }
        if state.epoch != epoch || state.members.iter().any(|one| one.filling) {
            return Err(SettleError::Late);
        }
        let attached = |one: &Member| one.instance().map(|instance| (one.server, instance));
        state.members.iter().map(|one| attached(one).ok_or(SettleError::Late)).collect()
    }
}
