//! Commands of sessions that are under way in shards other than the first.
//!
//! A session is taken up in shard 0: what was proposed there before comes before, or is refused. The other shards know no tenures. What another
//! node proposed to them is decided when this one governs; what this node did, in an earlier tenure, has to be waited for: else a request that
//! is resent could find nothing recorded, look at what the first attempt has changed a moment later, and go to another shard than that.
//!
//! INVARIANT: a command counts as under way before it is looked whether its session's tenure is over, and until its outcome is known, or it is
//! known that there will be none.
//! Spec: docs/protocol/sessions.md §6.

use std::collections::HashMap;
use std::sync::Arc;

use mds_shard::{Origin, ProposeError};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shards;
use crate::limits::TAKE_UP_WAIT_MS_MAX;

/// How many commands of each session are under way: at most one for each request that is being executed, and those whose fate is not known.
#[derive(Clone, Default)]
pub(super) struct Requests {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    under_way: Mutex<HashMap<[u8; 16], u32>>,
    /// A session has none any more.
    over: Notify,
}

/// A command is under way until this is dropped.
pub(super) struct Request {
    requests: Requests,
    session: [u8; 16],
}

impl Requests {
    /// Counts a command for a shard, if it is of a request and not for shard 0.
    pub(super) fn begin(&self, shard: u16, origin: Option<&Origin>) -> Option<Request> {
        let session = origin.filter(|_| shard != 0)?.session;
        *self.inner.under_way.lock().entry(session).or_default() += 1;
        Some(Request { requests: self.clone(), session })
    }

    /// Returns when nothing of a session is under way.
    async fn over(&self, session: &[u8; 16]) {
        loop {
            let over = self.inner.over.notified();
            tokio::pin!(over);
            // Before it looks, so that what ends in between wakes it.
            over.as_mut().enable();
            if !self.inner.under_way.lock().contains_key(session) {
                return;
            }
            over.await;
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut under_way = self.requests.inner.under_way.lock();
        let Some(count) = under_way.get_mut(&self.session) else { return };
        *count -= 1;
        if *count == 0 {
            under_way.remove(&self.session);
            self.requests.inner.over.notify_waiters();
        }
    }
}

impl Shards {
    /// Returns when what was proposed for a session in an earlier tenure is decided in all shards.
    ///
    /// # Errors
    /// [`ProposeError::Timeout`] if that takes long: the client asks again.
    pub(super) async fn decided_elsewhere(&self, session: &[u8; 16]) -> Result<(), ProposeError> {
        tokio::select! {
            biased;
            () = self.inner.requests.over(session) => {}
            () = self.inner.env.clock.sleep_ms(TAKE_UP_WAIT_MS_MAX) => return Err(ProposeError::Timeout),
        }
        // An act that is over for want of an outcome is decided when this node governs anew.
        self.leading_term().map(drop).ok_or(ProposeError::Timeout)
    }
}

#[cfg(test)]
impl Shards {
    /// A command of a session that is under way in another shard than the first until this is dropped.
    pub(crate) fn hold_up(&self, origin: &Origin) -> impl Drop + use<> {
        self.inner.requests.begin(1, Some(origin)).expect("it is not for shard 0")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use mds_shard::command::session::{SessionTakenUp, TakeUpSession};
    use mds_shard::{Command, Outcome};

    use super::super::tests::guest::{directory, guest, open};
    use super::super::tests::shards;
    use super::*;

    async fn take_up(shards: &Shards, session: [u8; 16]) -> SessionTakenUp {
        match shards.propose(None, Command::TakeUpSession(TakeUpSession { session })).await {
            Ok(Outcome::SessionTakenUp(taken)) => *taken,
            other => panic!("{other:?}"),
        }
    }

    /// What is recorded of its slots when a session is taken up is all that will ever be known of what was asked before.
    #[tokio::test]
    async fn what_is_on_its_way_is_known_when_a_session_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let shards = shards(dir.path()).await;
        let directory = directory(&shards, 1).await;
        let mut guest = guest(&shards, "one").await;
        let mut tenure = 1;
        for turn in 0..20 {
            let origin = Origin { tenure, ..guest.origin() };
            let mut proposal = Box::pin(shards.propose(Some(origin), open(guest.client, directory)));
            assert!(poll!(proposal.as_mut()).is_pending());
            drop(proposal);
            assert!(shards.inner.requests.inner.under_way.lock().contains_key(&guest.session));
            let taken = take_up(&shards, guest.session).await;
            tenure = taken.tenure;
            shards.inner.env.clock.sleep_ms(20).await;
            let slots = shards.replica(1).view().unwrap().slots(&guest.session).unwrap();
            assert_eq!(slots, taken.slots, "turn {turn}: it was carried out behind the taking-up");
        }
        assert!(shards.inner.requests.inner.under_way.lock().is_empty());
        shards.stop().await;
    }

    /// What comes behind the taking-up is refused, what came before is waited for; other sessions wait for neither.
    #[tokio::test]
    async fn a_session_is_taken_up_when_nothing_of_it_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let shards = shards(dir.path()).await;
        let (mut one, other) = (guest(&shards, "one").await, guest(&shards, "other").await);
        let requests = &shards.inner.requests;
        let origin = one.origin();
        assert!(requests.begin(0, Some(&origin)).is_none() && requests.begin(1, None).is_none());
        let both = (requests.begin(1, Some(&origin)), requests.begin(2, Some(&origin)));
        let mut taking = Box::pin(take_up(&shards, one.session));
        assert!(poll!(taking.as_mut()).is_pending());
        assert_eq!(take_up(&shards, other.session).await.tenure, 2);
        drop(both.0);
        shards.inner.env.clock.sleep_ms(20).await;
        assert!(poll!(taking.as_mut()).is_pending(), "one is left");
        drop(both.1);
        assert_eq!(taking.await.tenure, 2);
        shards.stop().await;
    }
}
