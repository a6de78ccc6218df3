//! The one door to the outside: clock, entropy, disk and network as traits, with two sets of back
//! ends.
//!
//! `os` talks to the machine (and is the only place with `unsafe`); `memory` is for tests: time
//! moves by hand, entropy comes from a seed, disks lose what was not synced. Everything above takes
//! an [`Env`] and cannot tell which one it got. Nothing here knows NFS, a log or a shard.

pub mod addresses;
pub mod awake;
pub mod clock;
pub mod disk;
pub mod entropy;
mod frames;
mod future;
pub mod limits;
pub mod memory;
pub mod net;
pub mod os;

use std::sync::Arc;

pub use addresses::{Addresses, ServiceAddress};
pub use clock::Clock;
pub use disk::{Disk, File, OpenMode};
pub use entropy::Entropy;
pub use future::BoxFuture;
pub use net::Net;

/// Everything a component may touch outside its own memory.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Connections.
    pub net: Arc<dyn Net>,
}
