//! One shard of the metadata: a replicated state machine over the namespace and the protocol state of its clients.
//!
//! `command` says what can be done, `apply` does it (deterministic, no clock, no entropy, no I/O but the store),
//! `view` reads, `raft` keeps the replicas alike, and [`Shard`] is the door to all of it. Knows NFS's nouns (clients,
//! sessions, opens, locks, layouts) but none of its wire formats; slots and replies in memory belong to the front.
//!
//! INVARIANT: an outcome is handed out only after its log entry is durable on a majority.

pub mod apply;
pub mod command;
pub mod key;
pub mod limits;
mod raft;
pub mod record;
mod shard;
mod state;
mod view;

pub use apply::lock_ranges::HeldRange;
pub use command::{Command, Entry, Origin, Outcome, Refusal, StateidValue};
pub use raft::EntryError;
pub use shard::{NodeConfig, ProposeError, Shard, StartError, Status};
pub use view::{IoRight, StateView};
