//! CREATEs per second of one replica on a real disk, and the time of the disk's own flush.
//!
//! Prints proposals per second and latencies at 1, 16 and 64 concurrent proposers, without an
//! origin and in a session, where outcomes are recorded. The argument is the directory to use; the
//! default is a temporary directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use env::memory::net::MemoryNet;
use env::os::{OsClock, OsEntropy, Preference, open_disk};
use env::{Env, OpenMode};
use mds_namespace::{Caller, Kind, ROOT_INO, SetAttributes};
use mds_raft::{NodeConfig, Shard};
use mds_state::Origin;
use mds_state::command::client::ExchangeId;
use mds_state::command::data::Format;
use mds_state::command::namespace::Create;
use mds_state::command::session::CreateSession;
use mds_state::command::{Command, Outcome};
use wire_session::server::record::{ChannelBounds, SessionRecord, session_id};

const FLUSHES: usize = 400;
const SECONDS_EACH: u64 = 3;

fn main() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let argument = std::env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    let dir = argument.map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    // Dropping a runtime loses what the death of a process loses.
    for first in [true, false] {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let env = env();
        runtime.block_on(async { if first { fill(&env, &dir).await } else { restart(&env, &dir).await } });
        runtime.shutdown_timeout(std::time::Duration::from_secs(10));
    }
}

fn env() -> Env {
    let (disk, back_end) = open_disk("bench", Preference::default()).expect("a disk");
    println!("disk back end {back_end:?}");
    Env {
        clock: Arc::new(OsClock::new()),
        entropy: Arc::new(OsEntropy::new()),
        disk,
        net: Arc::new(MemoryNet::new()),
    }
}

async fn start(env: &Env, dir: &Path) -> Shard {
    let config = NodeConfig::single([1; 16]);
    Shard::start(env.clone(), &dir.join("shard"), config).await.expect("starts")
}

/// Starts again after a death without a stop.
async fn restart(env: &Env, dir: &Path) {
    let began = env.clock.monotonic_ms();
    let shard = start(env, dir).await;
    let status = shard.status();
    println!(
        "restart: {} ms for {} entries behind the last checkpoint, store of {} MiB",
        env.clock.monotonic_ms() - began,
        status.applied_index - status.cut_index,
        status.store_bytes >> 20
    );
    shard.stop().await;
}

async fn fill(env: &Env, dir: &Path) {
    println!("directory {}", dir.display());
    flushes(env, dir).await;
    let shard = start(env, dir).await;
    let format = Command::Format(Format {
        file_system: [1; 16],
        handle_key: [2; 32],
        cookie_key: [3; 32],
        root_uid: 0,
        root_gid: 0,
        root_mode: 0o755,
    });
    shard.propose(None, format).await.expect("formats");
    let session = session(&shard).await;
    let sequence = Arc::new(AtomicU32::new(1));
    for proposers in [1, 16, 64] {
        measure(env, &shard, proposers, None).await;
        measure(env, &shard, proposers, Some((session, Arc::clone(&sequence)))).await;
    }
}

/// A session with a slot for each proposer.
async fn session(shard: &Shard) -> [u8; 16] {
    let principal = b"bench".to_vec();
    let exchange = ExchangeId {
        owner: b"bench".to_vec(),
        verifier: [1; 8],
        principal: principal.clone(),
        update: false,
        implementation: String::new(),
    };
    let known = shard.propose(None, Command::ExchangeId(exchange)).await;
    let Ok(Outcome::Client(client)) = known else { panic!("{known:?}") };
    let bounds = ChannelBounds {
        request_bytes_max: 1 << 20,
        response_bytes_max: 1 << 20,
        response_cached_bytes_max: 4096,
        operations_max: 8,
        requests_max: 64,
    };
    let record = SessionRecord {
        id: session_id(client.client, client.sequence, 1),
        client: client.client,
        sequence: client.sequence,
        minor_version: 2,
        fore: bounds,
        back: ChannelBounds { requests_max: 1, ..bounds },
        back_wanted: false,
        program: 0,
        credential: None,
    };
    let id = record.id;
    let made = shard.propose(None, Command::CreateSession(CreateSession { record, principal })).await;
    assert!(matches!(made, Ok(Outcome::SessionCreated(_))), "{made:?}");
    id
}

/// Overwrites a block in place and flushes it, again and again.
async fn flushes(env: &Env, dir: &Path) {
    let file = env.disk.open(&dir.join("flush.bench"), OpenMode::CREATE).await.expect("a file");
    env::disk::zero_fill(&*file, 0, 1 << 20).await.expect("room");
    file.sync_data().await.expect("a flush");
    let mut times = Vec::with_capacity(FLUSHES);
    for at in 0..FLUSHES as u64 {
        let began = env.clock.monotonic_ns();
        let block = Bytes::from_static(&[7; 4096]);
        file.write_at_and_sync(vec![block], at % 256 * 4096).await.expect("a flush");
        times.push(env.clock.monotonic_ns() - began);
    }
    report("disk: 4 KiB write + flush", &mut times, 0);
}

async fn measure(env: &Env, shard: &Shard, proposers: usize, session: Option<([u8; 16], Arc<AtomicU32>)>) {
    let how = if session.is_some() { "in a session" } else { "without origin" };
    let next = Arc::new(AtomicU64::new(0));
    let flushes = shard.status().log_flushes;
    let end = env.clock.monotonic_ns() + SECONDS_EACH * 1_000_000_000;
    let tasks: Vec<_> = (0..proposers)
        .map(|proposer| {
            let (env, shard, next, session) =
                (env.clone(), shard.clone(), Arc::clone(&next), session.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while env.clock.monotonic_ns() < end {
                    let name =
                        format!("{proposers}-{proposer}-{how}-{}", next.fetch_add(1, Ordering::Relaxed));
                    let origin = session.as_ref().map(|(session, sequence)| Origin {
                        session: *session,
                        slot: u32::try_from(proposer).expect("few"),
                        sequence: sequence.fetch_add(1, Ordering::Relaxed),
                        operation: 1,
                        request: 0,
                        tenure: 1,
                    });
                    let began = env.clock.monotonic_ns();
                    let outcome = shard.propose(origin, create(name)).await;
                    times.push(env.clock.monotonic_ns() - began);
                    assert!(matches!(outcome, Ok(Outcome::Entry(_))), "{outcome:?}");
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a proposer"));
    }
    let flushes = shard.status().log_flushes - flushes;
    report(&format!("create {how}, {proposers} proposers"), &mut times, flushes);
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

fn report(what: &str, times: &mut [u64], flushes: u64) {
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1000] / 1000;
    let rate = if flushes == 0 { 0 } else { times.len() as u64 / SECONDS_EACH };
    println!(
        "{what}: {rate}/s, p50 {} us, p99 {} us, max {} us, {flushes} flushes for {}",
        at(500),
        at(990),
        at(1000),
        times.len()
    );
}
