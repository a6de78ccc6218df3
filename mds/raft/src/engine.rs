//! The adapter to the consensus engine (openraft): types, log store, state machine, snapshots,
//! transport.
//!
//! Nothing above this module sees a type of openraft. One leader in each term (standard Raft).
//!
//! INVARIANT: the log is cut only up to what the last durable checkpoint of the store contains.

mod append_error;
pub(crate) mod applied;
pub(crate) mod caller;
pub(crate) mod callers;
pub(crate) mod entry;
pub(crate) mod forward;
pub(crate) mod hold;
pub(crate) mod identity;
pub(crate) mod life;
pub(crate) mod log_record;
mod log_replay;
mod log_state;
pub(crate) mod log_store;
pub(crate) mod machine;
pub(crate) mod message;
pub(crate) mod network;
mod off_thread;
pub(crate) mod service;
pub(crate) mod snapshot;
pub(crate) mod succession;
pub(crate) mod type_config;
mod unhurried;
mod waiting_disk;
