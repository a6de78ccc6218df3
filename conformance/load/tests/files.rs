//! A few thousand files through a whole metadata server, over a network in memory: everything is
//! made, found, listed and removed, and what is kept of each file stays small.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use conformance_load::{Act, Load, LoadError, Plan};
use env::Env;
use env::memory::{SeededEntropy, net::MemoryNet};
use env::os::{OsClock, Preference, open_disk};
use mds_server::export::Export;
use mds_server::server::Settings;
use mds_server::{MdsConfig, MetadataServer};
use prometheus_client::registry::Registry;
use wire_nfs::control::ClusterKey;

/// Of the store in file pages, below what the issue of a million files asks for with the log.
const BYTES_PER_INODE_MAX: u64 = 400;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

async fn server(env: &Env, dir: &Path, shards: u32) -> MetadataServer {
    let config = MdsConfig {
        dir: dir.to_owned(),
        listen: address(2049),
        control: address(2050),
        exports: vec![Export::any_port()],
        settings: Settings { shards, ..Settings::default() },
        cluster_keys: ClusterKey::new([3; 32]).into(),
        node: 1,
        members: Vec::new(),
        join: Vec::new(),
        controls: Vec::new(),
        service: None,
    };
    MetadataServer::start(env.clone(), config, &mut Registry::default()).await.expect("the server starts")
}

fn environment() -> Env {
    Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(SeededEntropy::new(7)),
        disk: open_disk("test", Preference::Blocking).expect("threads always start").0,
        net: Arc::new(MemoryNet::new()),
    }
}

fn plan(directories: u64, files: u64) -> Plan {
    Plan { servers: vec![address(2049)], sessions: 32, directories, files, act_ms: None }
}

/// Bytes of pages in use, all stores together: a file may hold more, for later.
fn stored_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut open) = (0, vec![dir.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let metadata = entry.metadata().expect("it is there");
            match (metadata.is_dir(), entry.file_name() == "state.redb") {
                (true, _) => open.push(entry.path()),
                (false, true) => bytes += metadata.blocks() * 512,
                (false, false) => {}
            }
        }
    }
    bytes
}

async fn all_acts(shards: u32, directories: u64, files: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let env = environment();
    let before = server(&env, dir.path(), shards).await;
    let load = Load::begin(env.clone(), plan(directories, files)).await.expect("sessions");
    for (act, done) in [
        (Act::Mkdir, directories),
        (Act::Create, files),
        (Act::Stat, files),
        (Act::List, files),
        (Act::Remove, files),
        (Act::List, 0),
        (Act::Rmdir, directories),
    ] {
        let measured = load.run(act).await.unwrap_or_else(|error| panic!("{}: {error}", act.name()));
        assert_eq!(measured.done, done, "{}", act.name());
        assert!(measured.p50_us <= measured.p99_us && measured.p99_us <= measured.longest_us);
    }
    assert!(matches!(load.run(Act::Stat).await, Err(LoadError::Plan(_))));
    before.stop().await;
}

#[tokio::test]
async fn hundreds_of_files_in_many_directories() {
    all_acts(1, 40, 600).await;
}

#[tokio::test]
async fn hundreds_of_names_in_one_directory() {
    all_acts(1, 1, 600).await;
}

#[tokio::test]
async fn files_over_several_shards() {
    all_acts(4, 12, 200).await;
}

/// What is not as it should be ends a load: names that are taken, entries that it did not make.
#[tokio::test]
async fn wrong_answers_are_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let env = environment();
    let server = server(&env, dir.path(), 1).await;
    let first = Load::begin(env.clone(), plan(2, 50)).await.expect("sessions");
    for act in [Act::Mkdir, Act::Create, Act::List] {
        first.run(act).await.expect("it is done");
    }
    // Its clients have the names of the first load's: they take their places.
    let second = Load::begin(env.clone(), plan(2, 10)).await.expect("sessions");
    second.run(Act::Mkdir).await.expect("they are there");
    let more = second.run(Act::List).await.expect_err("50 entries it did not make");
    assert!(more.to_string().starts_with("50 entries"), "{more}");
    let refused = second.run(Act::Create).await.expect_err("the names are taken");
    assert!(refused.to_string().contains("NFS4ERR_EXIST"), "{refused}");
    server.stop().await;
}

/// Spec: docs/bench.md, the million files.
#[tokio::test]
async fn an_inode_stays_small_on_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let env = environment();
    let running = server(&env, dir.path(), 1).await;
    running.stop().await;
    // It has the store open as long as it is there.
    drop(running);
    let empty = stored_bytes(dir.path());
    let running = server(&env, dir.path(), 1).await;
    let files = 4_000;
    let load = Load::begin(env.clone(), plan(1, files)).await.expect("sessions");
    for act in [Act::Mkdir, Act::Create] {
        load.run(act).await.expect("it is done");
    }
    running.stop().await;
    let each = (stored_bytes(dir.path()) - empty) / files;
    assert!(each <= BYTES_PER_INODE_MAX, "{each} bytes for each file");
}
