//! What this node has of sessions: slots, replies, and the connections they are bound to.
//!
//! The sessions themselves are in the replicated state. One that is not here is taken up with the first request for it; one
//! that another node may have taken up since is given up before it is used again.
//!
//! INVARIANT: a request is judged by a slot of this node only while no other node can have judged one on it since.
//! INVARIANT: what ends a session ends it in the state first and here then, and what puts one here looks at the state behind that: none
//! stays that is over, whichever comes first.
//! Spec: RFC 8881 §2.10; docs/protocol/sessions.md §3.

mod table;
mod turn;

use std::cell::Cell;
use std::sync::atomic::Ordering;

use env_transport::LogRate;
use mds_shard::command::session::TakeUpSession;
use mds_shard::{Command, Outcome, Refusal};
use wire_nfs::v4::ops::sequence;
use wire_nfs::v4::{Nfsstat4, SessionId};
use wire_session::server::session::Session;
use wire_session::server::{Arrival, Past, SessionRecord, SlotSeen, Verdict};

use crate::server::Server;
use crate::status;
pub(crate) use table::Front;

impl Server {
    /// SEQUENCE: what to do with a request, by this node's slots, or by what the state knows of them.
    pub(crate) async fn sequence(&self, args: &sequence::Args, arrival: &Arrival) -> Verdict {
        // Twice at most: a session that is taken up is here, unless it is lost again at once.
        for _ in 0..2 {
            if let Err(status) = self.keep_own_sessions().await {
                return Verdict::Reject(status);
            }
            let verdict = self.front.sessions.lock().sequence(args, arrival, self.now_ms());
            if verdict != Verdict::Unknown {
                return verdict;
            }
            if let Err(status) = self.hold_session(args.session).await {
                return Verdict::Reject(status);
            }
        }
        Verdict::Reject(Nfsstat4::Delay)
    }

    /// Gives up sessions that others took up while this node did not lead.
    ///
    /// # Errors
    /// DELAY if this node does not lead: its slots prove nothing.
    async fn keep_own_sessions(&self) -> Result<(), Nfsstat4> {
        let front = &self.front;
        let term = self.shards.leading_term().ok_or(Nfsstat4::Delay)?;
        if front.term.load(Ordering::Acquire) == term {
            return Ok(());
        }
        let _turn = front.looking.lock().await;
        if front.term.load(Ordering::Acquire) == term {
            return Ok(());
        }
        // Those before may have asked a majority here, in vain and for long.
        if self.shards.leading_term() != Some(term) {
            return Err(Nfsstat4::Delay);
        }
        self.shards.read_barrier().await.map_err(|e| status::of_propose(&e))?;
        // Which export is meant by a handle the cluster says, and not this node's configuration.
        self.begin_to_export().await.map_err(|error| {
            tracing::warn!(%error, "nothing is served: it cannot be said what is exported");
            Nfsstat4::Delay
        })?;
        let view = self.view()?;
        let failed = Cell::new(None);
        let own = |id: SessionId, tenure| match view.session(&id.0) {
            Ok(found) => found.is_some_and(|session| session.tenure == tenure),
            Err(error) => {
                failed.set(Some(status::of_refusal(&error)));
                true
            }
        };
        front.sessions.lock().keep_only(own);
        if let Some(status) = failed.get() {
            return Err(status);
        }
        front.term.store(term, Ordering::Release);
        Ok(())
    }

    /// Makes sure that a session is here: takes it up if the state has it. However many ask at once, nobody waits for one attempt after the
    /// other: who waited for one that was put off is put off with it.
    ///
    /// # Errors
    /// BADSESSION if there is no such session, DELAY if it cannot be had now.
    pub(crate) async fn hold_session(&self, session: SessionId) -> Result<(), Nfsstat4> {
        self.keep_own_sessions().await?;
        if self.front.has(session) {
            return Ok(());
        }
        let turn = self.front.turn_to_take(session);
        let taken = turn.take().await;
        if self.front.has(session) {
            return Ok(());
        }
        if taken.is_in_vain {
            return Err(Nfsstat4::Delay);
        }
        let held = self.take_up(session).await;
        if held == Err(Nfsstat4::Delay) {
            taken.put_off();
        }
        held
    }

    /// Takes a session up, if the state has it.
    async fn take_up(&self, session: SessionId) -> Result<(), Nfsstat4> {
        // A name that nobody knows is not worth an entry of the log.
        self.shards.read_barrier().await.map_err(|e| status::of_propose(&e))?;
        let known = self.view()?.session(&session.0).map_err(|e| status::of_refusal(&e))?;
        if known.is_none() {
            return Err(Nfsstat4::Badsession);
        }
        let command = Command::TakeUpSession(TakeUpSession { session: session.0 });
        let taken = match self.shards.propose(None, command).await {
            Ok(Outcome::SessionTakenUp(taken)) => taken,
            Ok(Outcome::Refused(Refusal::NoSuchSession)) => return Err(Nfsstat4::Badsession),
            Ok(_) => return Err(Nfsstat4::Serverfault),
            Err(error) => return Err(status::of_propose(&error)),
        };
        let seen = taken.slots.iter().map(|mark| SlotSeen {
            slot: mark.slot,
            sequence: mark.sequence,
            fingerprint: mark.request,
        });
        let seen: Vec<SlotSeen> = seen.collect();
        static RATE: LogRate = LogRate::new();
        if let Some(suppressed) = RATE.admit(self.now_ms()) {
            tracing::info!(
                client = taken.record.client,
                tenure = taken.tenure,
                suppressed,
                "session taken up"
            );
        }
        self.put_session(&taken.record, taken.tenure, Past::Elsewhere(&seen))
    }

    /// Puts a session of the state into memory, unless it is over there by now: between the answer of the log and this it may have ended, or
    /// gone elsewhere.
    ///
    /// # Errors
    /// BADSESSION if it is over, DELAY if it cannot be had now; it is not here then, at least not in this tenure.
    pub(crate) fn put_session(
        &self,
        record: &SessionRecord,
        tenure: u32,
        past: Past<'_>,
    ) -> Result<(), Nfsstat4> {
        let id = record.session();
        let put = self.front.sessions.lock().put(record, tenure, past, self.now_ms());
        put.map_err(|e| e.status())?;
        // Behind it: what ends a session changes the state first and this memory then. So either that is seen here, or it finds the session.
        let found = self.in_state(record);
        let mut sessions = self.front.sessions.lock();
        let here = sessions.session(id).map(Session::tenure);
        let is_ours = here == Some(tenure);
        match found {
            Ok(InState { session: Some(now), .. }) if here == Some(now) => Ok(()),
            Ok(InState { session: None, client }) => {
                if client {
                    sessions.end(id);
                } else {
                    // Nor does anybody wait for the end of its lease.
                    sessions.drop_client(record.client);
                }
                Err(Nfsstat4::Badsession)
            }
            // Another tenure, or it cannot be told: whoever asks again takes it up again.
            other => {
                if is_ours {
                    sessions.end(id);
                }
                Err(other.err().unwrap_or(Nfsstat4::Delay))
            }
        }
    }

    fn in_state(&self, record: &SessionRecord) -> Result<InState, Nfsstat4> {
        let view = self.view()?;
        let session = view.session(&record.id).map_err(|e| status::of_refusal(&e))?;
        let client = view.client(record.client).map_err(|e| status::of_refusal(&e))?;
        Ok(InState { session: session.map(|session| session.tenure), client: client.is_some() })
    }
}

/// What the state has of a session.
struct InState {
    /// Its tenure, if it is there.
    session: Option<u32>,
    /// Whether its client is.
    client: bool,
}

#[cfg(test)]
pub(crate) mod tests;
