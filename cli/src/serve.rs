//! `shoal serve`: a whole cluster in one process.

mod cluster;
mod plan;
mod replicas;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use env::os::OsEntropy;
use wire_nfs::control::Keyring;

use crate::args::Serve;
use crate::config;
use crate::directory::{self, Made};
use crate::key;
use crate::output::{announce, bytes, waiting};
use crate::stop::Stop;

use cluster::{Cluster, Setup};
use plan::Plan;

/// Runs until it is told to stop.
///
/// # Errors
/// If a flag makes no sense, the directory or a port is taken, or a server does not start.
pub(crate) async fn run_cluster(serve: Serve) -> anyhow::Result<()> {
    let mut stop = Stop::on_signals()?;
    let config = serve.config.as_deref().map(config::load).transpose()?.unwrap_or_default();
    if !config.cluster.service_addresses.is_empty() {
        anyhow::bail!("service_addresses are for `shoal mds`: the replicas of `shoal serve` are one process");
    }
    let mut locked = directory::lock(&serve.dir)?;
    let dir = serve.dir.canonicalize().with_context(|| serve.dir.display().to_string())?;
    let made = Made::load(&dir)?;
    let mut plan = Plan::new(&serve, made.as_ref())?;
    plan.settle()?;
    if made.as_ref() != Some(&plan.made()) {
        plan.made().store(&dir).with_context(|| dir.display().to_string())?;
    }
    let key_file = dir.join("cluster.key");
    let keys = Keyring::from(key::load_or_make_whole(&key_file, &OsEntropy)?);
    let (disk, capacity, accept_damage) = (serve.disk, serve.capacity, serve.accept_damage);
    let accept_log_loss = serve.accept_log_loss;
    let setup = Setup {
        dir: &dir,
        config: &config,
        key_file: &key_file,
        keys,
        disk,
        capacity,
        accept_damage,
        accept_log_loss,
    };
    let mut cluster = tokio::select! {
        biased;
        () = stop.asked() => {
            locked.keep();
            return Ok(());
        }
        cluster = Cluster::start(&plan, &setup) => cluster?,
    };
    // All servers are in this process: until now none has promised anything to anything outside of
    // it.
    locked.keep();
    announce(announcement(&cluster, &plan, &dir));
    let failed = tokio::select! {
        biased;
        () = stop.asked() => None,
        stopped = cluster.failed() => Some(stopped),
    };
    let clock: Arc<dyn env::Clock> = Arc::new(env::os::OsClock::new());
    waiting(&*clock, || "making everything durable".to_owned(), cluster.stop()).await?;
    if let Some(stopped) = failed {
        anyhow::bail!("{stopped}; start it again");
    }
    announce("Stopped. Everything that was acknowledged is on the disk.\n");
    Ok(())
}

/// What a stranger needs to know, once everything runs.
fn announcement(cluster: &Cluster, plan: &Plan, dir: &Path) -> String {
    let (servers, replicas) = (plan.data_servers.len(), plan.replicas.len().max(1));
    let space = bytes(cluster.metadata().status().space_total_bytes);
    let mut text = format!(
        "Shoal is up: {} with room for {space}, {}.\n\n  Mount it:\n",
        counted(servers, "data server"),
        counted(replicas, "metadata replica"),
    );
    for export in cluster.metadata().exports() {
        text += &format!("    {}\n", export.mount);
    }
    if let Some(address) = cluster.metrics_address() {
        text += &format!("  Look inside:  shoal admin --at {address} status\n");
        text += &format!("  Metrics:      http://{address}/metrics\n");
    }
    text += &format!("  Data:         {}\n", dir.display());
    text += "  Stop:         Ctrl-C, or SIGTERM; the data stays\n\n";
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
