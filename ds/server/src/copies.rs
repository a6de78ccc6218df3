//! The copies of the extents that this server is home of: who keeps them, and that they get all there is.
//!
//! `member` decides, `call` talks to backups and metadata servers, `drive` brings both together, one task an extent that has
//! something to do. What a request needs is here: [`ready`] before a WRITE, [`ExtentCopies::send`] beside it, and
//! [`ExtentCopies::settle`] before anything is called stable.
//!
//! INVARIANT: the copies of an extent are looked up after a WRITE has its sequence. So a backup that joins either gets its record,
//! or finds it in the index once the sequence has risen above it.
//! Spec: docs/protocol/replicate.md §2, §3.

mod call;
mod drive;
mod image;
mod member;

use std::collections::HashMap;
use std::sync::Arc;

use layout::{DsHandle, Epoch, ExtentId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire_nfs::control::copies::CopySet;

use crate::core::Core;
use crate::limits::{COPIES_KNOWN_MAX, SETTLE_MS_MAX};
use crate::replica::id;
use crate::slow;
use call::Heard;
pub(crate) use image::{Asked, ask, ask_as_backup, ask_set};
use member::Member;

/// Why copies are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettleError {
    /// Somebody else is home.
    Deposed,
    /// A backup has no room.
    NoSpace,
    /// A backup says another image above this one, since everything was said to it again.
    OtherImage,
    /// It takes longer than a caller should wait.
    Late,
}

/// All extents whose copies are known.
#[derive(Default)]
pub(crate) struct CopyTable {
    known: Mutex<HashMap<ExtentId, Arc<ExtentCopies>>>,
}

/// One extent.
pub(crate) struct ExtentCopies {
    id: ExtentId,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    epoch: Epoch,
    members: Vec<Member>,
    /// Every member was attached once: WRITEs may begin.
    opened: bool,
    deposed: bool,
    /// The journal does not say the epoch yet under which the members changed.
    raise_due: bool,
    /// Those who wait for stable storage.
    waiters: u32,
    /// A task is at work.
    driven: bool,
    /// A backup without room is to be tried again.
    again_due: bool,
}

/// What somebody says about the copies.
struct Told {
    epoch: Epoch,
    /// A metadata server says so; else a handle, which may be older than others of its epoch.
    by_metadata: bool,
    /// Server, since (if told), being filled.
    backups: Vec<(layout::DataServerId, Option<Epoch>, bool)>,
}

impl CopyTable {
    /// The copies of an extent, if they are known.
    pub(crate) fn find(&self, extent: ExtentId) -> Option<Arc<ExtentCopies>> {
        self.known.lock().get(&extent).cloned()
    }

    /// The extents that we are believed to be home of, as far as they have, or had, backups.
    pub(crate) fn extents(&self) -> Vec<ExtentId> {
        let known = self.known.lock();
        known.iter().filter(|(_, entry)| !entry.state.lock().deposed).map(|(extent, _)| *extent).collect()
    }

    /// The extent is not ours any more, or gone.
    pub(crate) fn forget(&self, extent: ExtentId) {
        let Some(gone) = self.known.lock().remove(&extent) else { return };
        gone.state.lock().deposed = true;
        gone.changed.notify_waiters();
    }

    /// The extent was not ours below `epoch`, or is not any more: what was known of its copies then is worth nothing.
    pub(crate) fn forget_below(&self, extent: ExtentId, epoch: Epoch) {
        let mut known = self.known.lock();
        let is_old = |entry: &Arc<ExtentCopies>| entry.state.lock().epoch < epoch;
        let Some(gone) = known.get(&extent).cloned().filter(is_old) else { return };
        known.remove(&extent);
        drop(known);
        gone.state.lock().deposed = true;
        gone.changed.notify_waiters();
    }

    /// Takes note of copies. Extents that never had a backup need none.
    fn tell(&self, extent: ExtentId, told: &Told) -> Option<Arc<ExtentCopies>> {
        let mut known = self.known.lock();
        let entry = match known.get(&extent) {
            Some(entry) => Arc::clone(entry),
            None if told.backups.is_empty() => return None,
            None => {
                if COPIES_KNOWN_MAX <= known.len() {
                    known.retain(|_, entry| 1 < Arc::strong_count(entry) || !entry.state.lock().is_idle());
                }
                let entry = Arc::new(ExtentCopies::new(extent));
                known.insert(extent, Arc::clone(&entry));
                entry
            }
        };
        drop(known);
        entry.state.lock().take(told);
        entry.changed.notify_waiters();
        Some(entry)
    }
}

impl Told {
    fn by_handle(handle: &DsHandle) -> Self {
        let named = handle.backups.iter().flatten().map(|one| (one.server, None, one.filling));
        Self { epoch: handle.epoch, by_metadata: false, backups: named.collect() }
    }

    fn by_metadata(set: &CopySet) -> Self {
        let backup = |kept: &wire_nfs::control::copies::KeptBy| {
            (layout::DataServerId(kept.server), Some(Epoch(kept.since)), kept.filling)
        };
        let backups = set.backups.iter().map(backup).collect();
        Self { epoch: Epoch(set.epoch), by_metadata: true, backups }
    }
}

impl State {
    fn take(&mut self, told: &Told) {
        // A handle says nothing new at an epoch that is known.
        if told.epoch < self.epoch || (told.epoch == self.epoch && !told.by_metadata) {
            return;
        }
        let servers = |state: &Self| state.members.iter().map(|one| one.server).collect::<Vec<_>>();
        let before = servers(self);
        let (mut members, mut joined) = (Vec::with_capacity(told.backups.len()), false);
        for &(server, since, filling) in &told.backups {
            let known = self.members.iter().position(|one| {
                // A backup that left and came back is another one: it was told to forget everything in between.
                let same_stay = match since {
                    // By a handle we know nothing of since when, but that it was there at our epoch.
                    Some(since) => one.since == since || (one.since == Epoch(0) && since <= self.epoch),
                    // Only we can have said that it was filled, so one that holds everything never left.
                    None => !filling,
                };
                one.server == server && same_stay
            });
            members.push(match known {
                Some(at) => {
                    let mut one = self.members.swap_remove(at);
                    one.told(since.unwrap_or(one.since), filling);
                    one
                }
                None => {
                    joined = true;
                    Member::new(server, since.unwrap_or(Epoch(0)), filling, self.opened)
                }
            });
        }
        self.members = members;
        self.epoch = told.epoch;
        self.raise_due |= self.opened && (joined || before != servers(self));
    }

    fn is_idle(&self) -> bool {
        !self.driven
            && !self.again_due
            && self.waiters == 0
            && !self.raise_due
            && self.members.iter().all(Member::is_idle)
    }

    /// A backup that is counted on has no room.
    fn is_full(&self) -> bool {
        self.members.iter().any(|one| one.full && !one.filling)
    }

    /// Whether WRITEs may begin, or why they cannot.
    fn may_begin(&self) -> Option<Result<(), SettleError>> {
        if self.deposed {
            return Some(Err(SettleError::Deposed));
        }
        if self.opened {
            return Some(Ok(()));
        }
        // It is not asked again at once: whoever waits for that would keep a processor busy.
        self.is_full().then_some(Err(SettleError::NoSpace))
    }

    fn settled(&self, sequence: u64) -> Option<Result<(), SettleError>> {
        if self.deposed {
            return Some(Err(SettleError::Deposed));
        }
        if self.is_full() {
            return Some(Err(SettleError::NoSpace));
        }
        let stable = self.opened && !self.raise_due && self.members.iter().all(|one| one.is_stable(sequence));
        stable.then_some(Ok(()))
    }
}

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

/// Learns from a metadata server which copies are in force: a handle from before we were started, and from before a change that our
/// journal tells of, may name others.
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

/// A metadata server has said that somebody else is home, when `epoch` was the highest that was known here: every handle up to that
/// is refused. We may be home again at a higher one.
pub(crate) async fn depose(core: &Core, extent: ExtentId, epoch: Epoch) {
    tracing::warn!(%extent, "another data server is home now");
    core.copies.forget_below(extent, epoch.next());
    if let Err(error) = core.store.fence(extent, epoch.next()).await {
        core.note(&error);
    }
}

/// The copies to settle before a COMMIT under this handle is answered. Where none are known nothing was written since we
/// became home: there is nothing to promise.
pub(crate) fn to_commit(core: &Core, handle: &DsHandle) -> Option<Arc<ExtentCopies>> {
    core.copies.find(handle.extent)?;
    core.copies.tell(handle.extent, &Told::by_handle(handle))
}

/// A metadata server tells where the copies are: looks after them from now on.
pub(crate) fn keep(core: &Arc<Core>, set: &CopySet) -> Option<Arc<ExtentCopies>> {
    let copies = core.copies.tell(id(set.extent), &Told::by_metadata(set))?;
    copies.kick(core);
    Some(copies)
}

impl ExtentCopies {
    fn new(id: ExtentId) -> Self {
        let state = State {
            epoch: Epoch(0),
            members: Vec::new(),
            opened: false,
            deposed: false,
            raise_due: false,
            waiters: 0,
            driven: false,
            again_due: false,
        };
        Self { id, state: Mutex::new(state), changed: Notify::new() }
    }

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

    fn backups(&self) -> Vec<layout::DataServerId> {
        self.state.lock().members.iter().map(|one| one.server).collect()
    }

    /// What has a sequence from `from` on was not sent: it is to be fetched from the journal.
    pub(crate) fn behind(&self, from: u64) {
        self.state.lock().members.iter_mut().for_each(|one| one.missed(from));
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

/// Counts somebody who waits for stable storage.
struct Waiter<'a>(&'a ExtentCopies);

impl<'a> Waiter<'a> {
    fn new(copies: &'a ExtentCopies) -> Self {
        copies.state.lock().waiters += 1;
        Self(copies)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiters -= 1;
    }
}

#[cfg(test)]
mod tests;
