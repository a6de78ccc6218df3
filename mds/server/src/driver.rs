//! Starts a metadata server: shard, first format, ports, and the tasks that run beside requests.

mod ending;
mod engine;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use client::DataPath;
use env::Env;
use env::awake::AwakeClock;
use env_transport::{Limits, Traffic, serve};
use mds_namespace::{MetaStore, superblock};
use mds_raft::{NodeConfig, ProposeError, Shard};
use mds_state::command::admin::FixShards;
use mds_state::command::data::Format;
use mds_state::{Command, Outcome};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use wire_nfs::control::Keyring;
use wire_nfs::control::limits::HANDSHAKE_RECORD_BYTES_MAX;
use wire_nfs::control::report::Subject;
use wire_nfs::v4::Verifier;

use crate::addresses::ServiceAddresses;
use crate::addresses::drive;
use crate::addresses::service::Service;
use crate::answer_room::AnswerRoom;
use crate::cluster_exports::{self, ClusterExports, SetError};
use crate::control_service::{ControlService, RECORD_BYTES_MAX};
use crate::data_servers::{DataServers, from_log};
use crate::export::Export;
use crate::front::Front;
use crate::handle::HandleMaker;
use crate::handle_keys::HandleKeyring;
use crate::limits::{
    ANSWER_BYTES_MAX, CONNECTIONS_MAX, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_PER_CONNECTION_MAX, REQUEST_BYTES_MAX,
    START_LEADER_MS_MAX, UNPROVEN_MS_MAX,
};
use crate::metrics::{Metrics, shards};
use crate::report::{self, DataServerLine, ExportLine, NotLeading, Status};
use crate::room::Room;
use crate::server::{Server, Settings};
use crate::service::NfsService;
use crate::shard_thread::ShardThread;
use crate::shards::Shards;
use crate::{
    balance, export_fence, handle_keys, marks, pauses, reaper, repair, room_watch, seal, size, work,
};

/// Configuration of a metadata server.
#[derive(Clone, Debug)]
pub struct MdsConfig {
    /// Directory of its store and log.
    pub dir: PathBuf,
    /// NFS address.
    pub listen: SocketAddr,
    /// Address for data servers.
    pub control: SocketAddr,
    /// The exports of this node's configuration file; empty means everything
    /// (docs/admin/exports.md).
    pub exports: Vec<Export>,
    /// Times and sizes.
    pub settings: Settings,
    /// Keys with which nodes prove themselves to each other.
    pub cluster_keys: Keyring,
    /// Number of this replica.
    pub node: u64,
    /// All replicas; empty means that this replica is the only one.
    pub members: Vec<(u64, String)>,
    /// Addresses of some replicas of a running cluster that this replica joins. `members` then
    /// holds this replica only.
    pub join: Vec<String>,
    /// Known control addresses of replicas: a replica that does not lead refers its callers to the
    /// leader's.
    pub controls: Vec<(u64, String)>,
    /// Addresses that follow the leader, if any. Connections to them are accepted only where NFS
    /// listens at all addresses.
    pub service: Option<ServiceAddresses>,
}

/// Why a metadata server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The shard does not start.
    #[error("metadata store: {0}")]
    Shard(#[from] mds_raft::StartError),
    /// An engine has stopped already.
    #[error(transparent)]
    Engine(#[from] mds_raft::EngineStopped),
    /// No leader was found in time.
    #[error("no metadata replica leads after {} s", START_LEADER_MS_MAX / 1000)]
    NoLeader,
    /// The shard's thread cannot start, or died.
    #[error("metadata thread: {0}")]
    Thread(std::io::Error),
    /// The store cannot be read or written.
    #[error("metadata store: {0}")]
    Store(String),
    /// The configured exports cannot be served.
    #[error("exports: {0}")]
    Exports(String),
    /// The key is for another role.
    #[error("a metadata server needs the whole cluster key, and this one is for {0} only")]
    Key(String),
    /// A port cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        error: std::io::Error,
    },
}

impl From<SetError> for StartError {
    fn from(error: SetError) -> Self {
        Self::Exports(error.to_string())
    }
}

/// A running metadata server.
pub struct MetadataServer {
    pub(crate) server: Arc<Server>,
    nfs: env_transport::Server,
    control: env_transport::Server,
    tasks: Vec<JoinHandle<()>>,
    /// Keys for queries to the leader.
    keys: Keyring,
    /// The shard's thread, if it has one of its own.
    thread: Option<ShardThread>,
}

impl MetadataServer {
    /// Starts: opens or makes the store, waits for a leader, listens.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(env: Env, config: MdsConfig, registry: &mut Registry) -> Result<Self, StartError> {
        let thread = ShardThread::start().map_err(StartError::Thread)?;
        let (own, dir, node) = (env.clone(), config.dir.clone(), node_config(&config)?);
        // Registers into its own registry, until the caller's is handed back.
        let mut own_registry = std::mem::take(registry);
        let started = thread.run_future(async move {
            let served = match Shard::start(own, &dir, node).await {
                Ok(shard) => Self::serve(env, shard, config, &mut own_registry).await,
                Err(error) => Err(error.into()),
            };
            (served, own_registry)
        });
        let (served, filled) = started.await.map_err(StartError::Thread)?;
        *registry = filled;
        let mut server = served?;
        server.thread = Some(thread);
        Ok(server)
    }

    /// As [`start`](Self::start), on stores that the caller opened, one for each shard: for
    /// simulations.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_on(
        env: Env,
        stores: Vec<Arc<dyn MetaStore>>,
        config: MdsConfig,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let shard = Shard::start_on(env.clone(), stores, &config.dir, node_config(&config)?).await?;
        Self::serve(env, shard, config, registry).await
    }

    /// Serves, unless an engine stops first: then startup might wait for ever.
    async fn serve(
        env: Env,
        shard: Shard,
        config: MdsConfig,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let node = shard.node().cloned();
        tokio::select! {
            biased;
            served = Self::serve_on(env, shard, config, registry) => served,
            stopped = engine::failed(node.as_ref()) => Err(stopped.into()),
        }
    }

    async fn serve_on(
        env: Env,
        shard: Shard,
        config: MdsConfig,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        format_once(&env, &shard).await?;
        until_whole(&env, &shard).await?;
        let server = Arc::new(make(env.clone(), shard, &config, registry)?);
        govern(&server).await?;
        until_whole(&env, server.shards.first()).await?;
        let view = server.shards.view_anyway().map_err(|e| StartError::Store(e.to_string()))?;
        from_log::put_known(&server.data_servers, &view, &server.env, &config.cluster_keys)
            .map_err(|e| StartError::Store(e.to_string()))?;
        drop(view);
        cluster_exports::prepare_exports(&server).await?;
        let nfs = listen(
            &server.env,
            config.listen,
            Arc::new(NfsService::new(Arc::clone(&server))),
            (REQUEST_BYTES_MAX, REQUEST_BYTES_MAX),
            Traffic::Metadata,
        )
        .await?;
        let control_service = ControlService::new(Arc::clone(&server), config.cluster_keys.clone());
        let control = listen(
            &server.env,
            config.control,
            Arc::new(control_service),
            (RECORD_BYTES_MAX, HANDSHAKE_RECORD_BYTES_MAX),
            Traffic::Nodes,
        )
        .await?;
        server.set_mounts(nfs.local_addr());
        let tasks = vec![
            tokio::spawn(server.shards.clone().drive_governing()),
            tokio::spawn(server.shards.clone().scan_for_orphaned_state()),
            tokio::spawn(reaper::drive_leases(Arc::clone(&server))),
            tokio::spawn(work::drive(Arc::clone(&server))),
            tokio::spawn(size::settle::drive_settling(Arc::clone(&server))),
            tokio::spawn(repair::drive(Arc::clone(&server), config.cluster_keys.clone())),
            tokio::spawn(marks::drive(Arc::clone(&server))),
            tokio::spawn(seal::sealer::drive_sealing(Arc::clone(&server))),
            tokio::spawn(seal::mend::drive_groups(Arc::clone(&server))),
            tokio::spawn(seal::presence::drive_presence(Arc::clone(&server))),
            tokio::spawn(balance::drive_moves(Arc::clone(&server))),
            tokio::spawn(drive::drive_addresses(Arc::clone(&server))),
            tokio::spawn(cluster_exports::log_differences(Arc::clone(&server))),
            tokio::spawn(export_fence::drive_fences(Arc::clone(&server))),
            tokio::spawn(handle_keys::drive_rotation(Arc::clone(&server))),
            tokio::spawn(pauses::log_pauses(server.env.clock.clone(), Arc::clone(&server.machine_clock))),
            tokio::spawn(room_watch::drive_space(Arc::clone(&server), config.dir.clone())),
        ];
        Ok(Self { server, nfs, control, tasks, keys: config.cluster_keys, thread: None })
    }

    /// The NFS address, with the actual port.
    #[must_use]
    pub fn nfs_address(&self) -> SocketAddr {
        self.nfs.local_addr()
    }

    /// The control address, with the actual port.
    #[must_use]
    pub fn control_address(&self) -> SocketAddr {
        self.control.local_addr()
    }

    /// The node that holds the shards' replicas, if it was started as one.
    #[must_use]
    pub fn node(&self) -> Option<mds_raft::Node> {
        self.server.shards.node().cloned()
    }

    /// The index of the last log entry applied here, by shard.
    #[must_use]
    pub fn applied_indexes(&self) -> Vec<u64> {
        self.server.shards.applied_indexes()
    }

    /// The state, as this metadata server knows it, whether it leads or not.
    #[must_use]
    pub fn status(&self) -> Status {
        report::status(&self.server)
    }

    /// The exports, as this metadata server knows them.
    #[must_use]
    pub fn exports(&self) -> Vec<ExportLine> {
        report::exports(&self.server)
    }

    /// The data servers, as this metadata server knows them.
    #[must_use]
    pub fn data_servers(&self) -> Vec<DataServerLine> {
        report::data_servers(&self.server)
    }

    /// The leader's report, as JSON: this metadata server's own if it leads, else the leader's
    /// reply.
    ///
    /// # Errors
    /// [`NotLeading`], with a text, if the leader cannot be queried.
    pub async fn report(&self, subject: Subject) -> Result<String, NotLeading> {
        report::query_leader(&self.server, &self.keys, subject).await
    }
}

fn node_config(config: &MdsConfig) -> Result<NodeConfig, StartError> {
    let mut node = NodeConfig::single([0; 16]);
    node.id = config.node;
    let held = config.cluster_keys.held();
    if held.active().whole().is_none() {
        return Err(StartError::Key(held.active().role()));
    }
    node.cluster_keys = config.cluster_keys.clone();
    node.shards = config.settings.shards as usize;
    node.hibernate_ms = config.settings.hibernate_ms;
    node.accept_log_loss = config.settings.accept_log_loss;
    if !config.members.is_empty() {
        node.members = config.members.clone();
        node.join = config.join.clone();
    }
    Ok(node)
}

/// Takes all shards if this replica leads the first: nothing is served before. A replica that comes
/// to lead later does so by itself.
async fn govern(server: &Server) -> Result<(), StartError> {
    match server.shards.govern().await {
        Ok(()) | Err(ProposeError::NotLeader { .. } | ProposeError::Unavailable | ProposeError::Timeout) => {
            Ok(())
        }
        Err(error) => Err(StartError::Store(error.to_string())),
    }
}

/// Waits while a snapshot replaces the state, as happens on a node that was away for long.
async fn until_whole(env: &Env, shard: &Shard) -> Result<(), StartError> {
    loop {
        match shard.view() {
            Ok(_) => return Ok(()),
            Err(ProposeError::Unavailable) => env.clock.sleep_ms(20).await,
            Err(error) => return Err(StartError::Store(error.to_string())),
        }
    }
}

/// Waits for a leader; the first leader of a new file system creates its root and keys.
async fn format_once(env: &Env, shard: &Shard) -> Result<(), StartError> {
    let mut deadline_ms = env.clock.monotonic_ms() + START_LEADER_MS_MAX;
    loop {
        if shard.node().is_some_and(|node| !node.status().takes_part) {
            // A new cluster waits for all its members, a new directory in an old cluster for its
            // admission.
            deadline_ms = env.clock.monotonic_ms() + START_LEADER_MS_MAX;
        }
        if matches!(shard.view(), Err(ProposeError::Unavailable)) {
            // Installing a snapshot takes as long as it is large.
            deadline_ms = env.clock.monotonic_ms() + START_LEADER_MS_MAX;
        }
        if env.clock.monotonic_ms() > deadline_ms {
            return Err(StartError::NoLeader);
        }
        let ready = shard.leader().is_some() && shard.read_barrier().await.is_ok();
        // A store of another version is refused here, with a text, before any proposal.
        let formatted = match shard.view() {
            Ok(view) => view.is_formatted().map_err(|error| StartError::Store(error.to_string()))?,
            Err(_) => false,
        };
        if formatted && (ready || shard.leader().is_some()) {
            until_whole(env, shard).await?;
            return check_shards(shard);
        }
        if ready {
            propose_format(env, shard).await?;
            continue;
        }
        env.clock.sleep_ms(20).await;
    }
}

/// Checks the number of shards: a new replica learns it only from the others.
fn check_shards(shard: &Shard) -> Result<(), StartError> {
    let store = |error: &dyn std::fmt::Display| StartError::Store(error.to_string());
    let made = shard.view().map_err(|e| store(&e))?.shards().map_err(|e| store(&e))?;
    let (made, asked) =
        (made.map_or(1, |made| made as usize), shard.node().map_or(1, |node| node.shards().len()));
    if made == asked { Ok(()) } else { Err(mds_raft::StartError::Shards { made, asked }.into()) }
}

async fn propose_format(env: &Env, shard: &Shard) -> Result<(), StartError> {
    let shards = shard.node().map_or(1, |node| node.shards().len());
    let fix = FixShards { shards: u32::try_from(shards).unwrap_or(u32::MAX) };
    match shard.propose(None, Command::FixShards(fix)).await {
        Ok(Outcome::Refused(_)) | Err(ProposeError::NotLeader { .. }) => return Ok(()),
        Ok(_) => {}
        Err(error) => return Err(StartError::Store(error.to_string())),
    }
    let mut format = Format {
        file_system: [0; 16],
        handle_key: [0; 32],
        cookie_key: [0; 32],
        root_uid: 0,
        root_gid: 0,
        // Like /tmp: every client that mounts a new cluster can use it.
        root_mode: 0o1777,
    };
    env.entropy.fill(&mut format.file_system);
    env.entropy.fill(&mut format.handle_key);
    env.entropy.fill(&mut format.cookie_key);
    match shard.propose(None, Command::Format(format)).await {
        Ok(Outcome::Refused(refusal)) => return Err(StartError::Store(refusal.to_string())),
        Ok(_) => {}
        Err(ProposeError::NotLeader { .. }) => return Ok(()),
        Err(error) => return Err(StartError::Store(error.to_string())),
    }
    // From its first second on the store records that the cluster exists: a single node that loses
    // its log does not start as a new one.
    shard.checkpoint().await.map_err(|error| StartError::Store(error.to_string()))
}

/// Makes a server on which no task runs yet.
pub(crate) fn make(
    env: Env,
    shard: Shard,
    config: &MdsConfig,
    registry: &mut Registry,
) -> Result<Server, StartError> {
    let store = |e: &dyn std::fmt::Display| StartError::Store(e.to_string());
    let view = shard.view().map_err(|e| store(&e))?;
    let superblock = superblock::superblock(view.namespace()).map_err(|e| store(&e))?;
    drop(view);
    let machine_clock = Arc::clone(&env.clock);
    let env =
        Env { clock: Arc::new(AwakeClock::new(shard.cluster_clock(Arc::clone(&machine_clock)))), ..env };
    let started_ms = env.clock.monotonic_ms();
    shards::register(registry, &shard);
    let metrics = Metrics::new(registry);
    Ok(Server {
        exports: ClusterExports::new(config.exports.clone()).map_err(SetError::from)?,
        config: config.settings,
        handles: HandleMaker::new(&superblock.handle_key),
        keyring: HandleKeyring::new(&superblock),
        file_system: superblock.file_system,
        front: Front::new(config.settings.lease_ms),
        data_servers: DataServers::new(config.settings.data_server_lease_ms, started_ms),
        data_path: DataPath::new(&env),
        courtesy: crate::courtesy::Courtesy::default(),
        recalls: crate::recall::Recalls::default(),
        fencing: crate::export_fence::ExportFence::default(),
        settling: size::settle::Settling::default(),
        revoked: crate::revoked::Revoked::default(),
        work: work::Work::default(),
        copies: crate::copies::Copies::default(),
        sealing: crate::seal::Sealing::default(),
        balancing: balance::Balancing::default(),
        answer_room: AnswerRoom::new(env.clock.clone(), metrics.clone()),
        metrics,
        write_verifier: Verifier(*superblock.file_system.first_chunk().expect("16 bytes hold 8")),
        movers: crate::server::Movers::default(),
        accesses: crate::access_time::Accesses::default(),
        opening: crate::opening::Opening::default(),
        controls: config.controls.iter().cloned().collect(),
        mounts: std::sync::OnceLock::new(),
        service: config.service.clone().map(Service::new),
        shards: Shards::new(env.clone(), shard),
        env,
        machine_clock,
        room: Room::default(),
    })
}

async fn listen(
    env: &Env,
    address: SocketAddr,
    service: Arc<dyn env_transport::Service>,
    (record_bytes_max, unproven_record_bytes_max): (usize, usize),
    traffic: Traffic,
) -> Result<env_transport::Server, StartError> {
    let limits = Limits {
        connections_max: CONNECTIONS_MAX,
        in_flight_per_connection_max: IN_FLIGHT_PER_CONNECTION_MAX,
        record_bytes_max,
        unproven_record_bytes_max,
        in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
        answer_bytes_max: ANSWER_BYTES_MAX,
        traffic,
        // A client's backchannel lives on the connection: only the client closes it.
        idle_ms_max: 0,
        unproven_ms_max: UNPROVEN_MS_MAX,
        ..Limits::default()
    };
    serve(env.net.clone(), env.clock.clone(), address, service, limits)
        .await
        .map_err(|error| StartError::Listen { address, error })
}
