//! The command line: every flag of every command, with the words a stranger reads in `--help`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use env::ServiceAddress;

/// MiB per second that are sealed unless somebody says otherwise.
const SEAL_MIB_PER_S: u32 = 32;
const SCRUB_DAYS: u32 = 7;
const SCRUB_MIB_PER_S: u32 = 20;

const EXAMPLES: &str = "\
Examples:
  shoal serve                                a cluster on this machine, data in ./shoal-data
  sudo mount -t nfs4 -o vers=4.2 127.0.0.1:/ /mnt
  shoal serve --ip 10.0.0.5 --dir /srv/shoal for other machines to mount
  shoal admin status                         how the cluster is
  shoal admin ds list                        each data server";

/// Storage that an untouched Linux machine mounts with `mount -t nfs4` and reads and writes in parallel.
#[derive(Parser, Debug)]
#[command(name = "shoal", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,mds_server=debug`.
    #[arg(long, global = true, env = "SHOAL_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a whole cluster in one process: metadata server and data servers, with defaults that need no file.
    Serve(Serve),
    /// Run one metadata server.
    Mds(Mds),
    /// Takes the service addresses of the process that started it away when that ends.
    #[command(hide = true)]
    MdsGuard(MdsGuard),
    /// Run one data server.
    Ds(Ds),
    /// Ask a running cluster, or have it changed.
    Admin(Admin),
    /// Print what is on a disk, readably. Nothing is changed; the server that owns it should be stopped.
    Inspect(Inspect),
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where all data lives. Made on the first start, found again on the next.
    #[arg(long, value_name = "DIR", default_value = "shoal-data")]
    pub(crate) dir: PathBuf,
    /// Address to serve on; the one clients mount.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) ip: IpAddr,
    /// NFSv4 port of the metadata server. This and the other ports but --metrics-port may be 0: a free one is taken.
    #[arg(long, value_name = "PORT", default_value_t = 2049)]
    pub(crate) port: u16,
    /// Number of data servers. Default: as many as the directory has, or as --ds-ip names, or 6. More may be added on
    /// a later start, fewer not.
    #[arg(long, value_name = "N")]
    pub(crate) ds: Option<u16>,
    /// Addresses of the data servers, one each. Without it all use --ip and ports from --ds-port upwards.
    #[arg(long, value_name = "ADDRESS,..", value_delimiter = ',')]
    pub(crate) ds_ip: Vec<IpAddr>,
    /// NFSv3 port of the data servers (the first one, if they share an address). Control ports are 100 higher.
    #[arg(long, value_name = "PORT", default_value_t = 3049)]
    pub(crate) ds_port: u16,
    /// Port on which the metadata server listens for data servers.
    #[arg(long, value_name = "PORT", default_value_t = 2050)]
    pub(crate) control_port: u16,
    /// Port of metrics, health and `shoal admin`, on the address of --ip; 0 turns it off.
    #[arg(long, value_name = "PORT", default_value_t = 9049)]
    pub(crate) metrics_port: u16,
    /// Bytes each data server may hold, for example 20G. Default: an equal share of 90 % of the disk's free space.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) capacity: Option<u64>,
    /// Metadata replicas: 1 or 3. Fixed when the directory is made; 1 unless told otherwise.
    #[arg(long, value_name = "N", value_parser = parse_replicas)]
    pub(crate) replicas: Option<u8>,
    /// Configuration file (TOML). Every key is optional.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Open data servers although their disk has lost or damaged records that were durable. What was in them reads as
    /// older data or zeros.
    #[arg(long)]
    pub(crate) accept_damage: bool,
    /// How to reach the disk.
    #[arg(long, value_enum, default_value_t = DiskPreference::Auto)]
    pub(crate) disk: DiskPreference,
}

#[derive(Args, Debug)]
pub(crate) struct Mds {
    /// Where the metadata lives.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// NFSv4 address and port.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:2049")]
    pub(crate) listen: SocketAddr,
    /// Address and port on which data servers register.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:2050")]
    pub(crate) control: SocketAddr,
    /// Address and port of metrics, health and `shoal admin`.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9049")]
    pub(crate) metrics: SocketAddr,
    /// File with the cluster key: 64 hex digits, the same on every node. Made if it does not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_key: PathBuf,
    /// This replica's number, from 1.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) id: u64,
    /// Where all replicas, this one included, talk to each other, as `1=IP:PORT,2=IP:PORT,3=IP:PORT`: a port of its own,
    /// the same list on each. Fixed when the first starts. Without it this is the only one. With --join: this replica's alone.
    #[arg(long, value_name = "N=IP:PORT,..", value_delimiter = ',', value_parser = parse_member)]
    pub(crate) members: Vec<(u64, SocketAddr)>,
    /// Joins a cluster of several replicas that runs: where some of them talk to each other, as in their --members. Shards move to this one
    /// by themselves. To be kept for later starts.
    #[arg(long, value_name = "IP:PORT,..", value_delimiter = ',', requires = "members")]
    pub(crate) join: Vec<SocketAddr>,
    /// Control addresses of all replicas, as `1=IP:PORT,2=IP:PORT,3=IP:PORT`: data servers and `shoal admin` that ask one which does
    /// not lead are told where to go. Without it they try the others in turn.
    #[arg(long, value_name = "N=IP:PORT,..", value_delimiter = ',', value_parser = parse_member)]
    pub(crate) controls: Vec<(u64, SocketAddr)>,
    /// Shards of the cluster, the same number on each replica. Fixed when the cluster is made; without it as many as it was made with, and
    /// one for a new cluster. Directories are spread over them by hash.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shards: Option<u32>,
    /// Milliseconds after which a shard without anything to do hibernates; 0: never.
    #[arg(long, value_name = "MS", default_value_t = mds_shard::limits::HIBERNATE_MS_DEFAULT)]
    pub(crate) hibernate_ms: u64,
    /// Addresses that clients mount, as ADDRESS/BITS, the same on each replica: the one that leads has them. Needs CAP_NET_ADMIN and
    /// CAP_NET_RAW. In the configuration file: service_addresses.
    #[arg(long, value_name = "IP/BITS,..", value_delimiter = ',')]
    pub(crate) service_address: Vec<ServiceAddress>,
    /// Network interface of the service addresses. Without it the one that has another address in their network.
    #[arg(long, value_name = "NAME")]
    pub(crate) service_interface: Option<String>,
    /// Configuration file (TOML). Every key is optional. Of several replicas the first one says what a new cluster exports; afterwards
    /// `shoal admin exports set` does.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How to reach the disk.
    #[arg(long, value_enum, default_value_t = DiskPreference::Auto)]
    pub(crate) disk: DiskPreference,
}

#[derive(Args, Debug)]
pub(crate) struct MdsGuard {
    /// As of `shoal mds`.
    #[arg(long, value_name = "IP/BITS,..", value_delimiter = ',', required = true)]
    pub(crate) service_address: Vec<ServiceAddress>,
    /// As of `shoal mds`.
    #[arg(long, value_name = "NAME")]
    pub(crate) service_interface: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Ds {
    /// Where the data lives.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// NFSv3 address and port; clients must reach it as it stands here.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: SocketAddr,
    /// Address and port on which the metadata server reaches this data server.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) control: SocketAddr,
    /// Control address of each metadata server.
    #[arg(long, value_name = "IP:PORT,..", value_delimiter = ',', required = true)]
    pub(crate) mds: Vec<SocketAddr>,
    /// Address and port of metrics and health.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// File with the cluster key: a copy of the metadata server's.
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_key: PathBuf,
    /// Bytes it may hold, for example 2T. Default: 90 % of the disk's free space.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) capacity: Option<u64>,
    /// MiB per second of data that rests which are sealed while no client waits; a quarter of it otherwise.
    #[arg(long, value_name = "MIB", default_value_t = SEAL_MIB_PER_S, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) seal_mib_per_s: u32,
    /// MiB per second of images of lost data servers that are made again here; 0: as fast as it goes.
    #[arg(long, value_name = "MIB", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub(crate) repair_mib_per_s: u32,
    /// Days in which all data are read once and compared with their checksums; 0: never.
    #[arg(long, value_name = "DAYS", default_value_t = SCRUB_DAYS, value_parser = clap::value_parser!(u32).range(0..=3_650))]
    pub(crate) scrub_days: u32,
    /// MiB per second that are read for that at most; a quarter of it while clients wait.
    #[arg(long, value_name = "MIB", default_value_t = SCRUB_MIB_PER_S, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) scrub_mib_per_s: u32,
    /// Zone it stands in (a building, a power supply). Copies of data are kept in different zones where there are some.
    #[arg(long, value_name = "NAME", value_parser = parse_place)]
    pub(crate) zone: Option<String>,
    /// Rack it stands in.
    #[arg(long, value_name = "NAME", value_parser = parse_place)]
    pub(crate) rack: Option<String>,
    /// Machine it runs on. Default: this machine's name.
    #[arg(long, value_name = "NAME", value_parser = parse_place)]
    pub(crate) host: Option<String>,
    /// Open data servers although their disk has lost or damaged records that were durable. What was in them reads as
    /// older data or zeros.
    #[arg(long)]
    pub(crate) accept_damage: bool,
    /// How to reach the disk.
    #[arg(long, value_enum, default_value_t = DiskPreference::Auto)]
    pub(crate) disk: DiskPreference,
}

/// A name of a zone, rack or host: what the control protocol carries.
fn parse_place(text: &str) -> Result<String, String> {
    let most = wire_nfs::control::limits::DOMAIN_BYTES_MAX;
    let fits = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(format!("expected 1 to {most} letters, digits or signs")) }
}

/// How to reach a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskPreference {
    /// io_uring where the kernel allows it, else threads.
    Auto,
    /// io_uring, or refuse to start.
    Uring,
    /// A pool of threads.
    Blocking,
}

#[derive(Args, Debug)]
pub(crate) struct Admin {
    /// Metrics address of a metadata server: for what is only looked at.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9049", global = true)]
    pub(crate) at: SocketAddr,
    /// Control address of a metadata server, or of several: for `verify` and what changes something.
    #[arg(
        long,
        value_name = "IP:PORT,..",
        value_delimiter = ',',
        default_value = "127.0.0.1:2050",
        global = true
    )]
    pub(crate) control: Vec<SocketAddr>,
    /// File with the cluster key: for `verify` and what changes something.
    #[arg(long, value_name = "FILE", default_value = "shoal-data/cluster.key", global = true)]
    pub(crate) cluster_key: PathBuf,
    #[command(subcommand)]
    pub(crate) what: AdminCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminCommand {
    /// Metadata replicas, clients, layouts, data servers, space.
    Status,
    /// What may be mounted, and how.
    Exports {
        #[command(subcommand)]
        what: Option<AdminExports>,
    },
    /// Data servers.
    #[command(subcommand)]
    Ds(AdminDs),
    /// Metadata servers.
    #[command(subcommand)]
    Mds(AdminMds),
    /// Move data until each data server has its share of it.
    Rebalance {
        /// Only say what would be moved.
        #[arg(long)]
        dry_run: bool,
    },
    /// Where each extent of a file is, and how many losses it survives.
    Verify {
        /// Path from the root of the file system, such as /a/b.
        path: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminDs {
    /// Each data server with its address, state and space.
    List,
    /// Move everything away from a data server, with clients running; `ds list` says how much is left.
    Drain {
        /// Its number.
        id: u32,
    },
    /// Let a data server keep what it has, and give it new data again.
    Undrain {
        /// Its number.
        id: u32,
    },
    /// Forget a data server that is gone for good. Refused while it runs or holds something.
    Remove {
        /// Its number.
        id: u32,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminExports {
    /// Each export with its number, its options, and the command that mounts it. What `exports` alone does.
    List,
    /// Have the cluster export what the `[[export]]` tables of a configuration file say, and nothing else: at all metadata servers, at once.
    /// Handles of what is exported no longer are stale.
    Set {
        /// Configuration file (TOML). Nothing but its exports is used; without any, / is exported.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Only if this version is in force; `admin status` shows it.
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminMds {
    /// Take a metadata server in again that lost its disk and runs under the same number with an empty directory. Ends when it has
    /// everything.
    Readmit {
        /// Its number: --id of `shoal mds`.
        id: u64,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[command(subcommand)]
    pub(crate) what: InspectCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum InspectCommand {
    /// The records of a data server's journal.
    Journal(InspectLog),
    /// The parts and frames of a sealed image.
    Image(InspectImage),
    /// The entries of a metadata server's Raft log.
    RaftLog(InspectLog),
    /// The keys and values of a metadata store.
    Namespace(InspectNamespace),
}

#[derive(Args, Debug)]
pub(crate) struct InspectLog {
    /// Folder with the segment files, such as DIR/ds/1/journal or DIR/mds/1/log.
    pub(crate) dir: PathBuf,
    /// Print only the last N records.
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct InspectImage {
    /// The image's file, ID.img.
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct InspectNamespace {
    /// The store's file, such as DIR/mds/1/state.redb, or DIR/shard-0001/state.redb of a further shard.
    pub(crate) file: PathBuf,
    /// Print only keys that begin with this, for example `inode/` or `dirent/1/`.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub(crate) prefix: String,
}

fn parse_replicas(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("expected 1 or 3".to_owned()),
    }
}

fn parse_member(text: &str) -> Result<(u64, SocketAddr), String> {
    let (id, address) = text.split_once('=').ok_or("expected N=IP:PORT, for example 1=10.0.0.1:2051")?;
    let id = id.parse().map_err(|_| format!("`{id}` is not a replica number"))?;
    let address = address.parse().map_err(|_| format!("`{address}` is not IP:PORT"))?;
    Ok((id, address))
}

/// Bytes with an optional suffix K, M, G or T (powers of 1024).
fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; expected for example 500M, 20G or 2T");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_take_suffixes() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("20G"), Ok(20 << 30));
        assert_eq!(parse_bytes("1KiB"), Ok(1024));
        for bad in ["", "G", "1.5G", "-1", "20X", "99999999999T"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
