//! The backchannel of a session: on which connection and slot the server calls the client, and what
//! its answer means.
//!
//! Sends nothing: the sender takes a [`CallbackCall`] from `Sessions`, encodes it with
//! [`encode_callback`], and reports the outcome. Answers that say nothing about the operation
//! itself are turned into "again" or "broken" here.
//!
//! QUIRK(linux): `cachethis` has to be false and only one operation may follow CB_SEQUENCE.
//! Spec: RFC 8881 §2.10.3.1, §2.10.6, §20.9.

use wire_nfs::v4::{
    CbOp, Nfsstat4, SessionId,
    callback::{compound::CbRequestWriter, sequence},
    callback_sec::CallbackSec,
    ops::create_session::ChannelAttrs,
    ops::sequence::status_flags,
};
use wire_xdr::{Encode, Writer};

use super::arrival::ConnectionId;
use crate::{
    limits::{BACK_SLOTS_MAX, CONNECTIONS_PER_SESSION_MAX},
    requester::RequesterSlots,
};

/// Names a callback that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackToken {
    pub(super) session: SessionId,
    pub(super) slot: u32,
    pub(super) sequence: u32,
    pub(super) connection: ConnectionId,
}

/// A callback that may be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackCall {
    /// To report the outcome with.
    pub token: CallbackToken,
    /// Where to send it.
    pub connection: ConnectionId,
    /// RPC program number that the client chose. The version is 1, the procedure 1.
    pub program: u32,
    /// RPC credential that the client wants.
    pub credential: CallbackSec,
    /// Minor version of the session.
    pub minor_version: u32,
    /// Arguments of CB_SEQUENCE.
    pub sequence: sequence::Args,
}

/// What came of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackOutcome {
    /// CB_SEQUENCE went well; this is the status of the operation behind it.
    Answered(Nfsstat4),
    /// CB_SEQUENCE itself, or the whole compound, got this status.
    Sequence(Nfsstat4),
    /// The connection ended, or nothing came in time.
    Lost,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackVerdict {
    /// The client has done with it: this is its answer.
    Answered(Nfsstat4),
    /// The client may not have seen it: take a new call and send it again, after a pause.
    Again,
    /// Session or backchannel are broken. Another session of the client may still take the call.
    Broken,
}

/// The backchannel of one session.
#[derive(Debug)]
pub struct Backchannel {
    program: u32,
    credential: Option<CallbackSec>,
    minor_version: u32,
    connections: Vec<ConnectionId>,
    slots: RequesterSlots,
    /// The client once bound a connection to it: that there is none now is worth a flag.
    wanted: bool,
    fault: bool,
}

impl Backchannel {
    /// A backchannel without a connection.
    #[must_use]
    pub(super) fn new(
        attrs: &ChannelAttrs,
        program: u32,
        credential: Option<CallbackSec>,
        minor_version: u32,
    ) -> Self {
        assert!(attrs.requests_max <= BACK_SLOTS_MAX, "attributes are negotiated before");
        Self {
            program,
            credential,
            minor_version,
            connections: Vec::new(),
            slots: RequesterSlots::new(attrs.requests_max),
            wanted: false,
            fault: false,
        }
    }

    /// Callbacks may use this connection from now on; the last one bound is used first.
    pub(super) fn bind(&mut self, connection: ConnectionId) {
        self.connections.retain(|bound| *bound != connection);
        if self.connections.len() == CONNECTIONS_PER_SESSION_MAX {
            self.connections.remove(0);
        }
        self.connections.push(connection);
        assert!(self.connections.len() <= CONNECTIONS_PER_SESSION_MAX, "few connections are bound");
        self.wanted = true;
    }

    pub(super) fn unbind(&mut self, connection: ConnectionId) {
        self.connections.retain(|bound| *bound != connection);
    }

    /// Another server may have called the client: which numbers its slots have got to is not known
    /// here. RFC 8881 §18.46.3 has a flag for just this, on which the client makes a new session.
    pub(super) fn lose_count(&mut self) {
        self.wanted = true;
        self.fault = true;
    }

    /// BACKCHANNEL_CTL.
    pub(super) fn set_program(&mut self, program: u32, credential: Option<CallbackSec>) {
        self.program = program;
        self.credential = credential;
    }

    /// Whether a callback could be sent, were a slot free.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.connections.is_empty() && self.credential.is_some() && !self.fault
    }

    /// The connections that callbacks may use.
    #[must_use]
    pub fn connections(&self) -> &[ConnectionId] {
        &self.connections
    }

    /// What SEQUENCE on this session has to say of the backchannel, but for the flag about the
    /// whole client.
    pub(super) fn status_flags(&self) -> u32 {
        let mut flags = 0;
        if self.wanted && self.connections.is_empty() {
            flags |= status_flags::CB_PATH_DOWN_SESSION;
        }
        if self.fault {
            flags |= status_flags::BACKCHANNEL_FAULT;
        }
        flags
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Takes a slot on the connection bound last; `None` without a path or a free slot.
    pub(super) fn begin(&mut self, session: SessionId) -> Option<CallbackCall> {
        if self.fault {
            return None;
        }
        let connection = *self.connections.last()?;
        let credential = self.credential.clone()?;
        let taken = self.slots.take()?;
        assert!(self.has_path(), "a callback begins only where it can be sent");
        assert!(taken.slot_highest < BACK_SLOTS_MAX, "a callback has a slot within limit");
        Some(CallbackCall {
            token: CallbackToken { session, slot: taken.slot, sequence: taken.sequence, connection },
            connection,
            program: self.program,
            credential,
            minor_version: self.minor_version,
            sequence: sequence::Args {
                session,
                sequenceid: taken.sequence,
                slotid: taken.slot,
                highest_slotid: taken.slot_highest,
                cache_this: false,
                referring_call_lists: Vec::new(),
            },
        })
    }

    /// Ends a callback. A connection on which one was lost is not used again until it is bound
    /// again.
    pub(super) fn finish(&mut self, token: CallbackToken, outcome: CallbackOutcome) -> CallbackVerdict {
        let (seen, verdict) = match outcome {
            // QUIRK(linux): a retry of what it has done and not kept is told in the second
            // operation.
            CallbackOutcome::Answered(Nfsstat4::RetryUncachedRep)
            | CallbackOutcome::Sequence(Nfsstat4::RetryUncachedRep | Nfsstat4::SeqFalseRetry) => {
                (true, CallbackVerdict::Again)
            }
            CallbackOutcome::Answered(status) => (true, CallbackVerdict::Answered(status)),
            // An earlier call under this number is still running there.
            CallbackOutcome::Sequence(Nfsstat4::Delay) => (false, CallbackVerdict::Again),
            CallbackOutcome::Sequence(_) => {
                self.fault = true;
                (false, CallbackVerdict::Broken)
            }
            CallbackOutcome::Lost => {
                self.unbind(token.connection);
                (false, CallbackVerdict::Again)
            }
        };
        self.slots.give_back(token.slot, token.sequence, seen);
        assert!(
            verdict != CallbackVerdict::Broken || self.fault,
            "SEQUENCE tells the client of a broken backchannel"
        );
        verdict
    }
}

/// Writes the arguments of CB_COMPOUND: CB_SEQUENCE and one operation.
pub fn encode_callback(w: &mut Writer, call: &CallbackCall, op: CbOp, args: &impl Encode) {
    let mut request = CbRequestWriter::begin(w, &bytes::Bytes::new(), call.minor_version);
    request.op(w, CbOp::Sequence, &call.sequence);
    request.op(w, op, args);
    request.finish(w);
}

#[cfg(test)]
mod tests;
