//! The server under test: ours, or a rival through the same scenarios, which is how the lab itself
//! is proved.
//!
//! Each answers NFSv4.2 at `network::SERVER`, port 2049, its root exported to everybody without
//! root squash, and keeps its data below the run's folder, on this machine's disk.

mod ganesha;
pub(in crate::lab) mod gluster;
pub(in crate::lab) mod knfsd;
pub(in crate::lab) mod ours;
pub(in crate::lab) mod replicas;
mod setup;
pub(in crate::lab) mod shoal;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::ganesha::Export;
pub(crate) use self::setup::Setup;
use self::shoal::Arrangement;
use super::metrics::Metrics;
use crate::process::workspace;

/// How a cluster is told to seal soon, so that scenarios do not wait for it for minutes.
const CODED: &str = "seal = \"on\"\nseal_idle_ms = 2000\nerasure_code = \"4+2\"\ngroup_wait_ms = 30000\nrepair_grace_ms = 5000\n";

/// The same for the bench: large writes are over before sealing begins, and what is lost is not
/// made again while it reads.
const CODED_CALM: &str = "seal = \"on\"\nseal_idle_ms = 20000\nerasure_code = \"4+2\"\ngroup_wait_ms = 30000\nrepair_grace_ms = 3600000\n";

/// The same with smaller groups, for a cluster that a data server is added to.
const CODED_SMALL: &str = "seal = \"on\"\nseal_idle_ms = 2000\nerasure_code = \"2+1\"\ngroup_wait_ms = 5000\nrepair_grace_ms = 5000\nrebalance = \"on\"\n";

/// A lease that a suite can wait out: the shortest one that pynfs takes. That is a program, whose
/// source ports are any.
const SHORT_LEASE: &str = "lease_seconds = 12\n[[export]]\npath = \"/\"\nsecure = false\n";
/// A cluster that seals what has rested for a second, into small groups, so that files are sealed
/// while they are in use.
const SEALING: &str = "seal = \"on\"\nseal_idle_ms = 1000\nerasure_code = \"2+1\"\ngroup_wait_ms = 1000\nrepair_grace_ms = 5000\n";

/// An export whose layouts may have four extents in a segment.
const STRIPED: &str = "[[export]]\npath = \"/\"\nstripes = 4\n";

/// Which server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// This project's: `shoal serve` with several data servers.
    Shoal,
    /// The same as four processes: `shoal mds` and three `shoal ds`.
    ShoalSplit,
    /// As `shoal-split`: new clusters have one shard (docs/admin/cluster.md).
    ShoalShards,
    /// `shoal serve` with each piece of data on one data server: as durable as servers that know no
    /// second copy.
    ShoalOneCopy,
    /// `shoal serve` with a lease of 12 s.
    ShoalShortLease,
    /// `shoal serve` with six data servers.
    ShoalSix,
    /// A metadata server and six data servers, a process each, that seal what rests for two seconds
    /// into 4+2 groups.
    ShoalCoded,
    /// The same, sealed when it has rested for 20 seconds, and nothing made again elsewhere: beside
    /// other erasure codes.
    ShoalEc,
    /// The same processes without sealing.
    ShoalUnsealed,
    /// A metadata server and three data servers that seal into 2+1 groups; a fourth one is started
    /// later.
    ShoalGrowing,
    /// A metadata server and four data servers, a process each, whose export has four stripes.
    ShoalStriped,
    /// `shoal serve` with four data servers that seal what rests for a second into 2+1 groups.
    ShoalSealing,
    /// `shoal serve` with each piece of data on three data servers.
    ShoalThreeCopies,
    /// Three metadata servers with a service address and three data servers, each in a network
    /// namespace of its own.
    ShoalReplicas,
    /// The kernel's server in a guest of its own, over ext4, with its flexible-files layouts on.
    Knfsd,
    /// The same without layouts.
    KnfsdPlain,
    /// nfs-ganesha over a folder (FSAL VFS), as it comes: a name that was made or removed is in
    /// memory when it is answered.
    Ganesha,
    /// The same over a folder whose names are durable when they are answered, as ours are: on an
    /// ext4 of its own, with a journal and the attribute `dirsync`.
    GaneshaDurable,
    /// GlusterFS disperse 4+2 over six bricks, by its FUSE client on this machine's own kernel. For
    /// the bench.
    GlusterEc,
    /// The same with the FUSE client in the guest. For the bench.
    GlusterEcGuest,
    /// The same volume by nfs-ganesha (FSAL GLUSTER) and NFSv4.1.
    GaneshaGlusterEc,
}

/// How a server is mounted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mounting {
    /// By the guest's NFS client, with this option `vers`.
    Nfs(&'static str),
    /// By GlusterFS's client in the guest.
    FuseInGuest,
    /// By GlusterFS's client on this machine.
    FuseHere,
}

impl Kind {
    /// What tables call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Shoal => "shoal",
            Self::ShoalSplit => "shoal-split",
            Self::ShoalShards => "shoal-shards",
            Self::ShoalOneCopy => "shoal-one-copy",
            Self::ShoalShortLease => "shoal-short-lease",
            Self::ShoalSix => "shoal-six",
            Self::ShoalCoded => "shoal-coded",
            Self::ShoalEc => "shoal-ec",
            Self::ShoalUnsealed => "shoal-unsealed",
            Self::ShoalGrowing => "shoal-growing",
            Self::ShoalStriped => "shoal-striped",
            Self::ShoalSealing => "shoal-sealing",
            Self::ShoalThreeCopies => "shoal-three-copies",
            Self::ShoalReplicas => "shoal-replicas",
            Self::Knfsd => "knfsd-pnfs",
            Self::KnfsdPlain => "knfsd",
            Self::Ganesha => "ganesha",
            Self::GaneshaDurable => "ganesha-durable",
            Self::GlusterEc => "gluster-ec",
            Self::GlusterEcGuest => "gluster-ec-guest",
            Self::GaneshaGlusterEc => "ganesha-gluster-ec",
        }
    }

    /// How clients reach it.
    pub(crate) fn mounting(self) -> Mounting {
        match self {
            Self::GlusterEc => Mounting::FuseHere,
            Self::GlusterEcGuest => Mounting::FuseInGuest,
            Self::GaneshaGlusterEc => Mounting::Nfs("4.1"),
            _ => Mounting::Nfs("4.2"),
        }
    }

    /// Whether it is this project's.
    pub(crate) fn is_ours(self) -> bool {
        self.arrangement().is_some() || self == Self::ShoalReplicas
    }

    /// How ours are arranged.
    fn arrangement(self) -> Option<Arrangement> {
        let whole = Arrangement::WHOLE;
        match self {
            Self::Shoal => Some(whole),
            Self::ShoalSplit => Some(Arrangement { split: true, ..whole }),
            Self::ShoalShards => Some(Arrangement { split: true, ..whole }),
            Self::ShoalOneCopy => Some(Arrangement { options: "hot_copies = 1", ..whole }),
            Self::ShoalShortLease => Some(Arrangement { options: SHORT_LEASE, ..whole }),
            Self::ShoalSix => Some(Arrangement { data_servers: 6, ..whole }),
            Self::ShoalCoded => Some(Arrangement { split: true, data_servers: 6, options: CODED, ..whole }),
            Self::ShoalEc => Some(Arrangement { split: true, data_servers: 6, options: CODED_CALM, ..whole }),
            Self::ShoalUnsealed => {
                Some(Arrangement { split: true, data_servers: 6, options: "seal = \"off\"", ..whole })
            }
            Self::ShoalGrowing => {
                Some(Arrangement { split: true, data_servers: 4, late: 1, options: CODED_SMALL })
            }
            Self::ShoalStriped => {
                Some(Arrangement { split: true, data_servers: 4, options: STRIPED, ..whole })
            }
            Self::ShoalSealing => Some(Arrangement { data_servers: 4, options: SEALING, ..whole }),
            Self::ShoalThreeCopies => Some(Arrangement { options: "hot_copies = 3", ..whole }),
            Self::ShoalReplicas
            | Self::Knfsd
            | Self::KnfsdPlain
            | Self::Ganesha
            | Self::GaneshaDurable
            | Self::GlusterEc
            | Self::GlusterEcGuest
            | Self::GaneshaGlusterEc => None,
        }
    }
}

/// A server that was started.
#[derive(Debug)]
pub(crate) enum Server {
    Shoal(shoal::Shoal),
    Replicas(replicas::Replicas),
    Knfsd(knfsd::Knfsd),
    Ganesha(ganesha::Ganesha),
    Gluster(gluster::Gluster),
    /// Between two servers: the old one's addresses must be free before the next takes them.
    Ended,
}

impl Server {
    /// Starts a server over an empty folder and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(kind: Kind, setup: Setup) -> Result<Self> {
        std::fs::create_dir_all(&setup.data)?;
        if let Some(arrangement) = kind.arrangement() {
            return shoal::Shoal::start(setup, arrangement).map(Self::Shoal);
        }
        Ok(match kind {
            Kind::ShoalReplicas => Self::Replicas(replicas::Replicas::start(setup)?),
            Kind::Knfsd => Self::Knfsd(knfsd::Knfsd::start(setup, true)?),
            Kind::KnfsdPlain => Self::Knfsd(knfsd::Knfsd::start(setup, false)?),
            Kind::Ganesha => Self::Ganesha(ganesha::Ganesha::start(setup, Export::Folder)?),
            Kind::GaneshaDurable => Self::Ganesha(ganesha::Ganesha::start(setup, Export::DurableFolder)?),
            Kind::GlusterEc | Kind::GlusterEcGuest => Self::Gluster(gluster::Gluster::start(setup, false)?),
            Kind::GaneshaGlusterEc => Self::Gluster(gluster::Gluster::start(setup, true)?),
            _ => bail!("{kind:?} is neither ours nor a rival"),
        })
    }

    /// Kills every process of the server with SIGKILL, at once.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Shoal(server) => server.kill(),
            Self::Replicas(server) => server.kill(),
            Self::Knfsd(server) => server.guest.kill(),
            Self::Ganesha(server) => server.kill(),
            Self::Gluster(server) => server.kill(),
            Self::Ended => {}
        }
    }

    /// Kills one of the servers that keep data, for as long as the cluster lives; numbers begin at
    /// 1.
    ///
    /// # Errors
    /// When it has no such server of its own.
    pub(crate) fn lose_data_server(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Shoal(server) => server.kill_data_server(number),
            Self::Gluster(server) => server.kill_brick(number)?,
            Self::Replicas(_) | Self::Knfsd(_) | Self::Ganesha(_) | Self::Ended => {
                bail!("this server has no data server to lose")
            }
        }
        Ok(())
    }

    /// Starts it again over what it had stored.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn resume(&mut self) -> Result<()> {
        match self {
            Self::Shoal(server) => server.resume(),
            Self::Replicas(server) => server.resume(),
            Self::Knfsd(server) => server.resume(),
            Self::Ganesha(server) => server.resume(),
            Self::Gluster(server) => server.resume(),
            Self::Ended => bail!("there is no server to resume"),
        }
    }

    /// Its counters, where it has any.
    ///
    /// # Errors
    /// When they cannot be had though it has them.
    pub(crate) fn metrics(&self) -> Result<Option<Metrics>> {
        match self {
            Self::Shoal(server) => server.metrics().map(Some),
            Self::Replicas(server) => server.metrics().map(Some),
            Self::Knfsd(_) | Self::Ganesha(_) | Self::Gluster(_) | Self::Ended => Ok(None),
        }
    }

    /// The addresses clients send file data to, apart from the server's own.
    pub(crate) fn data_addresses(&self) -> &'static [&'static str] {
        match self {
            Self::Shoal(server) => server.data_addresses(),
            Self::Replicas(_) => replicas::Replicas::data_addresses(),
            Self::Knfsd(_) | Self::Ganesha(_) | Self::Gluster(_) | Self::Ended => &[],
        }
    }

    /// The processes whose time and memory are the server's.
    pub(crate) fn processes(&self) -> Vec<u32> {
        match self {
            Self::Shoal(server) => server.process_ids(),
            Self::Replicas(server) => server.process_ids(),
            Self::Knfsd(server) => vec![server.guest.process_id()],
            Self::Ganesha(server) => server.process_id().into_iter().collect(),
            Self::Gluster(server) => server.process_ids(),
            Self::Ended => Vec::new(),
        }
    }

    /// Where its log is.
    pub(crate) fn log(&self) -> PathBuf {
        match self {
            Self::Shoal(server) => server.log(),
            Self::Replicas(server) => server.log(),
            Self::Knfsd(server) => server.log(),
            Self::Ganesha(server) => server.log(),
            Self::Gluster(server) => server.log(),
            Self::Ended => PathBuf::new(),
        }
    }

    /// Has the server forget what it holds in memory of the files (the machine's own page cache is
    /// another matter).
    ///
    /// # Errors
    /// When the guest it runs in refuses.
    pub(crate) fn drop_caches(&self) -> Result<()> {
        if let Self::Knfsd(server) = self {
            server.guest.run("sync; echo 3 >/proc/sys/vm/drop_caches")?;
        }
        Ok(())
    }
}

/// Builds the program under test.
///
/// # Errors
/// When it does not compile.
pub(crate) fn build_shoal() -> Result<()> {
    let mut cargo = Command::new("cargo");
    crate::process::run_command(
        cargo.args(["build", "--release", "--quiet", "--package", "shoal"]).current_dir(workspace()),
    )
}

/// Where the program under test is: in a run, the run's own copy.
pub(crate) fn shoal_program() -> PathBuf {
    if let Some(copy) = super::sandbox::served() {
        return copy;
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("release/shoal")
}
