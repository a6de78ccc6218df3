//! The copies of extents that this server is home of, as far as they are known: who keeps them, and
//! how far each is.
//!
//! Decides what is stable and what may begin. Calls no other server.
//!
//! Spec: docs/protocol/replicate.md §2, §3.

use std::collections::HashMap;
use std::sync::Arc;

use layout::{DsHandle, Epoch, ExtentId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire_nfs::control::copies::CopySet;

use super::member::Member;
use crate::limits::COPIES_KNOWN_MAX;

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
    pub(super) known: Mutex<HashMap<ExtentId, Arc<ExtentCopies>>>,
}

/// One extent.
pub(crate) struct ExtentCopies {
    pub(super) id: ExtentId,
    pub(super) state: Mutex<State>,
    pub(super) changed: Notify,
}

pub(super) struct State {
    pub(super) epoch: Epoch,
    pub(super) members: Vec<Member>,
    /// Every member was attached once: WRITEs may begin.
    pub(super) opened: bool,
    pub(super) deposed: bool,
    /// The journal does not say the epoch yet under which the members changed.
    pub(super) raise_due: bool,
    /// Those who wait for stable storage.
    pub(super) waiters: u32,
    /// A task is at work.
    pub(super) driven: bool,
    /// A backup without room is to be tried again.
    pub(super) again_due: bool,
}

/// What somebody says about the copies.
pub(super) struct Told {
    pub(super) epoch: Epoch,
    /// A metadata server says so; else a handle, which may be older than others of its epoch.
    pub(super) by_metadata: bool,
    /// Server, since (if told), being filled.
    pub(super) backups: Vec<(layout::DataServerId, Option<Epoch>, bool)>,
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

    /// The extent was not ours below `epoch`, or is not any more: what was known of its copies then
    /// is worth nothing.
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
    pub(super) fn tell(&self, extent: ExtentId, told: &Told) -> Option<Arc<ExtentCopies>> {
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
    pub(super) fn by_handle(handle: &DsHandle) -> Self {
        let named = handle.backups.iter().flatten().map(|one| (one.server, None, one.filling));
        Self { epoch: handle.epoch, by_metadata: false, backups: named.collect() }
    }

    pub(super) fn by_metadata(set: &CopySet) -> Self {
        let backup = |kept: &wire_nfs::control::copies::KeptBy| {
            (layout::DataServerId(kept.server), Some(Epoch(kept.since)), kept.filling)
        };
        let backups = set.backups.iter().map(backup).collect();
        Self { epoch: Epoch(set.epoch), by_metadata: true, backups }
    }
}

impl State {
    pub(super) fn take(&mut self, told: &Told) {
        // A handle says nothing new at an epoch that is known.
        if told.epoch < self.epoch || (told.epoch == self.epoch && !told.by_metadata) {
            return;
        }
        let servers = |state: &Self| state.members.iter().map(|one| one.server).collect::<Vec<_>>();
        let before = servers(self);
        let (mut members, mut joined) = (Vec::with_capacity(told.backups.len()), false);
        for &(server, since, filling) in &told.backups {
            let known = self.members.iter().position(|one| {
                // A backup that left and came back is another one: it was told to forget everything
                // in between.
                let same_stay = match since {
                    // By a handle we know nothing of since when, but that it was there at our
                    // epoch.
                    Some(since) => one.since == since || (one.since == Epoch(0) && since <= self.epoch),
                    // Only we can have said that it was filled, so one that holds everything never
                    // left.
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

    pub(super) fn is_idle(&self) -> bool {
        !self.driven
            && !self.again_due
            && self.waiters == 0
            && !self.raise_due
            && self.members.iter().all(Member::is_idle)
    }

    /// A backup that is counted on has no room.
    pub(super) fn is_full(&self) -> bool {
        self.members.iter().any(|one| one.full && !one.filling)
    }

    /// Whether WRITEs may begin, or why they cannot.
    pub(super) fn may_begin(&self) -> Option<Result<(), SettleError>> {
        if self.deposed {
            return Some(Err(SettleError::Deposed));
        }
        if self.opened {
            return Some(Ok(()));
        }
        // It is not asked again at once: whoever waits for that would keep a processor busy.
        self.is_full().then_some(Err(SettleError::NoSpace))
    }

    pub(super) fn settled(&self, sequence: u64) -> Option<Result<(), SettleError>> {
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

/// Counts somebody who waits for stable storage.
pub(super) struct Waiter<'a>(&'a ExtentCopies);

impl<'a> Waiter<'a> {
    pub(super) fn new(copies: &'a ExtentCopies) -> Self {
        copies.state.lock().waiters += 1;
        Self(copies)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiters -= 1;
    }
}

impl ExtentCopies {
    pub(super) fn new(id: ExtentId) -> Self {
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

    pub(super) fn backups(&self) -> Vec<layout::DataServerId> {
        self.state.lock().members.iter().map(|one| one.server).collect()
    }

    /// What has a sequence from `from` on was not sent: it is to be fetched from the journal.
    pub(crate) fn behind(&self, from: u64) {
        self.state.lock().members.iter_mut().for_each(|one| one.missed(from));
    }
}
