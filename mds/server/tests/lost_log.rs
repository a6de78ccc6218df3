//! A single metadata server that loses its log does not start as a new one, however young the
//! cluster is.
//!
//! Spec: docs/formats/raft_log.md.

#![allow(missing_docs, reason = "a test binary")]
#![allow(dead_code, reason = "the rig serves other tests, too")]

mod rig;

use std::path::Path;

use mds_server::{MdsConfig, MetadataServer};
use prometheus_client::registry::Registry;
use rig::Rig;

/// Copies the state after a crash that lost the log's own disk.
fn copy_without_log(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("it is there").flatten() {
        let (name, to) = (entry.file_name(), to.join(entry.file_name()));
        match entry.file_type().expect("its type").is_dir() {
            true if name != "log" => copy_without_log(&entry.path(), &to),
            true => {}
            false => drop(std::fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

#[tokio::test]
async fn a_cluster_of_a_second_is_not_created_again() {
    let rig = Rig::start().await;
    let copy = rig.directory.path().join("copy");
    copy_without_log(&rig.directory.path().join("mds"), &copy);
    let config = MdsConfig { dir: copy, ..rig.config() };
    let started = MetadataServer::start(rig.env.clone(), config, &mut Registry::default()).await;
    let refused = started.err().expect("it refuses").to_string();
    assert!(refused.contains("log is gone"), "{refused}");
}
