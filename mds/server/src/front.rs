//! Sessions of this node: slots, cached replies, and the connections they are bound to.
//!
//! The sessions themselves are in the replicated state. A node resumes a session with the first
//! request for it. A session that another node may have resumed since is dropped here before it is
//! used again.
//!
//! INVARIANT: a slot of this node judges a request only while no other node can have judged one on
//! it since.
//! INVARIANT: the end of a session changes the state first and this memory second; adding a session
//! changes this memory first and reads the state second. So no ended session stays, whichever comes
//! first.
//! Spec: RFC 8881 §2.10; docs/protocol/sessions.md §3.

mod table;
mod turn;

use std::cell::Cell;
use std::sync::atomic::Ordering;

use env_transport::LogRate;
use mds_state::command::session::TakeUpSession;
use mds_state::{Command, Outcome, Refusal};
use wire_nfs::v4::ops::sequence;
use wire_nfs::v4::{Nfsstat4, SessionId};
use wire_session::server::session::Session;
use wire_session::server::{Arrival, Past, SessionRecord, SlotSeen, Verdict};

use crate::server::Server;
use crate::status;
pub(crate) use table::Front;

impl Server {
    /// SEQUENCE: decides about a request by this node's slots, or by the state's record of them.
    pub(crate) async fn sequence(&self, args: &sequence::Args, arrival: &Arrival) -> Verdict {
        // Twice at most: a resumed session is here, unless it is lost again at once.
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

    /// Drops sessions that other nodes resumed while this node did not lead.
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
        // The requests before may have queried a majority here, in vain and for long.
        if self.shards.leading_term() != Some(term) {
            return Err(Nfsstat4::Delay);
        }
        self.shards.read_barrier().await.map_err(|e| status::of_propose(&e))?;
        // The cluster defines the export of a handle, not this node's configuration.
        self.begin_to_export().await.map_err(|error| {
            tracing::warn!(%error, "serving nothing: the exports are unknown");
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

    /// Makes sure that a session is here: resumes it if the state has it. Concurrent requests do
    /// not wait for one attempt after the other: an attempt that ends in DELAY answers DELAY to all
    /// that waited for it.
    ///
    /// # Errors
    /// BADSESSION if there is no such session, DELAY if it is unavailable now.
    pub(crate) async fn hold_session(&self, session: SessionId) -> Result<(), Nfsstat4> {
        self.keep_own_sessions().await?;
        if self.front.has(session) {
            return Ok(());
        }
        let turn = self.front.turn_to_take(session);
        let taken = turn.take_turn().await;
        if self.front.has(session) {
            return Ok(());
        }
        if taken.is_in_vain {
            return Err(Nfsstat4::Delay);
        }
        let held = self.resume_session(session).await;
        if held == Err(Nfsstat4::Delay) {
            taken.count_delay();
        }
        held
    }

    /// Resumes a session, if the state has it.
    async fn resume_session(&self, session: SessionId) -> Result<(), Nfsstat4> {
        // A session id that does not exist is not worth a log entry.
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
                "session resumed"
            );
        }
        self.put_session(&taken.record, taken.tenure, Past::Elsewhere(&seen))
    }

    /// Puts a session of the state into memory, unless it is over by now: between the log's answer
    /// and this call it may have ended, or another node may have resumed it.
    ///
    /// # Errors
    /// BADSESSION if it is over, DELAY if it is unavailable now; it is not here then, at least not
    /// in this tenure.
    pub(crate) fn put_session(
        &self,
        record: &SessionRecord,
        tenure: u32,
        past: Past<'_>,
    ) -> Result<(), Nfsstat4> {
        let id = record.session();
        let put = self.front.sessions.lock().put(record, tenure, past, self.now_ms());
        put.map_err(|e| e.status())?;
        // Read after the put: the end of a session changes the state first and this memory second.
        // So either this read sees the end, or the end finds the session.
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
                    // Nor does its lease have to expire.
                    sessions.drop_client(record.client);
                }
                Err(Nfsstat4::Badsession)
            }
            // Another tenure, or the state cannot be read: the next request resumes it again.
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

/// The state's record of a session.
struct InState {
    /// Its tenure, if it exists.
    session: Option<u32>,
    /// Whether its client exists.
    client: bool,
}

#[cfg(test)]
pub(crate) mod tests;
