//! The arrival of a request: its connection, its size, its fingerprint.
//!
//! Spec: RFC 8881 §2.10.3, §2.10.6.

/// Names a connection of the server; the acceptor of connections gives each a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// On which connection.
    pub connection: ConnectionId,
    /// Bytes of the whole RPC call.
    pub record_bytes: usize,
    /// Operations in the compound, SEQUENCE among them, by the client's word.
    pub op_count: u32,
    /// Minor version of the compound.
    pub minor_version: u32,
    /// From [`fingerprint`](super::slot::fingerprint): equal for true retries.
    pub fingerprint: u64,
}
