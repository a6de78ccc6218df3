//! The table of targets: everything in Shoal that takes bytes from a wire or a disk.
//!
//! A target is a function over bytes that says how many messages or values it found valid in them.
//! It panics if what it drives breaks a promise; it answers garbage with 0. The fuzzer, the
//! regression test and the seeds all go through this table.

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
mod log_entry;
mod mds_handle;
mod namespace_values;
mod nfs3;
mod nfs4_callback;
mod nfs4_reply;
mod nfs4_request;
mod row;
mod rpc_record;
mod session;
mod shard_commands;
mod shard_records;
mod wal_open;
mod whole_client;
mod whole_seeds;
mod whole_server;

pub use row::{MemoryBound, Shape, Target};

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
