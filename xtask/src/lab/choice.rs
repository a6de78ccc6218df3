//! The choice on the command line: scenarios out of all groups, kernels, a server.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use super::failover::Fault;
use super::fsx::Bounds;
use super::kernels::{self, Release};
use super::scenario::{Needs, Scenario};
use super::server::Kind;
use super::{
    basic, crash, degraded, drain, ds_failover, ec, failover, fsx, long, posix, programs, rebalance, shell,
    stripes,
};
use crate::guest::Plant;

pub(super) const DEFAULT_KERNEL: &str = "7.2";

/// A group of scenarios, or something that is done instead of any.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Group {
    /// What an NFS client may expect of a file system, two clients and a failing server included.
    Basic,
    /// Everything killed at random moments under a verifying writer.
    Crash,
    /// A data server killed under fio, its disk lost as well.
    DsFailover,
    /// The metadata server that clients are mounted from killed, its disk lost, cut off, or
    /// stopped, under programs that hold locks.
    Failover,
    /// Data servers are emptied under a client that writes, removed and replaced.
    Drain,
    /// A sealed file is read while its primary and replicas are dead.
    Degraded,
    /// A data server is added under a client that writes, and gets its share.
    Rebalance,
    /// An export with stripes: which kernels get them, and a primary killed under them.
    Stripes,
    /// Files at rest are erasure-coded; two of six data servers lost with their disks, twice.
    Ec,
    /// Random operations compared with a model, in several arrangements.
    Fsx,
    /// Real programs on the mount.
    Programs,
    /// Small programs of every day, line by line, compared with their tables and with knfsd beside
    /// the server.
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
    pub(super) groups: Vec<Group>,
    /// 6.1, 6.12, 7.2 or all.
    #[arg(long, default_value = DEFAULT_KERNEL)]
    pub(super) kernel: String,
    /// How often the crash, ds-failover and failover scenarios kill.
    #[arg(long, default_value_t = 10)]
    pub(super) rounds: u32,
    /// Of the failover scenario: do only this in each round.
    #[arg(long, value_enum)]
    pub(super) fault: Option<Fault>,
    /// Of the group fsx: how long all its arrangements take together, 3 by default.
    #[arg(long)]
    pub(super) minutes: Option<u64>,
    /// Of the group fsx: so many operations at most in each arrangement.
    #[arg(long)]
    pub(super) operations: Option<u64>,
    /// Of the group fsx: how often a kind of operation is drawn, as `truncate=0,append=30`.
    #[arg(long, value_delimiter = ',')]
    pub(super) weights: Vec<String>,
    /// Of the group fsx: a lie of the model, which must be found.
    #[arg(long, value_enum)]
    pub(super) plant: Option<Plant>,
    /// Only scenarios, or lines of the group shell, whose name holds this; may be given again.
    #[arg(long)]
    pub(super) only: Vec<String>,
    /// Whose server.
    #[arg(long, value_enum, default_value = "shoal")]
    pub(super) server: Kind,
    /// Plays an already built `shoal`, of an earlier commit for example, instead of this tree's.
    #[arg(long)]
    pub(super) program: Option<PathBuf>,
    /// Random choices follow from this; a new one each time without it.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Keep the run's folder (logs, the server's data).
    #[arg(long)]
    pub(super) keep: bool,
    /// Only list the scenarios.
    #[arg(long)]
    pub(super) list: bool,
    /// Where kernels and programs are kept.
    #[arg(long, env = "SHOAL_LAB_CACHE")]
    pub(super) cache: Option<PathBuf>,
}

impl Lab {
    pub(super) fn fsx_bounds(&self) -> Bounds {
        let Self { minutes, operations, plant, .. } = *self;
        let weights = self.weights.clone();
        let scenarios = self.scenarios();
        let played = |scenario: &&&Scenario| {
            scenario.group == "fsx" && (scenario.needs == Needs::Mount || self.server.is_ours())
        };
        let arrangements = scenarios.iter().filter(played).count() as u64;
        Bounds { minutes, operations, plant, weights, arrangements }
    }

    pub(super) fn releases(&self) -> Result<Vec<&'static Release>> {
        if self.kernel == "all" || self.groups.contains(&Group::Kernels) {
            return Ok(kernels::RELEASES.iter().collect());
        }
        self.kernel.split(',').map(kernels::release).collect()
    }

    pub(super) fn scenarios(&self) -> Vec<&'static Scenario> {
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
