//! `shoal ds`: one data server as a process of its own.

use std::sync::Arc;

use anyhow::{Context, bail};
use ds_server::{DataServer, Domain, DsConfig};
use prometheus_client::registry::Registry;
use wire_nfs::control::{ClusterKey, Keyring};

use crate::args::Ds;
use crate::http::{self, Pages};
use crate::key::watch::Watch;
use crate::output::{announce, bytes, waiting};
use crate::ports::Wanted;
use crate::stop::Stop;
use crate::{directory, key, machine, ports};

/// Runs until it is told to stop.
///
/// # Errors
/// If a flag makes no sense, the directory or a port is taken, or the server does not start.
pub(crate) async fn run_data_server(ds: Ds) -> anyhow::Result<()> {
    let mut stop = Stop::on_signals()?;
    let wanted = |address, what: &str, flag| Wanted { address, what: what.to_owned(), flag };
    let mut listen = wanted(ds.listen, "NFS", "--listen");
    let mut control = wanted(ds.control, "control", "--control");
    for Wanted { address, flag, .. } in [&listen, &control] {
        if address.ip().is_unspecified() {
            bail!(
                "{flag} {address}: others are told this address to reach the server at, so it must be the machine's own"
            );
        }
    }
    let mut locked = directory::lock(&ds.dir)?;
    ports::settle(&mut [&mut listen, &mut control])?;
    let env = machine::environment("ds", ds.disk)?;
    let clock = Arc::clone(&env.clock);
    let capacity_bytes = machine::capacity(&env, &ds.dir, 1, ds.capacity).await?;
    let cluster_keys = Keyring::from(key::load(&ds.cluster_key)?);
    let name = name(&ds, cluster_keys.held().active())?;
    let mut registry = Registry::default();
    let _watch = Watch::begin(&ds.cluster_key, &cluster_keys, &mut registry);
    let config = DsConfig {
        dir: ds.dir.clone(),
        listen: listen.address,
        control: control.address,
        advertise: None,
        metadata_servers: ds.mds.clone(),
        cluster_keys,
        capacity_bytes,
        seal_bytes_per_s: u64::from(ds.seal_mib_per_s) << 20,
        repair_bytes_per_s: u64::from(ds.repair_mib_per_s) << 20,
        scrub_period_ms: u64::from(ds.scrub_days) * 86_400_000,
        scrub_bytes_per_s: u64::from(ds.scrub_mib_per_s) << 20,
        hang_ms: ds_server::limits::HANG_MS,
        accept_damage: ds.accept_damage,
        name,
        domain: Domain {
            zone: ds.zone.clone().unwrap_or_default(),
            rack: ds.rack.clone().unwrap_or_default(),
            host: ds.host.clone().unwrap_or_else(machine::name),
        },
    };
    // From here on the store may come to have what others rely on.
    locked.keep();
    let starting =
        waiting(&*clock, || "opening the journal".to_owned(), DataServer::start(env, config, &mut registry));
    let server = tokio::select! {
        biased;
        () = stop.asked() => return Ok(()),
        server = starting => server.with_context(|| ds.dir.display().to_string())?,
    };
    let metrics = match ds.metrics {
        Some(address) => {
            Some(http::serve(address, Pages { registry: Arc::new(registry), metadata: None }).await?)
        }
        None => None,
    };
    announce(format!("Data server is up at {}, for up to {}.\n", server.address(), bytes(capacity_bytes)));
    stop.asked().await;
    if let Some(metrics) = &metrics {
        metrics.close();
    }
    waiting(&*clock, || "making everything durable".to_owned(), server.stop()).await?;
    Ok(())
}

/// What it is called: as its key says, if that is for one data server.
fn name(ds: &Ds, key: &ClusterKey) -> anyhow::Result<String> {
    let Some(own) = key.only_data_server() else {
        let named = ds.name.clone().or_else(|| ds.host.clone()).unwrap_or_else(machine::name);
        return if key.whole().is_some() { Ok(named) } else { bail!(wrong_key(ds, key)) };
    };
    match &ds.name {
        Some(name) if *name != own.name => bail!("{}, and --name is {name}", wrong_key(ds, key)),
        Some(_) | None => Ok(own.name.clone()),
    }
}

fn wrong_key(ds: &Ds, key: &ClusterKey) -> String {
    format!("--cluster-key {}: this key is for {} only", ds.cluster_key.display(), key.role())
}
