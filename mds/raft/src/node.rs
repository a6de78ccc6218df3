//! A node: replicas of all shards on one log, one listener and one set of connections to the other
//! nodes.
//!
//! Clones are the same node. `stop` stops it; dropping every clone, and every shard, without `stop`
//! is a crash, and loses nothing that was acknowledged.

mod bootstrap;
mod clocks;
mod drive;
pub(crate) mod failure;
mod hand_over;
mod join;
mod log_loss;
mod readmit;
mod upkeep;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use env::Env;
use env_transport::Server;
use futures_util::{StreamExt, TryStreamExt, stream};
use mds_namespace::MetaStore;
use mds_namespace::store::disk::DiskStore;
use mds_state::StateView;
use tokio::sync::{Notify, watch};

use self::failure::Failure;
use crate::clocks::Witness;
use crate::config::NodeConfig;
use crate::engine::identity::{self, load_or_make};
use crate::engine::log_store::SharedLog;
use crate::engine::network;
use crate::engine::service::{Member, RaftService};
use crate::engine::succession;
use crate::handles::{Node, NodeInner, Shard};
use crate::host::Host;
use crate::limits::{MEMBERS_MAX, SHARDS_MAX, STORE_CACHE_BYTES_MIN, STORES_AT_ONCE, WATCH_MS};
use crate::start_error::StartError;

pub use failure::EngineStopped;
pub use readmit::{Readmission, ReadmitError};

/// A node's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Shards of the cluster.
    pub shards: u64,
    /// Shards that this node leads.
    pub led: u64,
    /// Those of them that hibernate.
    pub hibernating: u64,
    /// Shards in which this node votes; of the others it has replicas too.
    pub voted: u64,
    /// Shards without a known leader.
    pub leaderless: u64,
    /// The cluster knows this node. A node with a new directory takes no part until the cluster has
    /// admitted it.
    pub takes_part: bool,
    /// Syncs of the log with the device so far.
    pub log_flushes: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Heartbeats between this node and the others, sent and received, so far.
    pub beats: u64,
    /// Calls to other nodes so far, heartbeats too.
    pub calls: u64,
}

/// The directory of a shard's replica: shard 0 has the node's own.
fn shard_dir(dir: &Path, shard: usize) -> PathBuf {
    if shard == 0 { dir.to_path_buf() } else { dir.join(format!("shard-{shard:04}")) }
}

impl Node {
    /// Opens or makes the replicas in `dir`, and joins the other nodes. Returns when everything
    /// that was acknowledged before is applied (one member), or when the replicas take part
    /// (several).
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(env: Env, dir: &Path, mut config: NodeConfig) -> Result<Self, StartError> {
        check(&config)?;
        // Before this start makes anything for shards that the store's cluster does not have.
        let first = open_store(&env, dir, 0, &config).await?;
        if !config.join.is_empty() && config.shards == 0 && !is_made(&*first)? {
            config.shards = join::shards_of(&env, &config).await;
        }
        config.shards = settle_shards(&*first, &config)?;
        let others = stream::iter(1..config.shards).map(|shard| {
            let (env, dir, config) = (env.clone(), dir.to_owned(), config.clone());
            async move { open_store(&env, &dir, shard, &config).await }
        });
        let mut stores = vec![first];
        stores.extend(others.buffered(STORES_AT_ONCE).try_collect::<Vec<_>>().await?);
        assert!(stores.len() == config.shards, "each shard has its store");
        Self::start_on(env, stores, dir, config).await
    }

    /// As [`start`](Self::start), on stores that the caller opened, one for each shard: for
    /// simulations.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_on(
        env: Env,
        stores: Vec<Arc<dyn MetaStore>>,
        dir: &Path,
        mut config: NodeConfig,
    ) -> Result<Self, StartError> {
        check(&config)?;
        let first = stores.first().ok_or(StartError::Config("one store for each shard"))?;
        config.shards = settle_shards(&**first, &config)?;
        if stores.len() != config.shards {
            return Err(StartError::Config("one store for each shard"));
        }
        env.disk.create_dir_all(dir).await?;
        let (disk, clock) = (Arc::clone(&env.disk), Arc::clone(&env.clock));
        let (log_dir, segment_bytes) = (identity::log_dir(dir), config.log_segment_bytes);
        let (store_id, shards, alone) = (config.store_id, config.shards, config.is_alone());
        let log = SharedLog::open(disk, clock, &log_dir, store_id, segment_bytes, shards, alone).await;
        let log = log.map_err(|error| StartError::Log(error.to_string()))?;
        // A node alone keeps its identity after it loses its disk: it promised nothing to other
        // nodes.
        if alone && identity::exists(&*env.disk, dir).await? {
            return Err(StartError::Config(
                "the members are missing: this directory is of one of several metadata servers",
            ));
        }
        if alone {
            log_loss::check_logs(&log, &log_dir, &stores, config.accept_log_loss)?;
        }
        let id = match alone {
            true => config.id,
            false => load_or_make(&*env.disk, &*env.entropy, dir, config.id, log.is_blank()).await?,
        };
        let host = Arc::new(Host::new(env, config, id, log));
        let mut shards = Vec::with_capacity(stores.len());
        for (number, store) in stores.into_iter().enumerate() {
            shards.push(Shard::open(Arc::clone(&host), number, store).await?);
        }
        assert!(shards.len() == host.config.shards, "each shard has its replica");
        let is_in_order = shards.iter().zip(0..).all(|(shard, at)| shard.number() == at);
        assert!(is_in_order, "shards are in the order of their numbers");
        let server = listen(&host, dir, &shards).await?;
        let (stopped, failure) = (watch::Sender::new(false), Failure::default());
        let node = Self { inner: Arc::new(NodeInner { host, shards, server, stopped, failure }) };
        node.start_replicas().await?;
        Ok(node)
    }

    /// Starts the replicas and the tasks that drive them.
    async fn start_replicas(&self) -> Result<(), StartError> {
        let NodeInner { host, shards, stopped, .. } = &*self.inner;
        let is_alone = host.config.is_alone();
        if is_alone {
            let all = stream::iter(shards.clone()).map(|shard| {
                let host = Arc::clone(host);
                async move { bootstrap::begin_alone(&host, &shard).await }
            });
            all.buffered(STORES_AT_ONCE).try_collect::<()>().await?;
        } else {
            if !host.config.join.is_empty() {
                tokio::spawn(join::join_cluster(Arc::downgrade(&self.inner), stopped.subscribe()));
            }
            tokio::spawn(drive::first_clock(Arc::downgrade(&self.inner), stopped.subscribe()));
            tokio::spawn(bootstrap::begin_shards(Arc::downgrade(&self.inner), stopped.subscribe()));
            tokio::spawn(readmit::reconcile(Arc::downgrade(&self.inner), stopped.subscribe()));
        }
        tokio::spawn(clocks::drive_clocks(Arc::downgrade(&self.inner), stopped.subscribe()));
        if 1 < shards.len() {
            tokio::spawn(drive::liveness(Arc::downgrade(&self.inner), stopped.subscribe()));
        }
        let all = stream::iter(shards.clone()).map(|shard| async move { shard.recover().await });
        all.buffered(STORES_AT_ONCE).try_collect::<()>().await?;
        tokio::spawn(upkeep::checkpoints(Arc::downgrade(&self.inner), stopped.subscribe()));
        self.report_callers();
        if !is_alone && 1 < shards.len() {
            tokio::spawn(hand_over::spread(Arc::downgrade(&self.inner), stopped.subscribe()));
        }
        Ok(())
    }

    /// Starts to report callers to the other members, as soon as there are some.
    fn report_callers(&self) {
        let NodeInner { host, stopped, .. } = &*self.inner;
        for (_, address) in host.config.members.iter().filter(|(id, _)| *id != host.config.id) {
            let Ok(address) = address.parse::<SocketAddr>() else { continue };
            let reporting =
                Arc::clone(&host.callers).report_to(host.env.clone(), Arc::clone(&host.links), address);
            let (mut stopped, node) = (stopped.subscribe(), Arc::downgrade(&self.inner));
            let clock = Arc::clone(&host.env.clock);
            tokio::spawn(async move {
                let gone = async {
                    while 0 < node.strong_count() {
                        clock.sleep_ms(WATCH_MS).await;
                    }
                };
                tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                    () = reporting => {}
                    () = gone => {}
                }
            });
        }
    }

    /// The nodes of the cluster and their addresses, as far as this node knows.
    #[must_use]
    pub fn members(&self) -> Vec<(u64, String)> {
        self.inner.host.nodes.all().to_vec()
    }

    /// Whether another node has answered lately. A node that does not lead shard 0 may not know.
    #[must_use]
    pub fn is_up(&self, number: u64) -> bool {
        let NodeInner { host, shards, .. } = &*self.inner;
        number == host.config.id || shards[0].is_there(number)
    }

    /// How far clocks are ahead of the time that counts, nanoseconds: this node's first, then those
    /// with a recent reading.
    #[must_use]
    pub fn clocks_off_ns(&self) -> Vec<(Witness, i64)> {
        self.inner.host.clocks_off_ns()
    }

    /// Records another clock's reading of a moment ago.
    pub fn hear_clock(&self, witness: Witness, wall_unix_ns: u64) {
        self.inner.host.record_clock(witness, None, wall_unix_ns);
    }

    /// The replica of a shard.
    #[must_use]
    pub fn shard(&self, number: usize) -> Option<&Shard> {
        self.inner.shards.get(number)
    }

    /// All replicas, by their shards' numbers.
    #[must_use]
    pub fn shards(&self) -> &[Shard] {
        &self.inner.shards
    }

    /// The node's state.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let NodeInner { host, shards, .. } = &*self.inner;
        let hibernating = host.hibernating();
        let led = shards.iter().filter(|shard| shard.is_leader()).count() as u64;
        let leaderless = shards.iter().filter(|shard| shard.leader().is_none()).count() as u64;
        assert!(led <= shards.len() as u64, "a node leads its own replicas");
        assert!(hibernating < shards.len(), "shard 0 does not hibernate");
        let votes = |shard: &&Shard| shard.status().voters.contains(&host.config.id);
        NodeStatus {
            shards: shards.len() as u64,
            led,
            voted: shards.iter().filter(votes).count() as u64,
            hibernating: hibernating as u64,
            leaderless,
            takes_part: shards[0].has_this_node(),
            log_flushes: host.log.flushes(),
            log_bytes: host.log.disk_bytes(),
            beats: host.beats(),
            calls: host.links.calls(),
        }
    }

    /// The first engine that stopped without a request, if one has: the caller must stop the node
    /// and end its process.
    #[must_use]
    pub fn failure(&self) -> Option<EngineStopped> {
        self.inner.failure.first()
    }

    /// Returns when there is a [`failure`](Self::failure).
    pub async fn failed(&self) -> EngineStopped {
        self.inner.failure.wait_first().await
    }

    /// A handle that reads the node's state without keeping the node.
    #[must_use]
    pub fn watch(&self) -> NodeWatch {
        NodeWatch { inner: Arc::downgrade(&self.inner) }
    }

    /// Stops: hands led shards over, then makes everything durable.
    pub async fn stop(&self) {
        let NodeInner { host, shards, server, stopped, .. } = &*self.inner;
        if stopped.send_replace(true) {
            return;
        }
        hand_over::hand_over_all(host, shards).await;
        if let Some(server) = server {
            server.shutdown().await;
        }
        let halts = stream::iter(shards.clone()).map(|shard| async move { shard.halt().await });
        halts.buffer_unordered(STORES_AT_ONCE).collect::<()>().await;
        if let Err(error) = host.log.close().await {
            tracing::error!(%error, "the log did not close cleanly");
        }
    }
}

async fn open_store(
    env: &Env,
    dir: &Path,
    shard: usize,
    config: &NodeConfig,
) -> Result<Arc<dyn MetaStore>, StartError> {
    let dir = shard_dir(dir, shard);
    env.disk.create_dir_all(&dir).await?;
    assert!(shard == 0 || shard < config.shards, "the cluster has this shard");
    // Shard 0 has the state of the whole cluster; the others share the rest evenly.
    let share = match (config.shards, shard) {
        (0 | 1, _) => config.cache_bytes,
        (_, 0) => config.cache_bytes / 2,
        (shards, _) => (config.cache_bytes / 2 / (shards - 1)).max(STORE_CACHE_BYTES_MIN),
    };
    let path = dir.join("state.redb");
    let opened = tokio::task::spawn_blocking(move || DiskStore::open(&path, share)).await;
    Ok(Arc::new(opened.map_err(std::io::Error::other)??))
}

async fn listen(host: &Arc<Host>, dir: &Path, shards: &[Shard]) -> Result<Option<Server>, StartError> {
    let (env, config) = (&host.env, &host.config);
    if config.is_alone() {
        return Ok(None);
    }
    let own = config.members.iter().find(|(id, _)| *id == config.id);
    let addr = own.and_then(|(_, addr)| addr.parse().ok()).ok_or(StartError::Config("own address"))?;
    let mut members = Vec::with_capacity(shards.len());
    for (number, shard) in shards.iter().enumerate() {
        let dir = shard_dir(dir, number);
        env.disk.create_dir_all(&dir).await?;
        members.push(Member::new(shard.clone(), env.clone(), dir.join("snapshot.part")));
    }
    assert!(members.len() == config.shards, "each shard answers calls");
    let ended = Arc::new(Notify::new());
    let rafts = shards.iter().map(Shard::raft).collect();
    let (of_host, of_rings) = (Arc::downgrade(host), Arc::downgrade(&ended));
    let nodes = Arc::clone(&host.nodes);
    tokio::spawn(succession::watch(env.clone(), config.id, nodes, of_host, rafts, of_rings));
    let service =
        RaftService::new(env.clone(), config.cluster_keys.clone(), Arc::clone(host), members, ended);
    let (net, clock) = (Arc::clone(&env.net), Arc::clone(&env.clock));
    Ok(Some(env_transport::serve(net, clock, addr, Arc::new(service), network::port_limits()).await?))
}

fn check(config: &NodeConfig) -> Result<(), StartError> {
    if config.members.is_empty() || MEMBERS_MAX < config.members.len() {
        return Err(StartError::Config("number of members"));
    }
    if !config.members.iter().any(|(id, _)| *id == config.id) {
        return Err(StartError::Config("this node is no member"));
    }
    if config.members.iter().any(|(number, _)| !(1..=identity::NUMBER_MAX).contains(number)) {
        return Err(StartError::Config("number of a member"));
    }
    if config.heartbeat_ms == 0 || config.checkpoint_ms == 0 {
        return Err(StartError::Config("a time of zero"));
    }
    if SHARDS_MAX < config.shards {
        return Err(StartError::Config("number of shards"));
    }
    Ok(())
}

/// Whether the store belongs to a cluster.
fn is_made(store: &dyn MetaStore) -> Result<bool, StartError> {
    let made = StateView::new(store.view()?).shards().map_err(|error| StartError::Log(error.to_string()))?;
    Ok(made.is_some())
}

/// The number of shards: fixed when a cluster is made.
fn settle_shards(store: &dyn MetaStore, config: &NodeConfig) -> Result<usize, StartError> {
    let made = StateView::new(store.view()?).shards().map_err(|error| StartError::Log(error.to_string()))?;
    let shards = match (made.map(|made| made as usize), config.shards) {
        (Some(made), asked) if asked != 0 && asked != made => return Err(StartError::Shards { made, asked }),
        (Some(made), _) if !(1..=SHARDS_MAX).contains(&made) => {
            return Err(StartError::Config("number of shards"));
        }
        (Some(made), _) => made,
        (None, asked) => asked.max(1),
    };
    assert!((1..=SHARDS_MAX).contains(&shards), "the number of shards was checked");
    Ok(shards)
}

/// Reads a node's state without keeping the node.
#[derive(Clone)]
pub struct NodeWatch {
    inner: Weak<NodeInner>,
}

impl NodeWatch {
    /// The node's state; `None` if the node was dropped.
    #[must_use]
    pub fn status(&self) -> Option<NodeStatus> {
        Some(Node { inner: self.inner.upgrade()? }.status())
    }
}
