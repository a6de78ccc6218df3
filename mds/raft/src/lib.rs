//! Shards of the metadata, each a state machine (crate `mds-state`) that is replicated over a Raft
//! log.
//!
//! `engine` is the adapter to the consensus engine: log, state machine, snapshots, transport.
//! [`Shard`] is the interface to one shard. [`Node`] holds the shards of one node, which share a
//! log, connections and a heartbeat.
//!
//! INVARIANT: an outcome is returned only after its log entry is durable on a majority.

mod clocks;
mod config;
mod engine;
mod handles;
mod host;
pub mod limits;
mod liveness;
mod node;
mod nodes;
mod roster;
mod shard;
mod spread;
mod start_error;

pub use clocks::Witness;
pub use config::NodeConfig;
pub use engine::caller::Caller;
pub use handles::{Node, Shard};
pub use node::{EngineStopped, NodeStatus, NodeWatch, Readmission, ReadmitError};
pub use shard::{ProposeError, Status};
pub use start_error::{LogGone, StartError};
