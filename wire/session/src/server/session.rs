//! One session: its channels, its slots, and the connections bound to it.
//!
//! Spec: RFC 8881 §2.10.3, §2.10.6.

use wire_nfs::v4::{Nfsstat4, SessionId, ops::create_session::ChannelAttrs};

use super::{
    arrival::{Arrival, ConnectionId},
    backchannel::Backchannel,
    record::{CallbackCredential, SessionRecord},
    reply_cache::empty_session_bytes,
    slot::Slot,
};
use crate::limits::{CONNECTIONS_PER_SESSION_MAX, RPC_REPLY_HEADER_BYTES, SEQUENCE_REPLY_BYTES};

/// Names a request that is being executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotToken {
    /// The client.
    pub client: u64,
    /// The session.
    pub session: SessionId,
    /// The slot.
    pub slot: u32,
    /// The sequence on that slot.
    pub sequence: u32,
    /// The tenure in which it was admitted.
    pub tenure: u32,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    client: u64,
    tenure: u32,
    minor_version: u32,
    fore: ChannelAttrs,
    back: ChannelAttrs,
    connections: Vec<ConnectionId>,
    pub(super) slots: Vec<Slot>,
    pub(super) backchannel: Backchannel,
}

impl Session {
    /// A session from its record, which is sound, and one slot for each that it has.
    pub(super) fn new(record: &SessionRecord, tenure: u32, slots: Vec<Slot>) -> Self {
        let (fore, back) = (record.fore.attrs(), record.back.attrs());
        assert!(record.is_sound(), "the caller has checked the record");
        assert!(slots.len() == fore.requests_max as usize, "each slot of the record is there");
        let credential = record.credential.as_ref().map(CallbackCredential::sec);
        Self {
            id: record.session(),
            client: record.client,
            tenure,
            minor_version: record.minor_version,
            connections: Vec::new(),
            slots,
            backchannel: Backchannel::new(&back, record.program, credential, record.minor_version),
            fore,
            back,
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose it is.
    #[must_use]
    pub fn client(&self) -> u64 {
        self.client
    }

    /// How often it was resumed: a server with a lower number has it no longer.
    #[must_use]
    pub fn tenure(&self) -> u32 {
        self.tenure
    }

    /// The minor version of the COMPOUND that made it.
    #[must_use]
    pub fn minor_version(&self) -> u32 {
        self.minor_version
    }

    /// The client's requests.
    #[must_use]
    pub fn fore(&self) -> &ChannelAttrs {
        &self.fore
    }

    /// The server's requests.
    #[must_use]
    pub fn back(&self) -> &ChannelAttrs {
        &self.back
    }

    /// The server's calls to the client.
    #[must_use]
    pub fn backchannel(&self) -> &Backchannel {
        &self.backchannel
    }

    /// The connections on which the client may use it.
    #[must_use]
    pub fn connections(&self) -> &[ConnectionId] {
        &self.connections
    }

    /// Requests being executed.
    #[must_use]
    pub fn running(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_running()).count()
    }

    /// What it takes in memory.
    #[must_use]
    pub(super) fn bytes(&self) -> u64 {
        let kept: u64 = self.slots.iter().map(Slot::kept_bytes).sum();
        empty_session_bytes(self.fore.requests_max) + kept
    }

    /// Binds a connection to the fore channel. False if no more can be bound.
    pub(super) fn bind_fore(&mut self, connection: ConnectionId) -> bool {
        if self.connections.contains(&connection) {
            return true;
        }
        let room = self.connections.len() < CONNECTIONS_PER_SESSION_MAX;
        if room {
            self.connections.push(connection);
        }
        assert!(self.connections.len() <= CONNECTIONS_PER_SESSION_MAX, "few connections are bound");
        room
    }

    pub(super) fn unbind(&mut self, connection: ConnectionId) {
        self.connections.retain(|bound| *bound != connection);
        self.backchannel.unbind(connection);
    }

    /// Checks a request against the fore channel, before its slot is looked at.
    pub(super) fn check_bounds(
        &self,
        slot: u32,
        slot_highest: u32,
        arrival: &Arrival,
        cache: bool,
    ) -> Result<(), Nfsstat4> {
        // The slot must not move for a compound that is refused: its client would never get beyond
        // it.
        if self.minor_version != arrival.minor_version {
            return Err(Nfsstat4::MinorVersMismatch);
        }
        if self.fore.requests_max <= slot {
            return Err(Nfsstat4::Badslot);
        }
        if self.fore.requests_max <= slot_highest {
            return Err(Nfsstat4::BadHighSlot);
        }
        if self.fore.operations_max < arrival.op_count {
            return Err(Nfsstat4::TooManyOps);
        }
        if (self.fore.request_bytes_max as usize) < arrival.record_bytes {
            return Err(Nfsstat4::ReqTooBig);
        }
        // §2.10.6.4: not even the reply to SEQUENCE could be kept.
        if cache && self.fore.response_cached_bytes_max < SEQUENCE_REPLY_BYTES {
            return Err(Nfsstat4::RepTooBigToCache);
        }
        Ok(())
    }

    /// Bytes that a compound reply may have, RPC header not counted, and the status of the
    /// operation that would go above.
    pub(super) fn reply_bound(&self, cache: bool) -> (usize, Nfsstat4) {
        let (bytes, status) = if cache && self.fore.response_cached_bytes_max < self.fore.response_bytes_max {
            (self.fore.response_cached_bytes_max, Nfsstat4::RepTooBigToCache)
        } else {
            (self.fore.response_bytes_max, Nfsstat4::RepTooBig)
        };
        assert!(bytes <= self.fore.response_bytes_max, "a kept reply could be sent");
        (bytes.saturating_sub(RPC_REPLY_HEADER_BYTES) as usize, status)
    }
}
