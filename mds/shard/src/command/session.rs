//! Commands about sessions: CREATE_SESSION, DESTROY_SESSION, BACKCHANNEL_CTL, and the change of the server that has one.
//!
//! Spec: RFC 8881 §18.33, §18.36, §18.37; docs/protocol/sessions.md.

use serde::{Deserialize, Serialize};
use wire_session::server::record::{CallbackCredential, SessionRecord};

use super::client::RemovedClient;

/// CREATE_SESSION.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSession {
    /// The session to be made. Refused with `BadSession` if nobody negotiates such a one.
    pub record: SessionRecord,
    /// Caller's principal.
    #[serde(with = "serde_bytes")]
    pub principal: Vec<u8>,
}

/// Answer to [`CreateSession`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreated {
    /// The session, as this CREATE_SESSION or the one before with the same sequence made it.
    pub record: SessionRecord,
    /// In which tenure it is.
    pub tenure: u32,
    /// It was made before.
    pub replay: bool,
    /// The oldest session of the client, which had too many, is gone.
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

/// Takes a session up. What is proposed for it in an older tenure, and comes behind this in the log, is refused.
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
    /// Slots under which something is recorded.
    pub slots: Vec<SlotMark>,
}

/// The last request on a slot of which something is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotMark {
    /// The slot.
    pub slot: u32,
    /// The request's sequence.
    pub sequence: u32,
    /// The request's fingerprint.
    pub request: u64,
}

/// BACKCHANNEL_CTL: how to call the client from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetCallback {
    /// Session id.
    pub session: [u8; 16],
    /// RPC program.
    pub program: u32,
    /// RPC credential.
    pub credential: CallbackCredential,
}
