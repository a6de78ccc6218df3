//! The table of targets: everything in Shoal that takes bytes from a wire or a disk.
//!
//! A target is a function over bytes that says how many messages or values it found valid in them. It panics if what it
//! drives breaks a promise; it answers garbage with 0. The fuzzer, the regression test and the seeds all go through this
//! table.

use crate::allocation::Peak;

mod attributes;
mod control;
mod control_gate;
mod ds_handle;
mod flexfiles;
mod forged_image;
mod forged_log;
mod group_records;
mod image_open;
mod journal_open;
mod mds_handle;
mod namespace_values;
mod nfs3;
mod nfs4_callback;
mod nfs4_reply;
mod nfs4_request;
mod rpc_record;
mod session;
mod shard_commands;
mod shard_records;
mod wal_open;
mod whole_client;
mod whole_seeds;
mod whole_server;

/// What a target may allocate, as a function of its input's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// A single allocation has at most so many bytes for each byte of input,
    pub single_bytes_per_byte: usize,
    /// and so many more.
    pub single_bytes: usize,
    /// All together have at most so many bytes for each byte of input,
    pub live_bytes_per_byte: usize,
    /// and so many more.
    pub live_bytes: usize,
}

impl MemoryBound {
    /// What a decoder may allocate unless its row says otherwise: a list reserves at most
    /// [`wire_xdr::LIST_RESERVE_MAX`] elements before it has read them, and a value in memory is not much larger than on the
    /// wire.
    pub const DECODER: Self = Self {
        single_bytes_per_byte: 16,
        single_bytes: 64 * 1024,
        live_bytes_per_byte: 32,
        live_bytes: 128 * 1024,
    };

    /// The bound for an input of this length.
    #[must_use]
    pub const fn of(&self, input_bytes: usize) -> Peak {
        Peak {
            single_bytes: self.single_bytes_per_byte * input_bytes + self.single_bytes,
            live_bytes: self.live_bytes_per_byte * input_bytes + self.live_bytes,
        }
    }
}

/// What inputs look like, so that mutations fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Words of four bytes, as XDR has them.
    Words,
    /// Bytes.
    Bytes,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// On the command line, and as a folder of `regression/`.
    pub name: &'static str,
    /// What it drives.
    pub about: &'static str,
    /// Drives it; says how many messages or values were valid.
    pub run: fn(&[u8]) -> usize,
    /// Inputs in which something is valid.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What inputs look like.
    pub shape: Shape,
    /// What a run may allocate.
    pub bound: MemoryBound,
    /// Longest input worth trying.
    pub input_bytes_max: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    rpc_record::TARGET,
    nfs3::TARGET,
    nfs4_request::TARGET,
    nfs4_reply::TARGET,
    nfs4_callback::TARGET,
    attributes::TARGET,
    flexfiles::TARGET,
    control::TARGET,
    control_gate::TARGET,
    ds_handle::TARGET,
    mds_handle::TARGET,
    namespace_values::TARGET,
    shard_records::TARGET,
    shard_commands::TARGET,
    session::TARGET,
    wal_open::TARGET,
    journal_open::TARGET,
    image_open::TARGET,
    group_records::TARGET,
    whole_server::TARGET,
];

/// The target with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
