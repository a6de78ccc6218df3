//! The copies of the extents that this server is home of: who keeps them, and that they get all
//! there is.
//!
//! `member` decides, `call` talks to backups and metadata servers, `drive` brings both together,
//! one task an extent that has something to do. What a request needs is here: [`ready`] before a
//! WRITE, [`ExtentCopies::send`] beside it, and [`ExtentCopies::settle`] before anything is called
//! stable.
//!
//! INVARIANT: the copies of an extent are looked up after a WRITE has its sequence. So a backup
//! that joins either gets its record, or finds it in the index once the sequence has risen above
//! it.
//! Spec: docs/protocol/replicate.md §2, §3.

mod call;
mod drive;
mod image;
mod member;
mod table;

use std::sync::Arc;

use layout::{DsHandle, Epoch, ExtentId};
use wire_nfs::control::copies::CopySet;

use crate::core::Core;
use crate::extent_name::id_of;
use crate::limits::SETTLE_MS_MAX;
use crate::slow;
use call::Heard;
pub(crate) use image::{Asked, ask, ask_as_backup, ask_set};
pub(crate) use table::{CopyTable, ExtentCopies, SettleError};
use table::{State, Told, Waiter};

/// Sees to it that a WRITE under this handle may begin: every backup was asked what it has.
///
/// # Errors
/// Any [`SettleError`].
pub(crate) async fn ready(
    core: &Arc<Core>,
    handle: &DsHandle,
) -> Result<Option<Arc<ExtentCopies>>, SettleError> {
    let Some(copies) = core.copies.tell(handle.extent, &Told::by_handle(handle)) else { return Ok(None) };
    copies.opened(core).await.map(|()| Some(copies))
}

/// Learns from a metadata server which copies are in force: a handle from before we were started,
/// and from before a change that our journal tells of, may name others.
///
/// # Errors
/// `Deposed` if another data server is home; `Late` if no metadata server tells.
pub(crate) async fn learn(core: &Arc<Core>, extent: ExtentId) -> Result<(), SettleError> {
    let known = core.store.size(extent).epoch;
    match image::ask_set(core, extent).await {
        image::Asked::Home(set) => {
            keep(core, &set);
            core.store.note_copies_told(extent);
            Ok(())
        }
        image::Asked::NotHome => {
            depose(core, extent, known).await;
            Err(SettleError::Deposed)
        }
        image::Asked::Unknown => Err(SettleError::Late),
    }
}

/// A metadata server has said that somebody else is home, when `epoch` was the highest that was
/// known here: every handle up to that is refused. We may be home again at a higher one.
pub(crate) async fn depose(core: &Core, extent: ExtentId, epoch: Epoch) {
    tracing::warn!(%extent, "another data server is home now");
    core.copies.forget_below(extent, epoch.next());
    if let Err(error) = core.store.fence(extent, epoch.next()).await {
        core.note(&error);
    }
}

/// The copies to settle before a COMMIT under this handle is answered. Where none are known nothing
/// was written since we became home: there is nothing to promise.
pub(crate) fn to_commit(core: &Core, handle: &DsHandle) -> Option<Arc<ExtentCopies>> {
    core.copies.find(handle.extent)?;
    core.copies.tell(handle.extent, &Told::by_handle(handle))
}

/// A metadata server tells where the copies are: looks after them from now on.
pub(crate) fn keep(core: &Arc<Core>, set: &CopySet) -> Option<Arc<ExtentCopies>> {
    let copies = core.copies.tell(id_of(set.extent), &Told::by_metadata(set))?;
    copies.kick(core);
    Some(copies)
}

impl ExtentCopies {
    /// Waits until WRITEs may begin.
    pub(crate) async fn opened(self: &Arc<Self>, core: &Arc<Core>) -> Result<(), SettleError> {
        let waiting = self.wait(core, SETTLE_MS_MAX, State::may_begin);
        slow::waited(&*core.env.clock, self.id, "backups to be attached", || self.backups(), waiting).await
    }

    /// Waits until every act up to `sequence` is on the stable storage of all backups in force.
    ///
    /// # Errors
    /// Any [`SettleError`].
    pub(crate) async fn settle(
        self: &Arc<Self>,
        core: &Arc<Core>,
        sequence: u64,
        ms_max: u64,
    ) -> Result<(), SettleError> {
        let waiting = self.wait(core, ms_max, |state| state.settled(sequence));
        slow::waited(&*core.env.clock, self.id, "stable storage of backups", || self.backups(), waiting).await
    }

    async fn wait(
        self: &Arc<Self>,
        core: &Arc<Core>,
        ms_max: u64,
        done: impl Fn(&State) -> Option<Result<(), SettleError>>,
    ) -> Result<(), SettleError> {
        if let Some(outcome) = done(&self.state.lock()) {
            return outcome;
        }
        let _waiter = Waiter::new(self);
        let late = core.env.clock.sleep_ms(ms_max);
        tokio::pin!(late);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed.
            changed.as_mut().enable();
            if let Some(outcome) = done(&self.state.lock()) {
                return outcome;
            }
            self.kick(core);
            tokio::select! {
                () = changed => {}
                () = &mut late => return Err(SettleError::Late),
            }
        }
    }
}

#[cfg(test)]
mod tests;
