//! One replica that dies at any moment: everything that was acknowledged exists afterwards.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::scene::{create, create_all, env_in_memory, env_on, format, has, runtime};
use env::memory::{Crash, MemoryDisk};
use env::os::BlockingDisk;
use mds_namespace::store::mem::MemStore;
use mds_raft::{NodeConfig, Shard};
use mds_state::command::Outcome;

const STORE_ID: [u8; 16] = [9; 16];

fn names(round: usize, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("file-{round}-{at}")).collect()
}

/// The power fails, unsynced bytes are dropped, kept or torn; checkpoints happen at any time
/// between.
#[test]
fn power_cuts_lose_nothing_acknowledged() {
    let disk = MemoryDisk::new();
    let store = Arc::new(MemStore::new());
    let mut all: Vec<String> = Vec::new();
    for round in 0..8 {
        let runtime = runtime();
        let shard = runtime.block_on(async {
            let (env, config) = (env_in_memory(&disk), NodeConfig::single(STORE_ID));
            let shard = Shard::start_on(env, vec![store.clone()], Path::new("/shard"), config).await.unwrap();
            assert_eq!(shard.propose(None, format()).await, Ok(Outcome::Done));
            for name in &all {
                assert!(has(&shard, name), "{name} was acknowledged before round {round}");
            }
            let fresh = names(round, 40);
            create_all(&shard, &fresh[..20]).await;
            if round % 2 == 1 {
                shard.checkpoint().await.unwrap();
            }
            create_all(&shard, &fresh[20..]).await;
            all.extend(fresh);
            // Under way when the power fails: these were not acknowledged.
            let late = shard.clone();
            tokio::spawn(async move { late.propose(None, create("unacknowledged")).await });
            shard
        });
        let crash = match round % 3 {
            0 => Crash::Drop,
            1 => Crash::Keep,
            _ => Crash::Tear { seed: round as u64 },
        };
        disk.crash(crash);
        runtime.shutdown_timeout(Duration::from_secs(10));
        drop(shard);
        store.crash();
    }
}

/// A crash cannot leave a store several checkpoints behind its log, but it can leave it at its last
/// checkpoint: the log must reach back that far, and no further.
#[test]
fn checkpoint_cuts_the_log() {
    let disk = MemoryDisk::new();
    let store = Arc::new(MemStore::new());
    runtime().block_on(async {
        let (env, config) = (env_in_memory(&disk), NodeConfig::single(STORE_ID));
        let shard = Shard::start_on(env, vec![store.clone()], Path::new("/shard"), config).await.unwrap();
        shard.propose(None, format()).await.unwrap();
        create_all(&shard, &names(0, 100)).await;
        let applied = shard.status().applied_index;
        assert!(100 <= applied);
        shard.checkpoint().await.unwrap();
        for _ in 0..10_000 {
            if applied <= shard.status().cut_index {
                return;
            }
            // Lets the checkpoint's tasks run.
            shard.propose(None, format()).await.unwrap();
        }
        panic!("the log was never cut");
    });
}

/// The same on the machine's own disk and the store's own file.
#[test]
fn process_dies_without_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<String> = Vec::new();
    for round in 0..4 {
        let runtime = runtime();
        runtime.block_on(async {
            let env = env_on(Arc::new(BlockingDisk::start("test").unwrap()));
            let shard = Shard::start(env, dir.path(), NodeConfig::single(STORE_ID)).await.unwrap();
            shard.propose(None, format()).await.unwrap();
            for name in &all {
                assert!(has(&shard, name), "{name} was acknowledged before round {round}");
            }
            let fresh = names(round, 60);
            create_all(&shard, &fresh[..30]).await;
            if round == 2 {
                shard.checkpoint().await.unwrap();
            }
            create_all(&shard, &fresh[30..]).await;
            all.extend(fresh);
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

/// After a stop the store is complete and the log need not be replayed; a stopped shard reports
/// that it is.
#[test]
fn stop_and_start_again() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let env = env_on(Arc::new(BlockingDisk::start("test").unwrap()));
        let shard = Shard::start(env.clone(), dir.path(), NodeConfig::single(STORE_ID)).await.unwrap();
        assert!(shard.is_leader());
        shard.read_barrier().await.unwrap();
        shard.propose(None, format()).await.unwrap();
        create_all(&shard, &names(0, 10)).await;
        shard.stop().await;
        let refused = shard.propose(None, create("late")).await;
        assert!(matches!(refused, Err(mds_raft::ProposeError::Stopped(_))), "{refused:?}");
        drop(shard);
        let shard = Shard::start(env, dir.path(), NodeConfig::single(STORE_ID)).await.unwrap();
        assert!(names(0, 10).iter().all(|name| has(&shard, name)));
        assert!(!has(&shard, "late"));
        shard.stop().await;
    });
}

/// A directory of another cluster is refused.
#[test]
fn foreign_directory_is_refused() {
    let disk = MemoryDisk::new();
    runtime().block_on(async {
        let start = |store_id| {
            let (env, store) = (env_in_memory(&disk), Arc::new(MemStore::new()));
            Shard::start_on(env, vec![store], Path::new("/shard"), NodeConfig::single(store_id))
        };
        start(STORE_ID).await.unwrap().stop().await;
        assert!(start([8; 16]).await.is_err());
    });
}

const CHILD_DIR: &str = "SHOAL_TEST_CHILD_DIR";

/// The body of the process that `killed_process_loses_nothing` kills; as a test of its own it does
/// nothing.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    runtime().block_on(async {
        let env = env_on(Arc::new(BlockingDisk::start("test").unwrap()));
        let config = NodeConfig { checkpoint_ms: 50, ..NodeConfig::single(STORE_ID) };
        let shard = Shard::start(env, Path::new(&dir), config).await.unwrap();
        shard.propose(None, format()).await.unwrap();
        let began = shard.status().applied_index;
        for at in 0.. {
            let name = format!("child-{began}-{at}");
            create_all(&shard, std::slice::from_ref(&name)).await;
            // Standard output is a pipe, and is written at the end of the line.
            println!("acknowledged {name}");
        }
    });
}

/// SIGKILL, at random moments: everything the process acknowledged exists when it starts again.
#[test]
fn killed_process_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<String> = Vec::new();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["restart::child_that_is_killed", "--exact", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines
            .map(Result::unwrap)
            .filter_map(|line| line.split_once("acknowledged ").map(|told| told.1.to_owned()));
        let wanted = 30 + round * 37;
        let mut told = told.inspect(|name| all.push(name.clone()));
        assert_eq!(told.by_ref().take(wanted).count(), wanted);
        child.kill().unwrap();
        // Lines that it wrote before it died count as well.
        told.for_each(drop);
        child.wait().unwrap();
    }
    runtime().block_on(async {
        let env = env_on(Arc::new(BlockingDisk::start("test").unwrap()));
        let shard = Shard::start(env, dir.path(), NodeConfig::single(STORE_ID)).await.unwrap();
        for name in &all {
            assert!(has(&shard, name), "{name} was acknowledged");
        }
        shard.stop().await;
    });
}
