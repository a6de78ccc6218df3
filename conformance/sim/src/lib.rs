//! The simulator: a whole cluster and its clients in one thread, in simulated time, from a seed.
//!
//! The product's own code runs, from the session to the log; what it stands on (clock, entropy,
//! network, disk) is simulated, and so are the clients. When all has gone wrong that the seed
//! wants, checkers judge what the clients saw and what the replicas hold. docs/sim.md tells what
//! for.
//!
//! INVARIANT: the same seed makes the same run, event for event.

mod chance;
mod check;
mod client;
mod clock;
mod cluster;
mod disk;
mod event_log;
mod limits;
mod links;
mod loss;
mod nemesis;
mod network;
mod node;
mod planted;
mod readmission;
mod record;
mod run;
mod serve;
mod stream;
mod turn;
mod world;

use std::net::SocketAddr;

pub use run::{Arguments, Outcome, run_seed, trace};

/// An address of a node.
pub(crate) fn address(node: usize, port: u16) -> SocketAddr {
    let host = u8::try_from(node + 1).expect("few nodes");
    SocketAddr::from(([10, 0, 0, host], port))
}
