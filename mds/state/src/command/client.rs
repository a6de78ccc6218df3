//! Commands about clients: EXCHANGE_ID, CREATE_SESSION, RECLAIM_COMPLETE, DESTROY_CLIENTID and
//! lease expiry.
//!
//! Spec: RFC 8881 §18.35, §18.36, §18.50, §18.51.

use serde::{Deserialize, Serialize};

/// EXCHANGE_ID (RFC 8881 §18.35.5 lists the cases; `wire_session::server::client_id` decides them).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeId {
    /// `co_ownerid`.
    #[serde(with = "serde_bytes")]
    pub owner: Vec<u8>,
    /// `co_verifier`.
    pub verifier: [u8; 8],
    /// The caller, as bytes that compare equal for the same principal.
    #[serde(with = "serde_bytes")]
    pub principal: Vec<u8>,
    /// EXCHGID4_FLAG_UPD_CONFIRMED_REC_A was set.
    pub update: bool,
    /// Implementation name the client gave, for the logs and to know its kernel.
    pub implementation: String,
}

/// [`ExchangeId`] with a random id: a client that guessed another client's id could act for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeIdAs {
    /// The arguments.
    pub asked: ExchangeId,
    /// A random number: the id of a new client, unless another client has it.
    pub fresh: u64,
}

/// An address as an IPv6 one; IPv4 is mapped.
pub type Address = [u8; 16];

/// [`ExchangeIdAs`] with the sender's address: the number of clients of an address that make no
/// session is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeIdFrom {
    /// The arguments, and the id.
    pub asked: ExchangeIdAs,
    /// The client's address.
    pub address: Address,
}

/// Answer to [`ExchangeIdFrom`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMade {
    /// The reply to the client.
    pub answer: ClientAnswer,
    /// Clients without a session that were evicted.
    pub evicted: Vec<u64>,
}

/// Answer to [`ExchangeId`] and [`ExchangeIdAs`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAnswer {
    /// The client id.
    pub client: u64,
    /// `eir_sequenceid`: the sequence of the next CREATE_SESSION.
    pub sequence: u32,
    /// EXCHGID4_FLAG_CONFIRMED_R.
    pub confirmed: bool,
    /// A confirmed client record that this one will replace when confirmed (client restarted).
    pub replaces: Option<u64>,
}

/// CREATE_SESSION's effect on the client record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmClient {
    /// Client id.
    pub client: u64,
    /// `csa_sequence`.
    pub sequence: u32,
    /// Caller's principal.
    #[serde(with = "serde_bytes")]
    pub principal: Vec<u8>,
}

/// Answer to [`ConfirmClient`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// This sequence was confirmed before: the front replays the session it made then, or makes a
    /// new one after a restart.
    pub replay: bool,
    /// State of these client ids was dropped (older incarnations of the same owner).
    pub dropped: Vec<RemovedClient>,
}

/// RECLAIM_COMPLETE for the whole server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimComplete {
    /// Client id.
    pub client: u64,
}

/// Removes a client and all its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveClient {
    /// Client id.
    pub client: u64,
    /// True for DESTROY_CLIENTID, which is refused while opens, locks or layouts exist; false for
    /// an expired lease.
    pub only_if_idle: bool,
}

/// Answer to [`RemoveClient`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedClient {
    /// The removed client.
    pub client: u64,
    /// Files on which it held a read-write layout. Their sizes must be queried from the data
    /// servers; their extents have a new epoch (work items are queued).
    pub wrote: Vec<mds_namespace::Ino>,
}
