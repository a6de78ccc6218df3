//! Images and the copies of an extent: the set in force before one is sealed, and having every
//! backup say an image.
//!
//! INVARIANT: what [`ExtentCopies::say_image`] and [`ExtentCopies::use_image`] have answered is on
//! the stable storage of every backup of the set of that epoch.
//! Spec: docs/protocol/seal.md §1, §4.

use std::sync::Arc;

use ds_store::ImageRef;
use futures_util::future::join_all;
use layout::ec::ImageId;
use layout::{DataServerId, Epoch, ExtentId};
use wire_nfs::control::copies::{CopySet, Word};

use super::call::{self, Line};
use super::member::{Fault, Step};
use super::{ExtentCopies, Heard, SettleError};
use crate::core::Core;
use crate::limits::SETTLE_MS_MAX;

/// What a metadata server says of the set.
pub(crate) enum Asked {
    /// We are home of it.
    Home(CopySet),
    /// Somebody else is, or nobody: the extent is gone.
    NotHome,
    /// Nobody could be asked, or it is not the time.
    Unknown,
}

/// Asks for the set in force, and whether it rests: then no CUT of this epoch comes any more.
pub(crate) async fn ask(core: &Core, extent: ExtentId) -> Asked {
    asked(core, extent, Word::Seal).await
}

async fn asked(core: &Core, extent: ExtentId, word: Word) -> Asked {
    match call::tell(core, extent, word, DataServerId(0), Epoch(0)).await {
        Heard::Set(set) if core.server().is_some_and(|own| own.0 == set.home) => Asked::Home(set),
        Heard::Set(_) | Heard::NotHome => Asked::NotHome,
        Heard::Nothing => Asked::Unknown,
    }
}

/// Asks for the set in force, whether it rests or not.
pub(crate) async fn ask_set(core: &Core, extent: ExtentId) -> Asked {
    asked(core, extent, Word::Ask).await
}

/// Asks for the set in force, as one of its backups.
pub(crate) async fn ask_as_backup(core: &Core, extent: ExtentId) -> Option<CopySet> {
    match call::tell(core, extent, Word::Who, DataServerId(0), Epoch(0)).await {
        Heard::Set(set) => Some(set),
        Heard::NotHome | Heard::Nothing => None,
    }
}

impl ExtentCopies {
    /// Says everything to a backup again, above what it has, and waits until that is on its stable
    /// storage.
    ///
    /// # Errors
    /// Any [`SettleError`]; `Late` also if it is none of the set.
    pub(crate) async fn say_again(
        self: &Arc<Self>,
        core: &Arc<Core>,
        backup: DataServerId,
    ) -> Result<(), SettleError> {
        self.opened(core).await?;
        let is_told = {
            let mut state = self.state.lock();
            let member = state.members.iter_mut().find(|one| one.server == backup);
            member.map(super::member::Member::say_again).is_some()
        };
        if !is_told {
            return Err(SettleError::Late);
        }
        self.settle(core, core.store.sequence(self.id), SETTLE_MS_MAX).await
    }

    /// Has every backup say the image in place of everything up to `sequence`, if the set still has
    /// this epoch.
    ///
    /// # Errors
    /// Any [`SettleError`]; `Late` also if a backup did not do it, is being filled, or the set is
    /// another one; `OtherImage` if one goes on with another image.
    pub(crate) async fn say_image(
        self: &Arc<Self>,
        core: &Arc<Core>,
        epoch: Epoch,
        sequence: u64,
        image: &ImageRef,
    ) -> Result<(), SettleError> {
        self.opened(core).await?;
        // They have all that the image stands for, so whoever of them becomes home gives sequences
        // above it.
        self.settle(core, sequence, SETTLE_MS_MAX).await?;
        let backups = self.backups_at(epoch)?;
        let says = backups.iter().map(async |(server, instance)| {
            let line = Line::image(sequence, image);
            call::record(core, self.id, *server, (*instance, epoch), line, true, None).await
        });
        let began_ms = core.env.clock.monotonic_ms();
        let said = join_all(says).await;
        let faults = backups.iter().zip(&said).filter_map(|((server, _), said)| Some((server, said.err()?)));
        let faults: Vec<(&DataServerId, Fault)> = faults.collect();
        if !faults.is_empty() {
            let is_other = faults.iter().any(|(_, fault)| *fault == Fault::OtherImage);
            let mut state = self.state.lock();
            for (server, fault) in faults {
                // One that was started again is attached anew, and then told again.
                let member = state.members.iter_mut().find(|one| one.server == *server);
                let Some(member) = member else { continue };
                member.failed(Step::Rest, fault, began_ms);
            }
            drop(state);
            self.kick(core);
            return Err(if is_other { SettleError::OtherImage } else { SettleError::Late });
        }
        if self.backups_at(epoch)? == backups { Ok(()) } else { Err(SettleError::Late) }
    }

    /// Sees that every backup uses the image that the journal here uses, if the set still has this
    /// epoch. Whoever does not is told everything again.
    ///
    /// The IMAGE is not sent: its sequence here may be one that an overlay gave to this server when
    /// it was a backup, and another backup then has acts below it that the image has not.
    ///
    /// # Errors
    /// As [`say_image`](Self::say_image).
    pub(crate) async fn use_image(
        self: &Arc<Self>,
        core: &Arc<Core>,
        epoch: Epoch,
        sequence: u64,
        image: ImageId,
    ) -> Result<(), SettleError> {
        self.opened(core).await?;
        self.settle(core, sequence, SETTLE_MS_MAX).await?;
        let backups = self.backups_at(epoch)?;
        let asks = backups.iter().map(async |(server, instance)| {
            let used = call::used_image(core, self.id, *server, epoch).await?;
            // What it says may be a record that it has not made durable yet.
            call::flush(core, *server, *instance).await.map(|()| used == Some(image))
        });
        let began_ms = core.env.clock.monotonic_ms();
        let answers = join_all(asks).await;
        let mut error = None;
        {
            let mut state = self.state.lock();
            for ((server, _), answer) in backups.iter().zip(answers) {
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
                self.kick(core);
                Err(error)
            }
            None if self.backups_at(epoch)? == backups => Ok(()),
            None => Err(SettleError::Late),
        }
    }

    /// Whether a backup surely has everything that was said so far, on stable storage.
    pub(crate) fn has_all(&self, core: &Core, backup: DataServerId) -> bool {
        let sequence = core.store.sequence(self.id);
        self.state.lock().members.iter().any(|one| one.server == backup && one.is_stable(sequence))
    }

    /// Whether the set known here is the one of this epoch.
    pub(crate) fn is_at_epoch(&self, epoch: Epoch) -> bool {
        self.state.lock().epoch == epoch
    }

    /// The backups and their instances, none of them being filled.
    fn backups_at(&self, epoch: Epoch) -> Result<Vec<(DataServerId, u64)>, SettleError> {
        let state = self.state.lock();
        if state.deposed {
            return Err(SettleError::Deposed);
        }
        if state.epoch != epoch || state.members.iter().any(|one| one.filling) {
            return Err(SettleError::Late);
        }
        let attached = |one: &super::member::Member| one.instance().map(|instance| (one.server, instance));
        state.members.iter().map(|one| attached(one).ok_or(SettleError::Late)).collect()
    }
}
