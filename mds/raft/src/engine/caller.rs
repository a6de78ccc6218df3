//! A client's connection to a service address, and a leader's report of all of them.
//!
//! Spec: docs/protocol/raft.md, CALLERS.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// The service address and port that it goes to.
    pub service: SocketAddr,
    /// The client's address and port.
    pub client: SocketAddr,
}

/// A leader's report of its callers: all of them, each time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallersReport {
    /// The leader's term.
    pub(crate) term: u64,
    pub(crate) callers: Vec<Caller>,
}
