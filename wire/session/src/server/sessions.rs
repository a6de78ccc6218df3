//! The table of all sessions of a server.
//!
//! The front keeps one behind one lock, and never holds the lock over anything that waits: a call
//! here is a few look-ups. Client ids are confirmed and sessions made in the replicated state; what
//! is here is what this server has of them: slots, replies, connections. A session that another
//! server had is resumed with what the state knows of it.
//!
//! Life of a request: [`Sessions::sequence`] admits it, the front executes it,
//! [`Sessions::complete`] ends it. An admitted request must be completed even if its connection is
//! gone, else its slot stays busy for good.
//!
//! INVARIANT: a client with a request being executed is never expired.
//! What the table counts of a client agrees with its sessions: `check`.
//! Spec: RFC 8881 §2.10, §18.34, §18.36, §18.37, §18.46; docs/protocol/sessions.md.

mod check;

use std::collections::BTreeMap;

use bytes::Bytes;
use wire_nfs::v4::{
    Nfsstat4, SessionId,
    ops::{
        bind_conn_to_session::{self, DirectionAsked, DirectionGranted},
        sequence::{self, status_flags},
    },
};

use super::{
    arrival::{Arrival, ConnectionId},
    backchannel::{CallbackCall, CallbackOutcome, CallbackToken, CallbackVerdict},
    lease::Leases,
    record::SessionRecord,
    reply_cache::{Shares, empty_session_bytes},
    session::{Session, SlotToken},
    slot::{Slot, SlotVerdict},
};
use crate::limits::{SESSIONS_BYTES_MAX, SESSIONS_BYTES_PER_CLIENT_MAX, SESSIONS_PER_CLIENT_MAX};

/// What to do with a compound that begins with SEQUENCE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new: execute it, then call [`Sessions::complete`].
    Execute(Admitted),
    /// It is a retry: answer this, from the compound's status on.
    Replay(Bytes),
    /// SEQUENCE gets this status and the compound ends.
    Reject(Nfsstat4),
    /// The session is not here. BADSESSION, unless the replicated state has it: then resume it
    /// here, and ask again.
    Unknown,
}

/// A request that is to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// To complete it with.
    pub token: SlotToken,
    /// Another server may have carried it out: what is recorded of it stands.
    pub again: bool,
    /// The result of SEQUENCE.
    pub result: sequence::ResOk,
    /// The reply has to be kept for a retry.
    pub cache: bool,
    /// Bytes that the compound's reply may have, from its status on.
    pub reply_bytes_max: usize,
    /// The status of the operation whose result would go above.
    pub reply_overflow: Nfsstat4,
}

/// Why a session is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The client has as many as it may have. Neither is at fault: the replicated state ends its
    /// oldest.
    #[error("no room for another session")]
    Full,
    /// The record is none that this program makes.
    #[error("record of a session with bounds that are never negotiated")]
    Unsound,
}

impl CreateError {
    /// The status on the wire.
    #[must_use]
    pub fn status(self) -> Nfsstat4 {
        match self {
            Self::Full => Nfsstat4::Delay,
            Self::Unsound => Nfsstat4::Serverfault,
        }
    }
}

/// Why a session is not ended. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestroyError {
    /// The request came over a connection that has nothing to do with the session.
    #[error("connection is not bound to the session")]
    NotBound,
}

impl DestroyError {
    /// The status on the wire.
    #[must_use]
    pub fn status(self) -> Nfsstat4 {
        match self {
            Self::NotBound => Nfsstat4::ConnNotBoundToSession,
        }
    }
}

/// What is known of a client beside its record: gone after a restart.
#[derive(Debug, Default)]
struct Client {
    sessions: Vec<SessionId>,
    /// Flags that SEQUENCE raises until they are lowered.
    flags: u32,
    /// Requests being executed.
    running: usize,
}

/// The last request on a slot that left something in the replicated state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSeen {
    /// The slot.
    pub slot: u32,
    /// The request's sequence.
    pub sequence: u32,
    /// The request's fingerprint.
    pub fingerprint: u64,
}

/// What came before a session is put into the table.
#[derive(Clone, Copy, Debug)]
pub enum Past<'a> {
    /// Nothing: it was made just now.
    None,
    /// Another server had it; this is what the replicated state knows of its slots.
    Elsewhere(&'a [SlotSeen]),
}

/// All sessions of a server.
#[derive(Debug)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    clients: BTreeMap<u64, Client>,
    bound: BTreeMap<ConnectionId, Vec<SessionId>>,
    leases: Leases,
    shares: Shares,
    /// What all sessions may take.
    bytes_max: u64,
}

impl Sessions {
    /// No sessions.
    #[must_use]
    pub fn new(lease_ms: u64) -> Self {
        Self {
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
            bound: BTreeMap::new(),
            leases: Leases::new(lease_ms),
            shares: Shares::default(),
            bytes_max: SESSIONS_BYTES_MAX,
        }
    }

    /// SEQUENCE at the beginning of a compound.
    pub fn sequence(&mut self, args: &sequence::Args, arrival: &Arrival, now_ms: u64) -> Verdict {
        let Some(session) = self.sessions.get_mut(&args.session) else {
            return Verdict::Unknown;
        };
        if let Err(status) = session.check_bounds(args.slotid, args.highest_slotid, arrival, args.cache_this)
        {
            return Verdict::Reject(status);
        }
        let slot = &mut session.slots[args.slotid as usize];
        let kept = slot.kept_bytes();
        let verdict = slot.admit(args.sequenceid, arrival.fingerprint);
        self.shares.change(session.client(), kept, session.slots[args.slotid as usize].kept_bytes());
        if let SlotVerdict::Reject(status) = verdict {
            return Verdict::Reject(status);
        }
        // §2.10.3.1: without state protection, a SEQUENCE that goes well binds its connection to
        // the fore channel.
        if !session.connections().contains(&arrival.connection) && session.bind_fore(arrival.connection) {
            remember_bound(&mut self.bound, arrival.connection, args.session);
        }
        self.leases.renew(session.client(), now_ms);
        if let SlotVerdict::Replay(reply) = verdict {
            return Verdict::Replay(reply);
        }
        let session = &self.sessions[&args.session];
        let client = self.clients.get_mut(&session.client()).expect("a session has a client");
        client.running += 1;
        let (reply_bytes_max, reply_overflow) = session.reply_bound(args.cache_this);
        let highest_slotid = session.fore().requests_max - 1;
        let admitted = Admitted {
            token: SlotToken {
                client: session.client(),
                session: args.session,
                slot: args.slotid,
                sequence: args.sequenceid,
                tenure: session.tenure(),
            },
            again: verdict == SlotVerdict::Again,
            result: sequence::ResOk {
                session: args.session,
                sequenceid: args.sequenceid,
                slotid: args.slotid,
                highest_slotid,
                target_highest_slotid: highest_slotid,
                status_flags: client.flags | path_flags(session, client, &self.sessions),
            },
            cache: args.cache_this,
            reply_bytes_max,
            reply_overflow,
        };
        self.check_client(admitted.token.client);
        Verdict::Execute(admitted)
    }

    /// A request is answered; to be called *before* the reply goes out, as a client that has the
    /// reply may use the slot at once. `reply` is the compound's reply from its status on, for a
    /// retry; `None`, or one that is longer than the session keeps, is not kept. It should be a
    /// copy: bytes that share a large buffer keep all of it.
    ///
    /// A session that ended, or went elsewhere, meanwhile is no error.
    pub fn complete(&mut self, token: SlotToken, reply: Option<Bytes>) {
        let found = self.sessions.get_mut(&token.session);
        let Some(session) = found.filter(|session| session.tenure() == token.tenure) else { return };
        let bytes_max = session.reply_bound(true).0;
        let kept = reply.filter(|reply| reply.len() <= bytes_max);
        let slot = &mut session.slots[token.slot as usize];
        let before = slot.kept_bytes();
        let completed = slot.complete(token.sequence, kept);
        self.shares.change(token.client, before, slot.kept_bytes());
        if completed {
            let client = self.clients.get_mut(&token.client).expect("a session has a client");
            assert!(0 < client.running, "it was counted when it was admitted");
            client.running -= 1;
        }
        self.make_room(token.client, token.session);
        self.check_client(token.client);
    }

    /// Has sessions leave the memory: of this client if it takes more than its share, and of those
    /// that take most if all take too much. `stays` does not. One without requests goes first, the
    /// oldest of them.
    fn make_room(&mut self, client: u64, stays: SessionId) {
        while SESSIONS_BYTES_PER_CLIENT_MAX < self.shares.of(client) {
            let Some(leaves) = self.to_leave(client, stays) else { break };
            self.end(leaves);
        }
        while self.bytes_max < self.shares.total_bytes() {
            let Some(leaves) = self.shares.heaviest().find_map(|client| self.to_leave(client, stays)) else {
                break;
            };
            self.end(leaves);
        }
    }

    fn to_leave(&self, client: u64, stays: SessionId) -> Option<SessionId> {
        let others = || self.sessions_of(client).filter(|session| session.id() != stays);
        let idle = others().find(|session| session.running() == 0);
        idle.or_else(|| others().next()).map(Session::id)
    }

    /// Puts a session of the replicated state into the table. One that is here in an older tenure
    /// is replaced, with all that it had: requests being executed go on, and their replies are not
    /// kept. One that is here in this tenure, or a later one, stays.
    ///
    /// # Errors
    /// [`CreateError`]; DELAY, and the client asks again.
    pub fn put(
        &mut self,
        record: &SessionRecord,
        tenure: u32,
        past: Past<'_>,
        now_ms: u64,
    ) -> Result<(), CreateError> {
        if !record.is_sound() {
            return Err(CreateError::Unsound);
        }
        let id = record.session();
        match self.sessions.get(&id) {
            Some(here) if tenure <= here.tenure() => return Ok(()),
            Some(_) => self.end(id),
            None => {}
        }
        let count = self.clients.get(&record.client).map_or(0, |client| client.sessions.len());
        if SESSIONS_PER_CLIENT_MAX <= count {
            return Err(CreateError::Full);
        }
        let slots_max = record.fore.requests_max;
        let mut slots: Vec<Slot> = (0..slots_max)
            .map(|_| if matches!(past, Past::None) { Slot::new() } else { Slot::resumed(None) })
            .collect();
        if let Past::Elsewhere(seen) = past {
            for one in seen {
                if let Some(slot) = slots.get_mut(one.slot as usize) {
                    *slot = Slot::resumed(Some((one.sequence, one.fingerprint)));
                }
            }
        }
        let mut session = Session::new(record, tenure, slots);
        if record.back_wanted && matches!(past, Past::Elsewhere(_)) {
            session.backchannel.lose_count();
        }
        self.sessions.insert(id, session);
        self.clients.entry(record.client).or_default().sessions.push(id);
        self.leases.renew(record.client, now_ms);
        self.shares.change(record.client, 0, empty_session_bytes(slots_max));
        self.make_room(record.client, id);
        assert!(self.sessions.contains_key(&id), "the session that needs room stays");
        self.check_client(record.client);
        Ok(())
    }

    /// Binds the connection of a CREATE_SESSION: to the fore channel, and to the backchannel if
    /// that is wanted.
    pub fn bind_creator(&mut self, session: SessionId, connection: ConnectionId, back: bool) {
        let Some(found) = self.sessions.get_mut(&session) else { return };
        if !found.bind_fore(connection) {
            return;
        }
        if back {
            found.backchannel.bind(connection);
        }
        remember_bound(&mut self.bound, connection, session);
    }

    /// BIND_CONN_TO_SESSION. Both channels are given wherever the client takes both.
    ///
    /// # Errors
    /// BADSESSION; DELAY if no more connections can be bound.
    pub fn bind(
        &mut self,
        args: &bind_conn_to_session::Args,
        connection: ConnectionId,
        now_ms: u64,
    ) -> Result<bind_conn_to_session::ResOk, Nfsstat4> {
        let session = self.sessions.get_mut(&args.session).ok_or(Nfsstat4::Badsession)?;
        let direction = match args.direction {
            DirectionAsked::Fore => DirectionGranted::Fore,
            DirectionAsked::Back => DirectionGranted::Back,
            DirectionAsked::ForeOrBoth | DirectionAsked::BackOrBoth => DirectionGranted::Both,
        };
        if direction != DirectionGranted::Back && !session.bind_fore(connection) {
            return Err(Nfsstat4::Delay);
        }
        if direction != DirectionGranted::Fore {
            session.backchannel.bind(connection);
        }
        self.leases.renew(session.client(), now_ms);
        remember_bound(&mut self.bound, connection, args.session);
        Ok(bind_conn_to_session::ResOk { session: args.session, direction, rdma_mode: false })
    }

    /// Whether DESTROY_SESSION may come over this connection. If so the session goes from the
    /// replicated state, and then from here, by [`end`](Self::end).
    ///
    /// # Errors
    /// [`DestroyError`]. A session whose connections are all gone may be ended over any connection:
    /// a client that came back and wants to leave should not have to bind first. Nor is one bound
    /// that is not here.
    pub fn may_destroy(&self, session: SessionId, connection: ConnectionId) -> Result<(), DestroyError> {
        let Some(found) = self.sessions.get(&session) else { return Ok(()) };
        let mut bound = found.connections().iter().chain(found.backchannel().connections());
        if bound.clone().next().is_some() && !bound.any(|one| *one == connection) {
            return Err(DestroyError::NotBound);
        }
        Ok(())
    }

    /// A session is not here any more: it was destroyed, or another server has it. Requests that
    /// are being executed go on; their replies are not kept.
    pub fn end(&mut self, session: SessionId) {
        let Some(found) = self.sessions.get(&session) else { return };
        let (client, running) = (found.client(), found.running());
        self.remove(session);
        let client = self.clients.get_mut(&client).expect("a session has a client");
        client.sessions.retain(|one| *one != session);
        assert!(running <= client.running, "each running request was counted when it was admitted");
        client.running -= running;
    }

    /// Ends the session that a request was admitted to, if it is still that one: see
    /// [`end`](Self::end).
    pub fn disown(&mut self, token: SlotToken) {
        if self.sessions.get(&token.session).is_some_and(|session| session.tenure() == token.tenure) {
            self.end(token.session);
        }
    }

    /// Ends all sessions but those that `keep` says are this server's, by name and tenure.
    pub fn keep_only(&mut self, keep: impl Fn(SessionId, u32) -> bool) {
        let here = self.sessions.iter().map(|(id, session)| (*id, session.tenure()));
        let gone: Vec<SessionId> =
            here.filter(|(id, tenure)| !keep(*id, *tenure)).map(|(id, _)| id).collect();
        gone.into_iter().for_each(|id| self.end(id));
    }

    /// A client is gone or has restarted: all its sessions end.
    pub fn drop_client(&mut self, client: u64) {
        self.leases.forget(client);
        let Some(dropped) = self.clients.remove(&client) else { return };
        for session in dropped.sessions {
            self.remove(session);
        }
        assert_eq!(self.shares.of(client), 0, "what the client's sessions took is given back");
    }

    /// A connection is gone.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        for id in self.bound.remove(&connection).unwrap_or_default() {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.unbind(connection);
            }
        }
    }

    /// BACKCHANNEL_CTL: the program and credential of callbacks from now on. False if there is no
    /// such session.
    pub fn set_callback(
        &mut self,
        session: SessionId,
        program: u32,
        credential: Option<wire_nfs::v4::callback_sec::CallbackSec>,
    ) -> bool {
        let session = self.sessions.get_mut(&session);
        session.map(|session| session.backchannel.set_program(program, credential)).is_some()
    }

    /// Takes a callback slot of any session of a client that has a path; `None` if none has, or all
    /// slots are taken: [`has_path`](Self::has_path) tells which.
    pub fn begin_callback(&mut self, client: u64) -> Option<CallbackCall> {
        let ids = &self.clients.get(&client)?.sessions;
        let sessions = &mut self.sessions;
        // The newest session first: an older one may be left over from before a reset.
        ids.iter().rev().find_map(|id| sessions.get_mut(id)?.backchannel.begin(*id))
    }

    /// Ends a callback. A session that ended meanwhile, or a client that went, counts as lost.
    pub fn finish_callback(&mut self, token: CallbackToken, outcome: CallbackOutcome) -> CallbackVerdict {
        match self.sessions.get_mut(&token.session) {
            Some(session) => session.backchannel.finish(token, outcome),
            None => match outcome {
                CallbackOutcome::Answered(status) => CallbackVerdict::Answered(status),
                CallbackOutcome::Sequence(_) | CallbackOutcome::Lost => CallbackVerdict::Again,
            },
        }
    }

    /// Whether any session of a client has a backchannel that could be used.
    #[must_use]
    pub fn has_path(&self, client: u64) -> bool {
        self.sessions_of(client).any(|session| session.backchannel().has_path())
    }

    /// Raises flags of the reply to SEQUENCE for a client, until they are lowered
    /// (RECALLABLE_STATE_REVOKED and the like).
    pub fn raise_flags(&mut self, client: u64, flags: u32) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.flags |= flags;
        }
    }

    /// Lowers flags of the reply to SEQUENCE for a client.
    pub fn lower_flags(&mut self, client: u64, flags: u32) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.flags &= !flags;
        }
    }

    /// The leases, to renew one without a session (EXCHANGE_ID), or to restart all.
    pub fn leases_mut(&mut self) -> &mut Leases {
        &mut self.leases
    }

    /// The clients whose lease has run out and that have no request being executed.
    #[must_use]
    pub fn expired(&self, now_ms: u64) -> Vec<u64> {
        let idle = |id: &u64| self.clients.get(id).is_none_or(|client| client.running == 0);
        self.leases.expired(now_ms).filter(idle).collect()
    }

    /// The sessions of a client, oldest first.
    pub fn sessions_of(&self, client: u64) -> impl Iterator<Item = &Session> + '_ {
        let ids = self.clients.get(&client).map_or(&[][..], |client| &client.sessions);
        ids.iter().filter_map(|id| self.sessions.get(id))
    }

    /// One session.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What all sessions take in memory, with the replies that they keep.
    ///
    /// # Units
    /// Bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.shares.total_bytes()
    }

    fn remove(&mut self, id: SessionId) {
        let session = self.sessions.remove(&id).expect("the caller looked");
        self.shares.change(session.client(), session.bytes(), 0);
        for connection in session.connections().iter().chain(session.backchannel().connections()) {
            if let Some(bound) = self.bound.get_mut(connection) {
                bound.retain(|one| *one != id);
                if bound.is_empty() {
                    self.bound.remove(connection);
                }
            }
        }
    }
}

fn remember_bound(
    bound: &mut BTreeMap<ConnectionId, Vec<SessionId>>,
    connection: ConnectionId,
    id: SessionId,
) {
    let ids = bound.entry(connection).or_default();
    if !ids.contains(&id) {
        ids.push(id);
    }
    debug_assert_eq!(ids.iter().filter(|one| **one == id).count(), 1, "a session is bound once");
}

/// What the reply to SEQUENCE says of callback paths.
fn path_flags(session: &Session, client: &Client, sessions: &BTreeMap<SessionId, Session>) -> u32 {
    let own = session.backchannel.status_flags();
    if own & status_flags::CB_PATH_DOWN_SESSION == 0 {
        return own;
    }
    let mut others = client.sessions.iter().filter_map(|id| sessions.get(id));
    let any_path = others.any(|other| other.backchannel.is_wanted() && other.backchannel.has_path());
    if any_path { own } else { own | status_flags::CB_PATH_DOWN }
}

#[cfg(test)]
mod tests;
