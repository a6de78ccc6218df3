//! Locks on inodes: shared by commands that each change one shard, exclusive for an act that
//! changes several.
//!
//! INVARIANT: while an act has an inode locked, no other command is under way on it.
//! Spec: docs/protocol/shards.md §3.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mds_namespace::Ino;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Locks on inodes, of one reign of this node. Clones share the same locks.
#[derive(Clone, Default)]
pub(crate) struct InodeLocks {
    reign: u64,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    held: Mutex<HashMap<Ino, Held>>,
    /// This node does not govern any more: no lock is granted.
    ended: AtomicBool,
    /// A lock was released.
    released: Notify,
}

/// At most one entry for each inode of each request under way.
#[derive(Default)]
struct Held {
    /// Commands under way.
    under_way: u32,
    locked: bool,
    /// The changes of the act that locked it may be read already.
    shown: bool,
    /// Acts that wait for it: later commands wait behind them.
    wanted: u32,
}

impl Held {
    fn is_free(&self) -> bool {
        self.under_way == 0 && !self.locked && self.wanted == 0
    }
}

/// Locks, held until this is dropped.
pub(crate) struct Guard {
    locks: InodeLocks,
    inodes: Vec<Ino>,
    locks_them: bool,
}

/// An act that waits.
struct Wanted<'a> {
    locks: &'a InodeLocks,
    inodes: &'a [Ino],
}

impl Guard {
    /// The reign of the locks.
    pub(crate) fn reign(&self) -> u64 {
        self.locks.reign
    }

    /// For an act: locks the inode that it creates as well, which no other request can know.
    pub(crate) fn lock_new(&mut self, ino: Ino) {
        self.locks.inner.held.lock().entry(ino).or_default().locked = true;
        self.inodes.push(ino);
    }

    /// For an act: its inodes may be read again, and still not be changed.
    pub(crate) fn show(&self) {
        self.locks.change(&self.inodes, |one| one.shown = true);
    }
}

impl InodeLocks {
    /// No locks.
    pub(crate) fn new(reign: u64) -> Self {
        Self { reign, inner: Arc::default() }
    }

    /// Enters a command on these inodes, as soon as none of them is locked.
    pub(crate) async fn enter(&self, mut inodes: Vec<Ino>) -> Option<Guard> {
        inodes.sort_unstable();
        inodes.dedup();
        self.until(|held| {
            let may = inodes.iter().all(|ino| held.get(ino).is_none_or(|one| !one.locked && one.wanted == 0));
            if may {
                inodes.iter().for_each(|ino| held.entry(*ino).or_default().under_way += 1);
            }
            may
        })
        .await
        .then(|| Guard { locks: self.clone(), inodes, locks_them: false })
    }

    /// Locks these inodes, all at once, as soon as no command is under way on any of them.
    pub(crate) async fn lock(&self, mut inodes: Vec<Ino>) -> Option<Guard> {
        inodes.sort_unstable();
        inodes.dedup();
        inodes.iter().for_each(|ino| self.inner.held.lock().entry(*ino).or_default().wanted += 1);
        let wanted = Wanted { locks: self, inodes: &inodes };
        let has = self
            .until(|held| {
                let may = inodes
                    .iter()
                    .all(|ino| held.get(ino).is_none_or(|one| !one.locked && one.under_way == 0));
                if may {
                    inodes.iter().for_each(|ino| held.entry(*ino).or_default().locked = true);
                }
                may
            })
            .await;
        drop(wanted);
        has.then(|| Guard { locks: self.clone(), inodes, locks_them: true })
    }

    /// Waits while any of these inodes is locked and not shown; false if no lock is granted any
    /// more.
    pub(crate) async fn pass(&self, inodes: &[Ino]) -> bool {
        self.until(|held| inodes.iter().all(|ino| held.get(ino).is_none_or(|one| !one.locked || one.shown)))
            .await
    }

    /// Refuses all waiting and later requests.
    pub(crate) fn end(&self) {
        self.inner.ended.store(true, Ordering::Release);
        self.inner.released.notify_waiters();
    }

    /// Waits until `may` is true; false if it never will be.
    async fn until(&self, mut may: impl FnMut(&mut HashMap<Ino, Held>) -> bool) -> bool {
        loop {
            let released = self.inner.released.notified();
            tokio::pin!(released);
            // Enabled before the check, so that a release in between wakes it.
            released.as_mut().enable();
            if self.inner.ended.load(Ordering::Acquire) {
                return false;
            }
            if may(&mut self.inner.held.lock()) {
                return true;
            }
            released.await;
        }
    }

    fn change(&self, inodes: &[Ino], change: impl Fn(&mut Held)) {
        let mut held = self.inner.held.lock();
        for ino in inodes {
            if let Some(one) = held.get_mut(ino) {
                change(one);
                if one.is_free() {
                    held.remove(ino);
                }
            }
        }
        drop(held);
        self.inner.released.notify_waiters();
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.locks.change(self.inodes, |one| one.wanted -= 1);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let locks_them = self.locks_them;
        self.locks.change(&self.inodes, |one| {
            if locks_them {
                (one.locked, one.shown) = (false, false);
            } else {
                one.under_way -= 1;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn commands_share_and_acts_do_not() {
        let locks = InodeLocks::default();
        let (first, second) = (locks.enter(vec![1, 2, 2]).await, locks.enter(vec![2, 3]).await);
        let mut act = Box::pin(locks.lock(vec![3, 1]));
        assert!(poll!(act.as_mut()).is_pending());
        // A command behind the act waits, also where nothing is locked yet; others do not.
        let mut late = Box::pin(locks.enter(vec![3, 9]));
        assert!(poll!(late.as_mut()).is_pending());
        drop(locks.enter(vec![2, 9]).await);
        assert!(locks.pass(&[1, 3]).await);
        drop(first);
        assert!(poll!(act.as_mut()).is_pending());
        drop(second);
        let std::task::Poll::Ready(Some(held)) = poll!(act.as_mut()) else { panic!("it has them") };
        assert!(poll!(late.as_mut()).is_pending());
        let mut reader = Box::pin(locks.pass(&[7, 3]));
        assert!(poll!(reader.as_mut()).is_pending());
        drop(held);
        assert!(poll!(reader.as_mut()).is_ready());
        assert!(poll!(late.as_mut()).is_ready());
        drop((late, act));
        assert!(locks.inner.held.lock().is_empty());
    }

    #[tokio::test]
    async fn shown_inodes_are_read_and_not_changed() {
        let locks = InodeLocks::default();
        let act = locks.lock(vec![1, 2]).await.unwrap();
        let (mut reader, mut writer) = (Box::pin(locks.pass(&[2])), Box::pin(locks.enter(vec![2])));
        let mut other = Box::pin(locks.lock(vec![1]));
        assert!(poll!(reader.as_mut()).is_pending());
        assert!(poll!(writer.as_mut()).is_pending() && poll!(other.as_mut()).is_pending());
        act.show();
        assert!(poll!(reader.as_mut()).is_ready());
        assert!(poll!(writer.as_mut()).is_pending() && poll!(other.as_mut()).is_pending());
        drop(act);
        let std::task::Poll::Ready(Some(next)) = poll!(other.as_mut()) else { panic!("it has it") };
        assert!(poll!(writer.as_mut()).is_ready());
        // The next act's changes are not shown because the last one's were.
        let mut reader = Box::pin(locks.pass(&[1]));
        assert!(poll!(reader.as_mut()).is_pending());
        drop(next);
    }

    #[tokio::test]
    async fn no_request_waits_after_the_reign() {
        let locks = InodeLocks::default();
        let held = locks.lock(vec![1]).await;
        let (mut one, mut other) = (Box::pin(locks.enter(vec![1])), Box::pin(locks.lock(vec![1])));
        assert!(poll!(one.as_mut()).is_pending() && poll!(other.as_mut()).is_pending());
        locks.end();
        assert!(matches!(poll!(one.as_mut()), std::task::Poll::Ready(None)));
        assert!(matches!(poll!(other.as_mut()), std::task::Poll::Ready(None)));
        assert!(!locks.pass(&[2]).await);
        drop(held);
    }

    #[tokio::test]
    async fn an_act_that_is_given_up_lets_others_go_on() {
        let locks = InodeLocks::default();
        let one = locks.enter(vec![1]).await;
        let mut act = Box::pin(locks.lock(vec![1]));
        assert!(poll!(act.as_mut()).is_pending());
        let mut late = Box::pin(locks.enter(vec![1]));
        assert!(poll!(late.as_mut()).is_pending());
        drop(act);
        assert!(poll!(late.as_mut()).is_ready());
        drop((one, late));
        assert!(locks.inner.held.lock().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_is_under_way_where_an_act_is() {
        let locks = InodeLocks::default();
        let counts: Arc<[std::sync::atomic::AtomicI32; 4]> = Arc::default();
        let tasks = (0_usize..8).map(|task| {
            let (locks, counts) = (locks.clone(), Arc::clone(&counts));
            tokio::spawn(async move {
                for turn in 0..300 {
                    let inodes = [task % 4, (task + turn) % 4];
                    let numbers = inodes.map(|ino| ino as u64).to_vec();
                    let acts = (task + turn).is_multiple_of(3);
                    let _guard = if acts { locks.lock(numbers).await } else { locks.enter(numbers).await };
                    let step = if acts { 1_000 } else { 1 };
                    for ino in inodes {
                        let before = counts[ino].fetch_add(step, std::sync::atomic::Ordering::SeqCst);
                        assert!(before % 1_000 == 0 && before < 2_000 || !acts && before < 1_000);
                    }
                    tokio::task::yield_now().await;
                    for ino in inodes {
                        counts[ino].fetch_sub(step, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(locks.inner.held.lock().is_empty());
    }
}
