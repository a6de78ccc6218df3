//! The control protocol between metadata servers and data servers.
//!
//! `procedure` numbers what can be called, `reply` begins what comes back, `body` reads and writes
//! the rest. `auth` opens every connection with what `keys` has and `keyring` holds, `roles` says
//! which node may call what, `register` and `heartbeat` are what a data server says, `extent` is
//! what it is told, `copies` and `replicate` are how further copies of an extent are kept, `images`
//! and `groups` how extents are sealed, `handles` is what data-server handles are judged by,
//! `admin`, `exports` and `report` are what administrators ask. Nothing here sends or waits:
//! env-transport carries these bodies.
//!
//! Spec: docs/protocol/control.md; docs/protocol/replicate.md; docs/protocol/seal.md;
//! docs/protocol/admin.md.

pub mod admin;
pub mod auth;
mod body;
pub mod copies;
pub mod exports;
pub mod extent;
mod extent_name;
pub mod groups;
pub mod handles;
pub mod heartbeat;
pub mod images;
pub mod keyring;
pub mod keys;
pub mod limits;
mod node_kind;
mod procedure;
pub mod register;
pub mod replicate;
mod reply;
pub mod report;
pub mod roles;
mod sealed_key;

pub use auth::{ControlGate, Handshake};
pub use body::{Nothing, decode_args, encoded};
pub use keyring::Keyring;
pub use keys::{ClusterKey, Identity};
pub use node_kind::NodeKind;
pub use procedure::{PROGRAM, Procedure, RAFT_PROGRAM, VERSION};
pub use reply::{Refusal, decode_reply, put_reply};

#[cfg(test)]
mod tests;
