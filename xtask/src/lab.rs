//! The lab: stock Linux kernels mount a cluster, and scenarios say what they must find there.
//!
//! Outside the sandbox it fetches and builds; inside, kernel by kernel, it boots two guests, starts
//! a server and plays the scenarios. docs/lab.md tells a reader how it all hangs together.

mod agent;
mod basic;
pub(crate) mod bench_parts;
mod choice;
mod crash;
mod degraded;
mod drain;
mod ds_failover;
mod ec;
mod failover;
mod fsx;
mod guest;
mod kernels;
mod long;
mod metrics;
mod network;
mod posix;
mod postgres;
mod programs;
mod rebalance;
mod run;
mod sandbox;
mod scenario;
mod server;
mod shell;
mod side_by_side;
mod stage;
mod stripes;

use std::path::Path;

use anyhow::{Context, Result, bail};

pub(crate) use self::agent::serve as serve_guest;
pub(crate) use self::choice::Lab;
use self::choice::{DEFAULT_KERNEL, Group};
pub(crate) use self::sandbox::leave;
use self::server::Kind;
pub(crate) use self::server::{build_shoal, shoal_program};
use crate::{process, tools};

impl Lab {
    /// Plays the scenarios; ends this process with 1 when one fails.
    ///
    /// # Errors
    /// When the lab itself cannot be set up.
    pub(crate) fn run(self) -> Result<()> {
        if self.list {
            for scenario in self.scenarios() {
                println!("{:9} {:22} {}", scenario.group, scenario.name, scenario.proves);
                for line in shell::line_names(scenario) {
                    println!("{:11} {line}", "");
                }
            }
            return Ok(());
        }
        if !matches!(self.server.mounting(), server::Mounting::Nfs(_)) {
            bail!("the lab mounts NFS servers; {} is for the bench", self.server.label());
        }
        if sandbox::is_inside() {
            return run::inside(&self);
        }
        self.prepare()?;
        if self.groups.iter().all(|group| *group == Group::Kernels) {
            return Ok(());
        }
        if self.scenarios().is_empty() {
            bail!("no scenario is called that; --list names them");
        }
        if let [_, _, ..] = self.releases()?[..] {
            let passed = side_by_side::play(&self.releases()?)?;
            std::process::exit(i32::from(!passed));
        }
        let program = self.program.clone().unwrap_or_else(server::shoal_program);
        std::process::exit(sandbox::enter(self.keep, &program)?)
    }

    /// All that needs the machine's own network: packages, kernels, programs.
    fn prepare(&self) -> Result<()> {
        let knfsd = self.server == Kind::KnfsdPlain;
        tools::ensure(!self.server.is_ours() && !knfsd)?;
        // The reference of the lines is knfsd.
        if knfsd || self.groups.contains(&Group::Shell) {
            tools::ensure_for_shell()?;
        }
        let cache = kernels::cache_folder(self.cache.as_deref())?;
        for release in self.releases()? {
            let kernel = kernels::fetch(&cache, release)?;
            println!("kernel {:5} is {}", kernel.name, kernel.version);
        }
        if self.groups.contains(&Group::Posix) {
            posix::install(&cache)?;
        }
        match &self.program {
            Some(program) if !program.is_file() => bail!("--program {}: no such file", program.display()),
            Some(_) => {}
            None if self.server.is_ours() && !self.groups.iter().all(|group| *group == Group::Kernels) => {
                server::build_shoal()?;
            }
            None => {}
        }
        Ok(())
    }
}

/// Whether guests can be booted here, or what keeps them from it.
///
/// # Errors
/// Names the first thing that is missing.
pub(crate) fn is_possible_here() -> Result<()> {
    if !process::is_root() {
        bail!("the lab needs root");
    }
    if !Path::new("/dev/net/tun").exists() {
        bail!("there is no /dev/net/tun");
    }
    process::words("unshare --net --mount --pid --fork true").context("no new namespaces")?;
    tools::ensure(false).context("packages")?;
    let cache = kernels::cache_folder(std::env::var_os("SHOAL_LAB_CACHE").as_deref().map(Path::new))?;
    kernels::fetch(&cache, kernels::release(DEFAULT_KERNEL)?).context("no kernel").map(drop)
}
