//! Callbacks: the server calls, the client answers. One file for each operation, as in `ops`.
//!
//! Callbacks that a server of ours never makes (attributes under a write delegation, directory
//! notifications, pushed delegations, copies) have no codec; a client of ours answers them with
//! NOTSUPP.
//!
//! Spec: RFC 8881 §19, §20.

mod any;
pub mod compound;
pub mod layoutrecall;
pub mod notify_deviceid;
pub mod notify_lock;
pub mod recall;
pub mod recall_any;
pub mod sequence;

pub use any::{AnyCbArgs, AnyCbResOk};

#[cfg(test)]
mod tests;
