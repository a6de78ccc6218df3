//! Commands of sessions that are under way in shards other than the first.
//!
//! Shard 0 resumes a session: earlier proposals there come before, or are refused. The other shards
//! know no tenures. Another node's proposals to them are decided once this node governs. This
//! node's own, of an earlier tenure, have to be waited for: otherwise a resent request could find
//! no record, read what the first attempt changes a moment later, and go to another shard.
//!
//! INVARIANT: a command counts as under way before its session's tenure is checked, and until its
//! outcome is known, or certain never to come.
//! Spec: docs/protocol/sessions.md §6.

use std::collections::HashMap;
use std::sync::Arc;

use mds_raft::ProposeError;
use mds_state::Origin;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shards;
use crate::limits::RESUME_WAIT_MS_MAX;

/// Number of commands under way by session: at most one for each request in execution, and those
/// whose fate is unknown.
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

/// A command that is under way until this is dropped.
pub(super) struct Request {
    requests: Requests,
    session: [u8; 16],
}

impl Requests {
    /// Counts a command of a request, unless it is for shard 0.
    pub(super) fn begin_request(&self, shard: u16, origin: Option<&Origin>) -> Option<Request> {
        let session = origin.filter(|_| shard != 0)?.session;
        *self.inner.under_way.lock().entry(session).or_default() += 1;
        Some(Request { requests: self.clone(), session })
    }

    /// Returns once no command of a session is under way.
    async fn over(&self, session: &[u8; 16]) {
        loop {
            let over = self.inner.over.notified();
            tokio::pin!(over);
            // Enabled before the check, so that an end in between wakes it.
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
    /// Returns once all proposals of a session's earlier tenures are decided in all shards.
    ///
    /// # Errors
    /// [`ProposeError::Timeout`] if that takes too long: the client retries.
    pub(super) async fn decided_elsewhere(&self, session: &[u8; 16]) -> Result<(), ProposeError> {
        tokio::select! {
            biased;
            () = self.inner.requests.over(session) => {}
            () = self.inner.env.clock.sleep_ms(RESUME_WAIT_MS_MAX) => return Err(ProposeError::Timeout),
        }
        // An act without a known outcome is decided when this node governs again.
        self.leading_term().map(drop).ok_or(ProposeError::Timeout)
    }
}

#[cfg(test)]
impl Shards {
    /// Keeps a command of a session under way in another shard than the first, until this is
    /// dropped.
    pub(crate) fn hold_up(&self, origin: &Origin) -> impl Drop + use<> {
        self.inner.requests.begin_request(1, Some(origin)).expect("it is not for shard 0")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use mds_state::command::session::{SessionTakenUp, TakeUpSession};
    use mds_state::{Command, Outcome};

    use super::super::tests::guest::{directory, guest, open};
    use super::super::tests::shards;
    use super::*;

    async fn resume_session(shards: &Shards, session: [u8; 16]) -> SessionTakenUp {
        match shards.propose(None, Command::TakeUpSession(TakeUpSession { session })).await {
            Ok(Outcome::SessionTakenUp(taken)) => *taken,
            other => panic!("{other:?}"),
        }
    }

    /// The slots' records at the time a session is resumed are all that will ever be known of
    /// earlier requests.
    #[tokio::test]
    async fn commands_under_way_are_decided_when_a_session_is_resumed() {
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
            let taken = resume_session(&shards, guest.session).await;
            tenure = taken.tenure;
            shards.inner.env.clock.sleep_ms(20).await;
            let slots = shards.replica(1).view().unwrap().slots(&guest.session).unwrap();
            assert_eq!(slots, taken.slots, "turn {turn}: it was applied after the session was resumed");
        }
        assert!(shards.inner.requests.inner.under_way.lock().is_empty());
        shards.stop().await;
    }

    /// Commands after the resumption are refused, earlier ones are waited for; other sessions wait
    /// for neither.
    #[tokio::test]
    async fn a_session_is_resumed_once_none_of_its_commands_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let shards = shards(dir.path()).await;
        let (mut one, other) = (guest(&shards, "one").await, guest(&shards, "other").await);
        let requests = &shards.inner.requests;
        let origin = one.origin();
        assert!(
            requests.begin_request(0, Some(&origin)).is_none() && requests.begin_request(1, None).is_none()
        );
        let both = (requests.begin_request(1, Some(&origin)), requests.begin_request(2, Some(&origin)));
        let mut taking = Box::pin(resume_session(&shards, one.session));
        assert!(poll!(taking.as_mut()).is_pending());
        assert_eq!(resume_session(&shards, other.session).await.tenure, 2);
        drop(both.0);
        shards.inner.env.clock.sleep_ms(20).await;
        assert!(poll!(taking.as_mut()).is_pending(), "one is left");
        drop(both.1);
        assert_eq!(taking.await.tenure, 2);
        shards.stop().await;
    }
}
