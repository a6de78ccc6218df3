//! CB_SEQUENCE: the first operation of a CB_COMPOUND; names the backchannel's slot.
//!
//! Spec: RFC 8881 §20.9.

use crate::{
    body::xdr_body,
    limits::{REFERRING_CALLS_MAX, REFERRING_LISTS_MAX},
    v4::SessionId,
};

/// Which request this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The session.
    pub session: SessionId,
    /// One more than the last on this slot.
    pub sequenceid: u32,
    /// The slot.
    pub slotid: u32,
    /// The highest slot on which the server has a request.
    pub highest_slotid: u32,
    /// The reply has to be kept. QUIRK(linux): refuses if it is set.
    pub cache_this: bool,
    /// Requests of the client whose replies it should wait for, as this callback follows from them.
    pub referring_call_lists: Vec<ReferringCallList>,
}

xdr_body! {
    Args {
        session,
        sequenceid,
        slotid,
        highest_slotid,
        cache_this,
        referring_call_lists: list(REFERRING_LISTS_MAX),
    }
}

/// Requests of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferringCallList {
    /// The session.
    pub session: SessionId,
    /// The requests.
    pub calls: Vec<ReferringCall>,
}

xdr_body! { ReferringCallList { session, calls: list(REFERRING_CALLS_MAX) } }

/// A request of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferringCall {
    /// Its sequence id.
    pub sequenceid: u32,
    /// Its slot.
    pub slotid: u32,
}

xdr_body! { ReferringCall { sequenceid, slotid } }

/// The same again, and what the client can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResOk {
    /// As asked.
    pub session: SessionId,
    /// As asked.
    pub sequenceid: u32,
    /// As asked.
    pub slotid: u32,
    /// The highest slot that the client keeps.
    pub highest_slotid: u32,
    /// The highest slot that the client wants the server to use.
    pub target_highest_slotid: u32,
}

xdr_body! { ResOk { session, sequenceid, slotid, highest_slotid, target_highest_slotid } }
