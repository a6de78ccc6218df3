//! Durable proposals on one node: all to one shard, and spread over 64, with 64 proposers; and
//! their flushes. The shards share one log, so spreading should not need more flushes.
//!
//! The argument is the directory to use; the default is a temporary directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::Env;
use env::memory::net::MemoryNet;
use env::os::{OsClock, OsEntropy, Preference, open_disk};
use mds_namespace::{Caller, Kind, ROOT_INO, SetAttributes};
use mds_raft::{Node, NodeConfig};
use mds_state::command::data::Format;
use mds_state::command::namespace::Create;
use mds_state::command::{Command, Outcome};

const SHARDS: usize = 64;
const PROPOSERS: usize = 64;
const SECONDS_EACH: u64 = 5;

fn main() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let argument = std::env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    let dir = argument.map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    // As in a metadata server: one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for round in 0..3 {
            for shards in [1, SHARDS] {
                measure(&dir.join(format!("{round}-{shards}")), shards).await;
            }
        }
    });
}

fn env() -> Env {
    let (disk, _) = open_disk("bench", Preference::default()).expect("a disk");
    Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(OsEntropy::new()),
        disk,
        net: Arc::new(MemoryNet::new()),
    }
}

async fn measure(dir: &Path, shards: usize) {
    let env = env();
    let config = NodeConfig { shards, ..NodeConfig::single([1; 16]) };
    let node = Node::start(env.clone(), dir, config).await.expect("starts");
    for shard in node.shards() {
        shard.propose(None, format()).await.expect("formats");
    }
    let next = Arc::new(AtomicU64::new(0));
    let flushes = node.status().log_flushes;
    let end = env.clock.monotonic_ns() + SECONDS_EACH * 1_000_000_000;
    let proposers = (0..PROPOSERS).map(|at| {
        let (env, next) = (env.clone(), Arc::clone(&next));
        let shard = node.shard(at % shards).expect("there").clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            while env.clock.monotonic_ns() < end {
                let name = format!("{}", next.fetch_add(1, Ordering::Relaxed));
                let began = env.clock.monotonic_ns();
                let outcome = shard.propose(None, create(name)).await;
                times.push(env.clock.monotonic_ns() - began);
                assert!(matches!(outcome, Ok(Outcome::Entry(_))), "{outcome:?}");
            }
            times
        })
    });
    let mut times = Vec::new();
    for proposer in proposers.collect::<Vec<_>>() {
        times.extend(proposer.await.expect("a proposer"));
    }
    let flushes = node.status().log_flushes - flushes;
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1000] / 1000;
    println!(
        "{shards:3} shards, {PROPOSERS} proposers: {}/s, p50 {} us, p99 {} us, {:.4} flushes for each",
        times.len() as u64 / SECONDS_EACH,
        at(500),
        at(990),
        flushes as f64 / times.len() as f64
    );
    node.stop().await;
}

fn format() -> Command {
    Command::Format(Format {
        file_system: [1; 16],
        handle_key: [2; 32],
        cookie_key: [3; 32],
        root_uid: 0,
        root_gid: 0,
        root_mode: 0o755,
    })
}

fn create(name: String) -> Command {
    Command::Create(Create {
        caller: Caller::default(),
        directory: ROOT_INO,
        name: name.into_bytes(),
        kind: Kind::Fifo,
        symlink_target: Vec::new(),
        attributes: SetAttributes { mode: Some(0o644), ..SetAttributes::default() },
    })
}
