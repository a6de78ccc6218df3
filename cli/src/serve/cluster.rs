//! The servers of `shoal serve`, started and stopped in the order that makes sense.
//!
//! INVARIANT: when `start` returns, every data server has registered and can be written to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use ds_server::{DataServer, Domain, DsConfig};
use env::Clock;
use mds_raft::EngineStopped;
use mds_server::server::Settings;
use mds_server::{MdsConfig, MetadataServer};
use prometheus_client::registry::Registry;
use wire_nfs::control::Keyring;

use crate::args::DiskPreference;
use crate::http::{self, Pages};
use crate::key::watch::Watch;
use crate::output::waiting;
use crate::{config, machine, mds};

use super::plan::{DataServerPlan, Plan};
use super::replicas::Replicas;

/// Folder of the data servers' folders.
const DATA_SERVERS: &str = "ds";
/// Number of the replica that serves clients.
const FRONT_NODE: u64 = 1;
/// How often it is looked whether all data servers have registered.
const LOOK_MS: u64 = 20;
/// Data servers that have not registered by then are not going to.
const REGISTER_MS_MAX: u64 = 60_000;

/// What is not in the plan.
pub(crate) struct Setup<'a> {
    /// The locked directory.
    pub(crate) dir: &'a Path,
    /// The configuration file's content, or its defaults.
    pub(crate) config: &'a config::Config,
    /// The file with the nodes' secret.
    pub(crate) key_file: &'a Path,
    /// The nodes' secret.
    pub(crate) keys: Keyring,
    /// How to reach the disk.
    pub(crate) disk: DiskPreference,
    /// Bytes for each data server, if the operator said so.
    pub(crate) capacity: Option<u64>,
    /// Open stores although they are damaged.
    pub(crate) accept_damage: bool,
    /// Start without the metadata log, if it is gone.
    pub(crate) accept_log_loss: Option<[u8; 16]>,
}

/// A running cluster.
pub(crate) struct Cluster {
    metadata: Arc<MetadataServer>,
    replicas: Replicas,
    data_servers: Vec<DataServer>,
    metrics: Option<http::Port>,
    _watch: Watch,
}

impl Cluster {
    /// Starts everything and waits until it can be used.
    ///
    /// # Errors
    /// Says which server did not start, and why.
    pub(crate) async fn start(plan: &Plan, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        let watch = Watch::begin(setup.key_file, &setup.keys, &mut registry);
        let members = members(plan);
        let folder = setup.dir.join("mds");
        let env = machine::metadata_environment("mds-1", setup.disk)?;
        let clock = Arc::clone(&env.clock);
        let count = plan.data_servers.len();
        let servers = u16::try_from(count).expect("a plan has at most 100");
        let stores = setup.dir.join(DATA_SERVERS);
        std::fs::create_dir_all(&stores).with_context(|| stores.display().to_string())?;
        let capacity_bytes = machine::capacity(&env, &stores, servers, setup.capacity).await?;

        let mds_config = MdsConfig {
            dir: folder.join(FRONT_NODE.to_string()),
            listen: plan.nfs.address,
            control: plan.control.address,
            exports: config::exports(setup.config)?,
            settings: Settings {
                accept_log_loss: setup.accept_log_loss,
                ..mds::settings(&setup.config.cluster)
            },
            cluster_keys: setup.keys.clone(),
            node: FRONT_NODE,
            members: members.clone(),
            join: Vec::new(),
            // Only the first replica has a front.
            controls: vec![(FRONT_NODE, plan.control_target().to_string())],
            service: None,
        };
        let what = || "opening the metadata store".to_owned();
        let replicas = Replicas::start(&folder, &members, &setup.keys, setup.disk).await?;
        let metadata = waiting(&*clock, what, MetadataServer::start(env, mds_config, &mut registry)).await?;
        let mut cluster = Self {
            metadata: Arc::new(metadata),
            replicas,
            data_servers: Vec::with_capacity(count),
            metrics: None,
            _watch: watch,
        };
        for server in &plan.data_servers {
            let started = start_data_server(server, plan, setup, capacity_bytes, &mut registry);
            let what = || format!("opening the journal of data server {} of {count}", server.number);
            cluster.data_servers.push(waiting(&*clock, what, started).await?);
        }
        cluster.all_registered(&*clock).await?;
        if let Some(wanted) = &plan.metrics {
            let pages = Pages { registry: Arc::new(registry), metadata: Some(Arc::clone(&cluster.metadata)) };
            cluster.metrics = Some(http::serve(wanted.address, pages).await?);
        }
        Ok(cluster)
    }

    async fn all_registered(&self, clock: &dyn Clock) -> anyhow::Result<()> {
        let count = self.data_servers.len();
        let up = || self.metadata.data_servers().iter().filter(|line| line.up).count();
        let what = || format!("waiting for data servers to register: {} of {count}", up());
        let registered = async {
            while up() < count {
                clock.sleep_ms(LOOK_MS).await;
            }
        };
        let late = waiting(clock, what, async {
            tokio::select! {
                () = registered => false,
                () = clock.sleep_ms(REGISTER_MS_MAX) => true,
            }
        });
        if late.await {
            bail!("only {} of {count} data servers registered within {} s", up(), REGISTER_MS_MAX / 1000);
        }
        Ok(())
    }

    /// The metadata server.
    pub(crate) fn metadata(&self) -> &MetadataServer {
        &self.metadata
    }

    /// Returns when the engine of a metadata replica has failed: it ends the whole process.
    pub(crate) async fn failed(&mut self) -> EngineStopped {
        tokio::select! {
            biased;
            stopped = self.metadata.failed() => stopped,
            stopped = self.replicas.failed() => stopped,
        }
    }

    /// Where metrics are, if anywhere.
    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(http::Port::address)
    }

    /// Stops everything: first what clients reach, then what that stands on.
    ///
    /// # Errors
    /// If it is not certain that everything is durable.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if let Some(port) = &self.metrics {
            port.close();
        }
        self.metadata.stop().await;
        let mut outcome = Ok(());
        for (server, number) in self.data_servers.into_iter().zip(1..) {
            let stopped = server.stop().await.with_context(|| format!("data server {number}"));
            outcome = outcome.and(stopped);
        }
        self.replicas.stop().await;
        outcome
    }
}

async fn start_data_server(
    server: &DataServerPlan,
    plan: &Plan,
    setup: &Setup<'_>,
    capacity_bytes: u64,
    registry: &mut Registry,
) -> anyhow::Result<DataServer> {
    let dir = setup.dir.join(DATA_SERVERS).join(server.number.to_string());
    let config = DsConfig {
        dir: dir.clone(),
        listen: server.data.address,
        control: server.control.address,
        advertise: None,
        metadata_servers: vec![plan.control_target()],
        cluster_keys: setup.keys.clone(),
        capacity_bytes,
        seal_bytes_per_s: ds_server::limits::SEAL_BYTES_PER_S,
        repair_bytes_per_s: 0,
        scrub_period_ms: ds_server::limits::SCRUB_PERIOD_MS,
        scrub_bytes_per_s: ds_server::limits::SCRUB_BYTES_PER_S,
        hang_ms: ds_server::limits::HANG_MS,
        accept_damage: setup.accept_damage,
        domain: Domain { host: machine::name(), ..Domain::default() },
        name: format!("ds-{}", server.number),
    };
    let env = machine::environment(&format!("ds-{}", server.number), setup.disk)?;
    let labels = vec![("ds".into(), server.number.to_string().into())];
    let registry = registry.sub_registry_with_labels(labels.into_iter());
    DataServer::start(env, config, registry)
        .await
        .with_context(|| format!("data server {} in {}", server.number, dir.display()))
}

/// All replicas with their addresses; none if the front is alone.
fn members(plan: &Plan) -> Vec<(u64, String)> {
    (FRONT_NODE..).zip(&plan.replicas).map(|(id, replica)| (id, replica.address.to_string())).collect()
}

#[cfg(test)]
mod tests;
