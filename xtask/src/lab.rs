//! The lab: stock Linux kernels mount a cluster, and scenarios say what they must find there.
//!
//! Outside the sandbox it fetches and builds; inside, kernel by kernel, it boots two guests, starts a server and plays
//! the scenarios. docs/lab.md tells a reader how it all hangs together.

mod agent;
mod basic;
pub(crate) mod bench_parts;
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

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

pub(crate) use self::agent::serve as serve_guest;
use self::kernels::Release;
pub(crate) use self::sandbox::leave;
use self::scenario::{Needs, Scenario};
use self::server::Kind;
pub(crate) use self::server::{build_shoal, shoal_program};
use crate::guest::Plant;
use crate::{process, tools};

const DEFAULT_KERNEL: &str = "7.2";

/// A group of scenarios, or something that is done instead of any.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Group {
    /// What an NFS client may expect of a file system, two clients and a failing server included.
    Basic,
    /// Everything killed at random moments under a verifying writer.
    Crash,
    /// A data server killed under fio, its disk lost as well.
    DsFailover,
    /// The metadata server that clients are mounted from killed, its disk lost, cut off, or stopped, under programs that hold locks.
    Failover,
    /// Data servers are emptied under a client that writes, removed and replaced.
    Drain,
    /// A sealed file is read while its home and backups are dead.
    Degraded,
    /// A data server is added under a client that writes, and gets its share.
    Rebalance,
    /// An export with stripes: which kernels get them, and a home killed under them.
    Stripes,
    /// Files at rest are erasure-coded; two of six data servers lost with their disks, twice.
    Ec,
    /// Random operations compared with a model, in several arrangements.
    Fsx,
    /// Real programs on the mount.
    Programs,
    /// Small programs of every day, line by line, compared with their tables and with knfsd beside the server.
    Shell,
    /// pjdfstest, compared with a checked-in list.
    Posix,
    /// What takes minutes: memory under much data, 100,000 names, a silent data server.
    Long,
    /// Only fetches the kernels.
    Kernels,
}

/// Which scenarios, on what.
#[derive(Debug, clap::Args)]
pub(crate) struct Lab {
    /// Groups of scenarios.
    #[arg(default_value = "basic")]
    groups: Vec<Group>,
    /// 6.1, 6.12, 7.2 or all.
    #[arg(long, default_value = DEFAULT_KERNEL)]
    kernel: String,
    /// How often the crash, ds-failover and failover scenarios kill.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Of the failover scenario: do only this in each round.
    #[arg(long, value_enum)]
    fault: Option<failover::Fault>,
    /// Of the group fsx: how long all its arrangements take together, 3 by default.
    #[arg(long)]
    minutes: Option<u64>,
    /// Of the group fsx: so many operations at most in each arrangement.
    #[arg(long)]
    operations: Option<u64>,
    /// Of the group fsx: how often a kind of operation is drawn, as `truncate=0,append=30`.
    #[arg(long, value_delimiter = ',')]
    weights: Vec<String>,
    /// Of the group fsx: a lie of the model, which must be found.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// Only scenarios, or lines of the group shell, whose name holds this; may be given again.
    #[arg(long)]
    only: Vec<String>,
    /// Whose server.
    #[arg(long, value_enum, default_value = "shoal")]
    server: Kind,
    /// Plays an already built `shoal`, of an earlier commit for example, instead of this tree's.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Random choices follow from this; a new one each time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the run's folder (logs, the server's data).
    #[arg(long)]
    keep: bool,
    /// Only list the scenarios.
    #[arg(long)]
    list: bool,
    /// Where kernels and programs are kept.
    #[arg(long, env = "SHOAL_LAB_CACHE")]
    cache: Option<PathBuf>,
}

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

    fn fsx_bounds(&self) -> fsx::Bounds {
        let Self { minutes, operations, plant, .. } = *self;
        let weights = self.weights.clone();
        let scenarios = self.scenarios();
        let played = |scenario: &&&Scenario| {
            scenario.group == "fsx" && (scenario.needs == Needs::Mount || self.server.is_ours())
        };
        let arrangements = scenarios.iter().filter(played).count() as u64;
        fsx::Bounds { minutes, operations, plant, weights, arrangements }
    }

    fn releases(&self) -> Result<Vec<&'static Release>> {
        if self.kernel == "all" || self.groups.contains(&Group::Kernels) {
            return Ok(kernels::RELEASES.iter().collect());
        }
        self.kernel.split(',').map(kernels::release).collect()
    }

    fn scenarios(&self) -> Vec<&'static Scenario> {
        let tables = self.groups.iter().map(|group| match group {
            Group::Basic => basic::SCENARIOS,
            Group::Crash => crash::SCENARIOS,
            Group::DsFailover => ds_failover::SCENARIOS,
            Group::Degraded => degraded::SCENARIOS,
            Group::Failover => failover::SCENARIOS,
            Group::Drain => drain::SCENARIOS,
            Group::Rebalance => rebalance::SCENARIOS,
            Group::Ec => ec::SCENARIOS,
            Group::Stripes => stripes::SCENARIOS,
            Group::Fsx => fsx::SCENARIOS,
            Group::Programs => programs::SCENARIOS,
            Group::Shell => shell::SCENARIOS,
            Group::Posix => posix::SCENARIOS,
            Group::Long => long::SCENARIOS,
            Group::Kernels => &[],
        });
        let wanted = |scenario: &&Scenario| {
            let named = |name: &str| self.only.iter().any(|part| name.contains(part.as_str()));
            self.only.is_empty()
                || named(scenario.name)
                || shell::line_names(scenario).iter().any(|name| named(name))
        };
        tables.flatten().filter(wanted).collect()
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
