//! The copies of the extents that this server is primary of, as far as they are known: which
//! replicas keep them, how far each is, and what is stable.
//!
//! `member` decides what one replica needs, `call` talks to replicas and metadata servers, `drive`
//! brings both together, one task for an extent that has something to do, and `image` has replicas
//! use an image. What a request needs is here: [`Replication::open_for_write`] before a WRITE,
//! [`ExtentCopies::send_write`] beside it, and [`ExtentCopies::settle`] before an answer says
//! stable.
//!
//! INVARIANT: a WRITE finds the copies of its extent after it has its sequence. So a replica that
//! joins either gets the record, or finds it in the index once the sequence has risen above it.
//! Spec: docs/protocol/replicate.md §2, §3.

mod call;
mod drive;
pub(crate) mod image;
mod member;

use std::collections::HashMap;
use std::sync::Arc;

use ds_store::Store;
use env::Clock;
use layout::{DataServerId, DsHandle, Epoch, ExtentId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire_nfs::control::copies::{CopySet, KeptBy};

use crate::directory::Directory;
use crate::lease::Serving;
use crate::limits::{COPIES_KNOWN_MAX, SETTLE_MS_MAX};
use crate::link::extent_id;
use crate::metrics::{Metrics, log_if_slow};
use crate::scrub::wanted::Wanted;
use member::Member;

/// Why the replicas of an extent do not have what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettleError {
    /// Another data server is primary.
    Deposed,
    /// A replica has no room.
    NoSpace,
    /// A replica uses another image above this one, since the primary sent it everything again.
    OtherImage,
    /// It takes longer than a caller should wait.
    Late,
}

/// All extents whose copies are known.
#[derive(Default)]
pub(crate) struct CopyTable {
    known: Mutex<HashMap<ExtentId, Arc<ExtentCopies>>>,
}

/// What this server works with to bring replicas what they lack.
pub(crate) struct Replication {
    pub(crate) table: Arc<CopyTable>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Arc<Metrics>,
    /// Extents that this server's journal does not give.
    pub(crate) wanted: Arc<Wanted>,
}

/// The copies of one extent.
pub(crate) struct ExtentCopies {
    id: ExtentId,
    state: Mutex<State>,
    changed: Notify,
}

/// What is known of the copies of one extent.
struct State {
    epoch: Epoch,
    members: Vec<Member>,
    /// Every member was attached once: WRITEs may begin.
    opened: bool,
    deposed: bool,
    /// The journal does not say the epoch yet under which the members changed.
    raise_due: bool,
    /// Requests that wait for stable storage.
    waiters: u32,
    /// A task is at work.
    driven: bool,
    /// A task will try a replica without room again.
    again_due: bool,
}

/// A replica-set update, from a handle or a metadata server.
struct SetUpdate {
    epoch: Epoch,
    /// A metadata server says so; else a handle, which may be older than others of its epoch.
    by_metadata: bool,
    /// Server, since (if told), being filled.
    replicas: Vec<(DataServerId, Option<Epoch>, bool)>,
}

impl CopyTable {
    /// The copies of an extent, if they are known.
    pub(crate) fn find(&self, extent: ExtentId) -> Option<Arc<ExtentCopies>> {
        self.known.lock().get(&extent).cloned()
    }

    /// The extents that this server believes to be primary of, as far as they have, or had,
    /// replicas.
    pub(crate) fn extents(&self) -> Vec<ExtentId> {
        let known = self.known.lock();
        known.iter().filter(|(_, entry)| !entry.state.lock().deposed).map(|(extent, _)| *extent).collect()
    }

    /// Forgets an extent of which another data server is primary, or which is gone.
    pub(crate) fn forget(&self, extent: ExtentId) {
        let Some(gone) = self.known.lock().remove(&extent) else { return };
        gone.depose();
    }

    /// Forgets what was known of an extent below `epoch`: another data server was primary then, or
    /// is now.
    pub(crate) fn forget_below(&self, extent: ExtentId, epoch: Epoch) {
        let mut known = self.known.lock();
        let is_old = |entry: &Arc<ExtentCopies>| entry.state.lock().epoch < epoch;
        let Some(gone) = known.get(&extent).cloned().filter(is_old) else { return };
        known.remove(&extent);
        drop(known);
        gone.depose();
    }

    /// The copies to settle before a COMMIT under this handle is answered. Where none are known no
    /// client has written since this server became primary: there is nothing to promise.
    pub(crate) fn find_for_commit(&self, handle: &DsHandle) -> Option<Arc<ExtentCopies>> {
        self.find(handle.extent)?;
        self.apply_update(handle.extent, &SetUpdate::from_handle(handle))
    }

    /// Applies an update. Extents that never had a replica are not kept.
    fn apply_update(&self, extent: ExtentId, update: &SetUpdate) -> Option<Arc<ExtentCopies>> {
        let mut known = self.known.lock();
        let entry = match known.get(&extent) {
            Some(entry) => Arc::clone(entry),
            None if update.replicas.is_empty() => return None,
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
        assert_eq!(entry.id, extent, "the table finds an extent's own copies");
        entry.state.lock().apply_update(update);
        entry.changed.notify_waiters();
        Some(entry)
    }
}

impl Replication {
    /// Returns when a WRITE under this handle may begin: every replica was asked what it has.
    ///
    /// # Errors
    /// Any [`SettleError`].
    pub(crate) async fn open_for_write(
        self: &Arc<Self>,
        handle: &DsHandle,
    ) -> Result<Option<Arc<ExtentCopies>>, SettleError> {
        let update = SetUpdate::from_handle(handle);
        let Some(copies) = self.table.apply_update(handle.extent, &update) else { return Ok(None) };
        copies.wait_for_open(self).await.map(|()| Some(copies))
    }

    /// Looks after the copies that a metadata server has named, from now on.
    pub(crate) fn adopt_set(self: &Arc<Self>, set: &CopySet) -> Option<Arc<ExtentCopies>> {
        let copies = self.table.apply_update(extent_id(set.extent), &SetUpdate::from_metadata(set))?;
        copies.start_drive(self);
        Some(copies)
    }

    /// Gives an extent up: a metadata server has said that another data server is primary, when
    /// `epoch` was the highest that was known here. Every handle up to that is refused. This server
    /// may be primary again at a higher one.
    pub(crate) async fn depose_extent(&self, extent: ExtentId, epoch: Epoch) {
        tracing::warn!(%extent, "another data server is primary now");
        self.table.forget_below(extent, epoch.next());
        if let Err(error) = self.store.fence(extent, epoch.next()).await {
            self.serving.note_error(&error);
        }
    }
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

    fn depose(&self) {
        self.state.lock().deposed = true;
        self.changed.notify_waiters();
    }

    fn servers(&self) -> Vec<DataServerId> {
        self.state.lock().members.iter().map(|one| one.server).collect()
    }

    /// Whether the set known here is the one of this epoch.
    pub(crate) fn is_at_epoch(&self, epoch: Epoch) -> bool {
        self.state.lock().epoch == epoch
    }

    /// Notes that no act with a sequence from `from` on was sent: replicas get it from the journal.
    pub(crate) fn mark_unsent(&self, from: u64) {
        self.state.lock().members.iter_mut().for_each(|one| one.missed(from));
    }

    /// Waits until WRITEs may begin.
    ///
    /// # Errors
    /// Any [`SettleError`].
    pub(crate) async fn wait_for_open(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
    ) -> Result<(), SettleError> {
        let waiting = self.wait(replication, SETTLE_MS_MAX, State::may_begin);
        let what = "replicas to be attached";
        log_if_slow(&*replication.clock, self.id, what, || self.servers(), waiting).await
    }

    /// Waits until every act up to `sequence` is on the stable storage of all replicas in force.
    ///
    /// # Errors
    /// Any [`SettleError`].
    pub(crate) async fn settle(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        sequence: u64,
        ms_max: u64,
    ) -> Result<(), SettleError> {
        let waiting = self.wait(replication, ms_max, |state| state.settled(sequence));
        let what = "stable storage of replicas";
        log_if_slow(&*replication.clock, self.id, what, || self.servers(), waiting).await
    }

    async fn wait(
        self: &Arc<Self>,
        replication: &Arc<Replication>,
        ms_max: u64,
        done: impl Fn(&State) -> Option<Result<(), SettleError>>,
    ) -> Result<(), SettleError> {
        if let Some(outcome) = done(&self.state.lock()) {
            return outcome;
        }
        let _waiter = Waiter::new(self);
        let late = replication.clock.sleep_ms(ms_max);
        tokio::pin!(late);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed.
            changed.as_mut().enable();
            if let Some(outcome) = done(&self.state.lock()) {
                return outcome;
            }
            self.start_drive(replication);
            tokio::select! {
                () = changed => {}
                () = &mut late => return Err(SettleError::Late),
            }
        }
    }
}

/// Counts a request that waits for stable storage.
struct Waiter<'a>(&'a ExtentCopies);

impl<'a> Waiter<'a> {
    fn new(copies: &'a ExtentCopies) -> Self {
        copies.state.lock().waiters += 1;
        Self(copies)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        assert!(0 < state.waiters, "a request that ends waiting was counted");
        state.waiters -= 1;
    }
}

impl SetUpdate {
    fn from_handle(handle: &DsHandle) -> Self {
        let named = handle.backups.iter().flatten().map(|one| (one.server, None, one.filling));
        Self { epoch: handle.epoch, by_metadata: false, replicas: named.collect() }
    }

    fn from_metadata(set: &CopySet) -> Self {
        let replica = |kept: &KeptBy| (DataServerId(kept.server), Some(Epoch(kept.since)), kept.filling);
        let replicas = set.backups.iter().map(replica).collect();
        Self { epoch: Epoch(set.epoch), by_metadata: true, replicas }
    }
}

impl State {
    fn apply_update(&mut self, update: &SetUpdate) {
        // A handle says nothing new at an epoch that is known.
        if update.epoch < self.epoch || (update.epoch == self.epoch && !update.by_metadata) {
            return;
        }
        let servers = |state: &Self| state.members.iter().map(|one| one.server).collect::<Vec<_>>();
        let before = servers(self);
        let (mut members, mut joined) = (Vec::with_capacity(update.replicas.len()), false);
        for &(server, since, filling) in &update.replicas {
            let known = self.members.iter().position(|one| {
                // A replica that left and came back is another one: it was told to forget
                // everything in between.
                let same_stay = match since {
                    // A handle tells nothing of since when, but that the replica was there at our
                    // epoch.
                    Some(since) => one.since == since || (one.since == Epoch(0) && since <= self.epoch),
                    // Only this server can have said that the replica was filled, so one that holds
                    // everything never left.
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
        assert_eq!(members.len(), update.replicas.len(), "each replica of the set is a member");
        assert!(self.epoch <= update.epoch, "the epoch of a set does not go back");
        self.members = members;
        self.epoch = update.epoch;
        self.raise_due |= self.opened && (joined || before != servers(self));
    }

    fn is_idle(&self) -> bool {
        !self.driven
            && !self.again_due
            && self.waiters == 0
            && !self.raise_due
            && self.members.iter().all(Member::is_idle)
    }

    /// Whether a replica has no room that the metadata servers count on.
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
        // The replica is not asked again at once: a WRITE that waits for that would keep a
        // processor busy.
        self.is_full().then_some(Err(SettleError::NoSpace))
    }

    /// Whether every act up to `sequence` is stable on all replicas, or why it will not be.
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

#[cfg(test)]
mod tests;
