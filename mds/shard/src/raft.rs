//! The adapter to the consensus engine (openraft): types, log store, state machine, snapshots, transport.
//!
//! Nothing above this module sees a type of openraft. One leader in each term (standard Raft).
//!
//! INVARIANT: the log is cut only up to what the last durable checkpoint of the store contains.

pub(crate) mod entry;
pub(crate) mod log_record;
pub(crate) mod log_store;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod snapshot;

use openraft::impls::leader_id_std;

pub(crate) use entry::{Answer, EncodedEntry};

/// What a node of a shard is called.
pub(crate) type NodeId = u64;

openraft::declare_raft_types!(
    /// The engine's types.
    pub(crate) Types:
        D = EncodedEntry,
        R = Answer,
        NodeId = NodeId,
        Node = openraft::impls::BasicNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, NodeId>,
        Responder<T> = openraft::impls::OneshotResponder<Self, T> where T: Send + 'static,
);

/// The engine with our types.
pub(crate) type Raft = openraft::Raft<Types, machine::Machine>;
/// A log position.
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
/// A log entry as the engine sees it.
pub(crate) type RaftEntry = openraft::type_config::alias::EntryOf<Types>;
/// A vote.
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
/// Members, and where in the log they were set.
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
/// Members.
pub(crate) type Membership = openraft::Membership<NodeId, openraft::impls::BasicNode>;
/// What a snapshot contains.
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
/// A snapshot: what it contains, and the way to its bytes.
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, snapshot::SnapshotData>;

/// Makes a log position.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}
