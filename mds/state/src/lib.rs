//! The state of a shard of the metadata: the namespace, and the protocol state of its clients.
//!
//! `command` lists the commands, `apply` carries them out, `view` reads, `record` and `key` say how
//! it is stored. No log, no network, no task and no thread here: crate `mds-raft` replicates it.
//! The crate knows NFS's nouns (clients, sessions, opens, locks, layouts) but none of its wire
//! formats; the front keeps slots and replies in memory.
//!
//! INVARIANT: the same commands give the same store: no clock, no entropy, no I/O but the store.

pub mod apply;
pub mod command;
mod entry;
pub mod export;
pub mod key;
pub mod limits;
pub mod lock_ranges;
mod lock_tree;
mod query;
pub mod record;
mod stateid;
mod values;
mod view;

pub use command::{Command, Outcome, Refusal, StateidValue};
pub use entry::{Entry, EntryError, Origin};
pub use lock_ranges::HeldRange;
pub use query::IoRight;
pub use view::StateView;
