//! `shoal mds`: one metadata server as a process of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use env::os::OsEntropy;
use env::os::tokio_net::TokioNet;
use mds_server::report::mount_command;
use mds_server::{MdsConfig, MetadataServer, server::Settings};
use prometheus_client::registry::Registry;
use wire_nfs::control::Keyring;

use crate::args::Mds;
use crate::config::{self, AccessTime, Cluster, Switch};
use crate::http::{self, Pages};
use crate::key::watch::Watch;
use crate::output::{announce, waiting};
use crate::ports::Wanted;
use crate::stop::Stop;
use crate::{directory, key, machine, ports, service};

/// Why there is to be no new cluster of several shards.
const SEVERAL_SHARDS: &str = "several shards of this kind lose sight of extents during failover, refill and drain, \
     and data were lost so; another kind takes their place";

/// Runs until it is told to stop.
///
/// # Errors
/// If a flag makes no sense, the directory or a port is taken, or the server does not start.
pub(crate) async fn run_metadata_server(mds: Mds) -> anyhow::Result<()> {
    let mut stop = Stop::on_signals()?;
    let config = mds.config.as_deref().map(config::load).transpose()?.unwrap_or_default();
    let mut locked = directory::lock(&mds.dir)?;
    check_shards(&mds)?;
    let (listen, control, metrics) = settle(&mds)?;
    let (service, guard) = service::prepare(&mds, &config.cluster)?;
    let mut env = machine::metadata_environment("mds", mds.disk)?;
    env.net = Arc::new(TokioNet::guarded(guard));
    let clock = Arc::clone(&env.clock);
    let cluster_keys = Keyring::from(key::load_or_make_whole(&mds.cluster_key, &OsEntropy)?);
    let mut registry = Registry::default();
    let _watch = Watch::begin(&mds.cluster_key, &cluster_keys, &mut registry);
    let mds_config = MdsConfig {
        dir: mds.dir.clone(),
        listen,
        control,
        exports: config::exports(&config)?,
        settings: Settings {
            shards: mds.shards.unwrap_or(0),
            hibernate_ms: mds.hibernate_ms,
            accept_log_loss: mds.accept_log_loss,
            ..settings(&config.cluster)
        },
        cluster_keys,
        node: mds.id,
        members: mds.members.iter().map(|(id, address)| (*id, address.to_string())).collect(),
        join: mds.join.iter().map(ToString::to_string).collect(),
        controls: mds.controls.iter().map(|(id, address)| (*id, address.to_string())).collect(),
        service,
    };
    // From here on the directory may come to have what others rely on: votes, and what was
    // acknowledged.
    locked.keep();
    let what = || "opening the metadata store and looking for a leader".to_owned();
    let starting = waiting(&*clock, what, MetadataServer::start(env, mds_config, &mut registry));
    let server = tokio::select! {
        biased;
        () = stop.asked() => return Ok(()),
        server = starting => Arc::new(server.with_context(|| mds.dir.display().to_string())?),
    };
    let pages = Pages { registry: Arc::new(registry), metadata: Some(Arc::clone(&server)) };
    let metrics = http::serve(metrics, pages).await?;
    announce(announcement(mds.id, &server, metrics.address()));
    let failed = tokio::select! {
        biased;
        () = stop.asked() => None,
        stopped = server.failed() => Some(stopped),
    };
    metrics.close();
    waiting(&*clock, || "making everything durable".to_owned(), server.stop()).await;
    match failed {
        None => Ok(()),
        Some(stopped) if mds.members.is_empty() => {
            bail!("{stopped}; there is no other metadata server: start this one again")
        }
        Some(stopped) => bail!("{stopped}; the others go on without this one: start it again"),
    }
}

/// What an administrator needs to know, once it runs.
fn announcement(id: u64, server: &MetadataServer, metrics: SocketAddr) -> String {
    let mut text = format!("Metadata server {id} is up.\n\n  Mount it:\n");
    for export in server.exports() {
        let at = export.addresses.iter().filter_map(|address| address.parse().ok());
        text.extend(at.map(|address| format!("    {}\n", mount_command(address, &export.path))));
    }
    text += &format!("  Data servers: shoal ds --mds {}\n", server.control_address());
    text + &format!("  Metrics:      http://{metrics}/metrics\n\n")
}

/// Refuses a new cluster of several shards; one that is there is served.
fn check_shards(mds: &Mds) -> anyhow::Result<()> {
    let Some(shards) = mds.shards.filter(|shards| 1 < *shards) else { return Ok(()) };
    let is_new = !mds.dir.join("log").exists() && !mds.dir.join("state.redb").exists();
    if is_new {
        bail!(
            "--shards {shards} is refused for a new cluster: {SEVERAL_SHARDS}. Leave --shards out: one shard does it all"
        );
    }
    tracing::warn!(
        "this cluster has {shards} shards: {SEVERAL_SHARDS}. Copy its data to a new cluster of one"
    );
    Ok(())
}

/// The addresses of NFS, control and metrics, once it is sure that they and this replica's own are
/// to be had.
fn settle(mds: &Mds) -> anyhow::Result<(SocketAddr, SocketAddr, SocketAddr)> {
    let wanted = |address, what: &str, flag| Wanted { address, what: what.to_owned(), flag };
    let mut nfs = wanted(mds.listen, "NFS", "--listen");
    let mut control = wanted(mds.control, "control", "--control");
    let mut metrics = wanted(mds.metrics, "metrics", "--metrics");
    let mut all = vec![&mut nfs, &mut control, &mut metrics];
    let own = mds.members.iter().find(|(id, _)| *id == mds.id);
    if own.is_none() && !mds.members.is_empty() {
        bail!("--members does not name this replica, --id {}", mds.id);
    }
    if !mds.join.is_empty() && mds.members.len() != 1 {
        bail!("with --join, --members names this replica alone: --members {}=IP:PORT", mds.id);
    }
    let mut own = own.map(|(_, address)| wanted(*address, "this replica", "--members"));
    all.extend(&mut own);
    ports::settle(&mut all)?;
    Ok((nfs.address, control.address, metrics.address))
}

/// The settings of a metadata server from the configuration file's.
pub(crate) fn settings(cluster: &Cluster) -> Settings {
    Settings {
        lease_ms: u64::from(cluster.lease_seconds) * 1000,
        data_server_lease_ms: u64::from(cluster.data_server_lease_seconds) * 1000,
        inline_bytes: u64::from(cluster.inline_bytes),
        recall_ms: u64::from(cluster.recall_seconds) * 1000,
        courtesy_ms: u64::from(cluster.courtesy_seconds) * 1000,
        layouts_kept: cluster.layouts_kept,
        data_server_wait_ms: u64::from(cluster.data_server_wait_seconds) * 1000,
        hot_copies: cluster.hot_copies,
        seal: cluster.seal == Switch::On,
        seal_idle_ms: u64::from(cluster.seal_idle_ms),
        erasure_code: cluster.erasure_code.0,
        group_wait_ms: u64::from(cluster.group_wait_ms),
        repair_grace_ms: u64::from(cluster.repair_grace_ms),
        rebalance: cluster.rebalance == Switch::On,
        relatime: cluster.atime == AccessTime::Relatime,
        ..Settings::default()
    }
}
