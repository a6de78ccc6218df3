//! The further metadata replicas of `shoal serve --replicas 3`: shards without a front, in the same
//! process.
//!
//! Only the first replica serves clients here, so it should lead: the others are slow to stand for
//! election, and one that leads all the same is started again, which makes the first one win.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use mds_raft::{EngineStopped, NodeConfig, Shard};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use wire_nfs::control::Keyring;

use crate::args::DiskPreference;
use crate::{machine, output};

/// Heartbeat interval of replicas that should follow: ten times that of the one that should lead.
const FOLLOWER_HEARTBEAT_MS: u64 = 1_000;
/// Cache of a follower, which serves no reads.
const CACHE_BYTES: usize = 8 << 20;
/// How often it is looked who leads.
const LOOK_MS: u64 = 500;
/// A replica that does not start is tried again after twice as long each time, up to this.
const RETRY_MS_MAX: u64 = 60_000;

struct Replica {
    env: env::Env,
    dir: PathBuf,
    config: NodeConfig,
    /// None while it is being started again.
    shard: Option<Shard>,
    retry: Retry,
}

/// When a replica that does not start is tried again.
#[derive(Default)]
struct Retry {
    not_before_ms: u64,
    pause_ms: u64,
}

impl Retry {
    fn is_due(&self, now_ms: u64) -> bool {
        self.not_before_ms <= now_ms
    }

    /// It did not start.
    fn failed(&mut self, now_ms: u64) {
        self.pause_ms = (self.pause_ms * 2).clamp(LOOK_MS, RETRY_MS_MAX);
        self.not_before_ms = now_ms + self.pause_ms;
    }
}

/// Replicas 2 and up.
pub(crate) struct Replicas {
    all: Arc<Mutex<Vec<Replica>>>,
    keeper: Option<JoinHandle<Option<EngineStopped>>>,
}

impl Replicas {
    /// Starts all members but the first. `dir` is the folder above their own.
    ///
    /// # Errors
    /// If one cannot be opened.
    pub(crate) async fn start(
        dir: &Path,
        members: &[(u64, String)],
        keys: &Keyring,
        disk: DiskPreference,
    ) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for (id, _) in members.iter().skip(1) {
            let env = machine::metadata_environment(&format!("mds-{id}"), disk)?;
            let config = NodeConfig {
                id: *id,
                members: members.to_vec(),
                cluster_keys: keys.clone(),
                heartbeat_ms: FOLLOWER_HEARTBEAT_MS,
                cache_bytes: CACHE_BYTES,
                ..NodeConfig::single([0; 16])
            };
            let dir = dir.join(id.to_string());
            let shard = open(&env, &dir, &config).await?;
            all.push(Replica { env, dir, config, shard: Some(shard), retry: Retry::default() });
        }
        let all = Arc::new(Mutex::new(all));
        let keeper = (1 < members.len()).then(|| tokio::spawn(keep_following(Arc::clone(&all))));
        Ok(Self { all, keeper })
    }

    /// Returns when the engine of a replica has failed.
    pub(crate) async fn failed(&mut self) -> EngineStopped {
        if let Some(keeper) = &mut self.keeper {
            let ended = keeper.await;
            self.keeper = None;
            if let Ok(Some(stopped)) = ended {
                return stopped;
            }
        }
        std::future::pending().await
    }

    /// Stops them; what they hold is durable.
    pub(crate) async fn stop(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
        for shard in self.all.lock().await.iter().filter_map(|replica| replica.shard.as_ref()) {
            shard.stop().await;
        }
    }
}

async fn open(env: &env::Env, dir: &Path, config: &NodeConfig) -> anyhow::Result<Shard> {
    Shard::start(env.clone(), dir, config.clone())
        .await
        .with_context(|| format!("metadata replica {} in {}", config.id, dir.display()))
}

/// Starts a replica again that leads: the first one is up to date then, and quicker to be elected.
/// Ends when the engine of one has stopped.
async fn keep_following(all: Arc<Mutex<Vec<Replica>>>) -> Option<EngineStopped> {
    loop {
        let mut replicas = all.lock().await;
        let clock = replicas.first().map(|replica| Arc::clone(&replica.env.clock))?;
        let shards = replicas.iter().filter_map(|replica| replica.shard.as_ref());
        if let Some(stopped) = shards.filter_map(|shard| shard.node()?.failure()).next() {
            return Some(stopped);
        }
        for replica in replicas.iter_mut() {
            replica.follow().await;
        }
        drop(replicas);
        clock.sleep_ms(LOOK_MS).await;
    }
}

impl Replica {
    /// Stops it if it leads, and starts it if it was stopped.
    async fn follow(&mut self) {
        if let Some(leading) = self.shard.take_if(|shard| shard.is_leader()) {
            tracing::info!(replica = self.config.id, "leads, but has no front: giving way to the first");
            leading.stop().await;
            // Its store is open until the last who has it lets go.
            drop(leading);
        }
        let now_ms = self.env.clock.monotonic_ms();
        if self.shard.is_some() || !self.retry.is_due(now_ms) {
            return;
        }
        match open(&self.env, &self.dir, &self.config).await {
            Ok(shard) => {
                self.shard = Some(shard);
                self.retry = Retry::default();
            }
            Err(error) => {
                self.retry.failed(now_ms);
                let (why, pause_ms) = (output::reasons(&error), self.retry.pause_ms);
                tracing::warn!("{why}; it is tried again in {pause_ms} ms");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_does_not_start_is_tried_less_and_less_often() {
        let (mut retry, mut now_ms, mut pauses_ms) = (Retry::default(), 1_000, Vec::new());
        for _ in 0..9 {
            assert!(retry.is_due(now_ms));
            retry.failed(now_ms);
            assert!(!retry.is_due(now_ms + retry.pause_ms - 1));
            now_ms += retry.pause_ms;
            pauses_ms.push(retry.pause_ms);
        }
        assert_eq!(pauses_ms, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }
}
