//! Commands about sessions: CREATE_SESSION, DESTROY_SESSION, BACKCHANNEL_CTL, and resuming a
//! session on another server.
//!
//! Spec: RFC 8881 §18.33, §18.36, §18.37; docs/protocol/sessions.md.

use serde::{Deserialize, Serialize};
use wire_session::server::record::{CallbackCredential, SessionRecord};

use super::client::RemovedClient;

/// CREATE_SESSION.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSession {
    /// The session to make. Refused with `BadSession` if no server negotiates such bounds.
    pub record: SessionRecord,
    /// Caller's principal.
    #[serde(with = "serde_bytes")]
    pub principal: Vec<u8>,
}

/// Answer to [`CreateSession`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreated {
    /// The session, made by this CREATE_SESSION or the previous one with the same sequence.
    pub record: SessionRecord,
    /// The session's tenure.
    pub tenure: u32,
    /// The session was made before.
    pub replay: bool,
    /// The client's oldest session, removed because it had too many.
    pub ended: Option<[u8; 16]>,
    /// State of these client ids was dropped (older incarnations of the same owner).
    pub dropped: Vec<RemovedClient>,
}

/// DESTROY_SESSION.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroySession {
    /// Session id.
    pub session: [u8; 16],
}

/// Resumes a session. Behind this entry the log refuses entries of an older tenure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeUpSession {
    /// Session id.
    pub session: [u8; 16],
}

/// Answer to [`TakeUpSession`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTakenUp {
    /// The session.
    pub record: SessionRecord,
    /// The new tenure.
    pub tenure: u32,
    /// Slots that have a record.
    pub slots: Vec<SlotMark>,
}

/// The last recorded request of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMark {
    /// The slot.
    pub slot: u32,
    /// The request's sequence.
    pub sequence: u32,
    /// The request's fingerprint.
    pub request: u64,
}

/// BACKCHANNEL_CTL: program and credential of further callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetCallback {
    /// Session id.
    pub session: [u8; 16],
    /// RPC program.
    pub program: u32,
    /// RPC credential.
    pub credential: CallbackCredential,
}
