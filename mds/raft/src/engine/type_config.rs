//! The engine's types, as this crate fills them in.

use openraft::impls::leader_id_std::LeaderId;
use openraft::impls::{BasicNode, BoxedErrorSource, InlineBatch, OneshotResponder, TokioRuntime};
use openraft::vote::RaftLeaderId;

use super::entry::{Answer, EncodedEntry};

/// A node's name in a shard: see `identity`.
pub(crate) type NodeId = u64;

/// The engine's types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = EncodedEntry;
    type R = Answer;
    type NodeId = NodeId;
    type Node = BasicNode;
    type Term = u64;
    type LeaderId = LeaderId<u64, NodeId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Self::D, NodeId, BasicNode>;
    type Entry = openraft::impls::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T: Send + 'static> = OneshotResponder<Self, T>;
    type Batch<T: Send + 'static> = InlineBatch<T>;
    type ErrorSource = BoxedErrorSource;
}

/// The leader and its term, as the engine reports them.
pub(crate) type ServerMetrics =
    openraft::type_config::alias::WatchReceiverOf<Types, openraft::metrics::RaftServerMetrics<Types>>;
/// A log position.
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
/// A log entry as the engine sees it.
pub(crate) type RaftEntry = openraft::type_config::alias::EntryOf<Types>;
/// A vote.
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
/// Members, and the log position that set them.
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
/// Members.
pub(crate) type Membership = openraft::Membership<NodeId, BasicNode>;
/// What a snapshot contains.
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
/// Makes a log position.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}
