//! Shards of the metadata, each a replicated state machine over the namespace and the protocol
//! state of its clients.
//!
//! `command` lists the commands, `apply` carries them out (deterministic, no clock, no entropy, no
//! I/O but the store), `view` reads, `raft` replicates, and [`Shard`] is the interface to one
//! shard. [`Node`] holds the shards of one node, which share a log, connections and a heartbeat.
//! The crate knows NFS's nouns (clients, sessions, opens, locks, layouts) but none of its wire
//! formats; the front keeps slots and replies in memory.
//!
//! INVARIANT: an outcome is returned only after its log entry is durable on a majority.

pub mod apply;
mod clocks;
mod config;
pub mod command;
mod entry;
pub mod export;
mod handles;
mod host;
pub mod key;
pub mod limits;
mod liveness;
pub mod lock_ranges;
mod lock_tree;
mod node;
mod nodes;
mod raft;
pub mod record;
mod roster;
mod shard;
mod spread;
mod start_error;
mod state;
mod stateid;
mod values;
mod view;

pub use clocks::Witness;
pub use config::NodeConfig;
pub use command::{Command, Outcome, Refusal, StateidValue};
pub use entry::{Entry, EntryError, Origin};
pub use lock_ranges::HeldRange;
pub use handles::{Node, Shard};
pub use node::{EngineStopped, NodeStatus, NodeWatch, Readmission, ReadmitError};
pub use raft::caller::Caller;
pub use shard::{ProposeError, Status};
pub use start_error::{LogGone, StartError};
pub use state::IoRight;
pub use view::StateView;
