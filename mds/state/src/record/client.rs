//! Counts of clients, and clients that wait for their session.
//!
//! Spec: docs/formats/state.md, clients that wait.

use serde::{Deserialize, Serialize};

use crate::command::client::Address;

/// How many clients there are. Absent without any, and in a store of a version that did not count
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCounts {
    /// All clients.
    pub clients: u32,
    /// Clients without a session.
    pub waiting: u32,
    /// The number of the next client without a session.
    pub next: u64,
    /// Sessions of all clients.
    pub sessions: u32,
}

/// A client without a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its place in the table: the least is the oldest.
    pub number: u64,
    /// The client's address; zeros if an earlier version made it.
    pub address: Address,
}
