//! The metadata server's front: NFSv4.1 and 4.2 over sessions, layouts, I/O in band, and the
//! control of data servers.
//!
//! A request passes through RPC record, session slot, compound loop, row of the operation table and
//! the file of its operation; from there a command or a view of the shard. Nothing that must
//! outlive it is decided here: names, opens, locks and layouts are in the shard.
//!
//! Spec: RFC 8881; RFC 7862; RFC 8435.

#![forbid(unsafe_code)]

mod access_time;
mod addresses;
mod admin;
mod adopt;
mod answer_room;
mod attr;
mod balance;
mod callback;
mod client_end;
mod cluster_exports;
mod compound;
mod content;
mod context;
mod control_service;
mod copies;
mod courtesy;
mod data_servers;
mod drain;
mod driver;
mod exclusions;
pub mod export;
mod export_fence;
mod export_paths;
mod export_tree;
mod flexfile;
mod front;
mod give_way;
pub mod handle;
mod handle_keys;
mod holders;
pub mod limits;
mod marks;
mod metrics;
mod name;
mod op;
mod op_table;
mod opening;
mod pauses;
mod probe;
mod progress;
mod prove;
mod reaper;
mod recall;
mod recall_any;
mod repair;
pub mod report;
mod revocation;
mod revoked;
mod room;
mod room_watch;
mod seal;
pub mod server;
mod service;
mod shard_thread;
mod shards;
mod size;
mod slow;
mod stateid;
mod status;
mod stripes;
mod work;
mod work_table;

pub use addresses::ServiceAddresses;
pub use driver::{MdsConfig, MetadataServer, StartError};
