//! Service addresses of `shoal mds`, and the guard that takes them away when the server dies.

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, bail};
use env::ServiceAddress;
use env::os::{GuardLine, OsAddresses, run_guard};
use mds_server::ServiceAddresses;

use crate::args::{Mds, MdsGuard};
use crate::config::Cluster;

/// Finds out where the addresses belong on this machine and starts the guard; `None` if there are
/// none.
///
/// # Errors
/// If an interface or a right is missing, or connections at the addresses would not be taken.
pub(crate) fn prepare(mds: &Mds, cluster: &Cluster) -> anyhow::Result<(Option<ServiceAddresses>, GuardLine)> {
    let addresses: Vec<ServiceAddress> = match &mds.service_address[..] {
        [] => cluster.service_addresses.iter().map(|address| address.0).collect(),
        given => given.to_vec(),
    };
    let interface = mds.service_interface.as_deref().or(cluster.service_interface.as_deref());
    if addresses.is_empty() {
        return Ok((None, GuardLine::default()));
    }
    if !mds.listen.ip().is_unspecified() {
        bail!(
            "--listen {}: with service addresses NFS must listen at all addresses, as --listen 0.0.0.0:{} or [::]:{}",
            mds.listen,
            mds.listen.port(),
            mds.listen.port()
        );
    }
    if let Some(address) = addresses.iter().find(|address| address.ip.is_ipv6() && mds.listen.is_ipv4()) {
        bail!(
            "--listen {}: NFS would not listen at service address {address}; [::]:{} is all addresses of both kinds",
            mds.listen,
            mds.listen.port()
        );
    }
    let door = OsAddresses::new(&addresses, interface, Some(guard_command(&addresses, interface)?))?;
    let line = door.guard();
    tracing::info!(guard = door.guard_process(), "service addresses follow the leader");
    Ok((Some(ServiceAddresses { addresses, door: Arc::new(door) }), line))
}

fn guard_command(addresses: &[ServiceAddress], interface: Option<&str>) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program cannot be found")?);
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    command.args(["mds-guard", "--service-address", &all.join(",")]);
    if let Some(interface) = interface {
        command.args(["--service-interface", interface]);
    }
    Ok(command)
}

/// Guards the process that started this one.
///
/// # Errors
/// If the addresses have no place here.
pub(crate) fn guard(guard: &MdsGuard) -> anyhow::Result<()> {
    Ok(run_guard(&guard.service_address, guard.service_interface.as_deref())?)
}
