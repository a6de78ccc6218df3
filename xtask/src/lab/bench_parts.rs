//! What the bench takes from the lab: the sandbox, a guest, a server.

use std::path::{Path, PathBuf};

use anyhow::Result;

pub(crate) use super::ec::{is_sealed, is_whole};
pub(crate) use super::guest::{Guest, Plan};
pub(crate) use super::kernels::Kernel;
pub(crate) use super::metrics::Metrics;
pub(crate) use super::network::SERVER;
pub(crate) use super::sandbox::{is_inside, leave};
pub(crate) use super::server::gluster::VOLUME;
pub(crate) use super::server::shoal::{Shoal, read_metrics_at};
pub(crate) use super::server::{Kind, Mounting, Server, Setup, build_shoal, shoal_program};
use super::{kernels, network, sandbox, server, stage};
use crate::tools;

/// All that needs the machine's own network.
///
/// # Errors
/// When packages or the kernel cannot be had, or our program does not compile.
pub(crate) fn prepare(cache: Option<&Path>, kernel: &str, with_shoal: bool) -> Result<()> {
    tools::ensure(true)?;
    kernels::fetch(&kernels::cache_folder(cache)?, kernels::release(kernel)?)?;
    if with_shoal { server::build_shoal() } else { Ok(()) }
}

/// Runs this program again inside, with this tree's `shoal`; its exit code.
///
/// # Errors
/// As of `sandbox::enter`.
pub(crate) fn enter(keep: bool) -> Result<i32> {
    sandbox::enter(keep, &server::shoal_program())
}

/// Sets up the sandbox; the run's folder and the kernel.
///
/// # Errors
/// When the sandbox refuses.
pub(crate) fn settle(cache: Option<&Path>, kernel: &str) -> Result<(PathBuf, Kernel)> {
    let folder = sandbox::settle(false)?;
    network::bring_up()?;
    Ok((folder, kernels::fetch(&kernels::cache_folder(cache)?, kernels::release(kernel)?)?))
}

/// Sets up the sandbox where no guest is booted; the run's folder.
///
/// # Errors
/// When the sandbox refuses.
pub(crate) fn settle_alone(keep: bool) -> Result<PathBuf> {
    let folder = sandbox::settle(keep)?;
    network::bring_up()?;
    Ok(folder)
}

/// Mounts an NFS server at `/mnt/c` with this version.
///
/// # Errors
/// When the guest refuses.
pub(crate) fn mount(guest: &Guest, version: &str) -> Result<()> {
    stage::mount(guest, &format!("vers={version}"))
}
