//! Shared by the replica tests: environments, the first commands of a file system, and queries of
//! it.

use std::sync::Arc;

use env::memory::net::MemoryNet;
use env::memory::{MemoryDisk, SeededEntropy};
use env::net::Net;
use env::os::OsClock;
use env::{Disk, Env};
use mds_namespace::op::lookup;
use mds_namespace::{Caller, Kind, ROOT_INO, SetAttributes};
use mds_raft::Shard;
use mds_state::command::data::Format;
use mds_state::command::namespace::Create;
use mds_state::command::{Command, Outcome};

/// An environment on a disk.
pub(crate) fn env_on(disk: Arc<dyn Disk>) -> Env {
    env_with(disk, Arc::new(MemoryNet::new()))
}

/// An environment on a disk and a network.
pub(crate) fn env_with(disk: Arc<dyn Disk>, net: Arc<dyn Net>) -> Env {
    Env { clock: Arc::new(OsClock::new()), entropy: Arc::new(SeededEntropy::new(7)), disk, net }
}

/// An environment on a disk in memory.
pub(crate) fn env_in_memory(disk: &MemoryDisk) -> Env {
    env_on(Arc::new(disk.clone()))
}

/// The first entry.
pub(crate) fn format() -> Command {
    Command::Format(Format {
        file_system: [1; 16],
        handle_key: [2; 32],
        cookie_key: [3; 32],
        root_uid: 0,
        root_gid: 0,
        root_mode: 0o755,
    })
}

/// A named pipe: the smallest object there is.
pub(crate) fn create(name: &str) -> Command {
    Command::Create(Create {
        caller: Caller::default(),
        directory: ROOT_INO,
        name: name.as_bytes().to_vec(),
        kind: Kind::Fifo,
        symlink_target: Vec::new(),
        attributes: SetAttributes { mode: Some(0o644), ..SetAttributes::default() },
    })
}

/// Creates objects, many at a time.
pub(crate) async fn create_all(shard: &Shard, names: &[String]) {
    let proposals = names.iter().map(|name| shard.propose(None, create(name)));
    for outcome in futures_util::future::join_all(proposals).await {
        assert!(matches!(outcome, Ok(Outcome::Entry(_))), "{outcome:?}");
    }
}

/// Whether a name exists.
pub(crate) fn has(shard: &Shard, name: &str) -> bool {
    let view = shard.view().unwrap();
    lookup::find(view.namespace(), &Caller::default(), ROOT_INO, name.as_bytes()).unwrap().is_some()
}

/// A runtime that ends all its tasks when it is dropped.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
