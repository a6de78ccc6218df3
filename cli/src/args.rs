//! The command line: every flag of every command, with the words a stranger reads in `--help`.

mod admin;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use env::ServiceAddress;

pub(crate) use admin::{
    Admin, AdminCommand, AdminDs, AdminExports, AdminKey, AdminMds, AdminRotate, AdminStatus, Inspect,
    InspectCommand, InspectLog, KeyRole, KeyStep,
};
#[cfg(test)]
pub(crate) use admin::{InspectImage, InspectNamespace};

/// MiB per second that are sealed by default.
const SEAL_MIB_PER_S: u32 = 32;
const SCRUB_DAYS: u32 = 7;
const SCRUB_MIB_PER_S: u32 = 20;

const EXAMPLES: &str = "\
Examples:
  shoal serve                                a cluster on this machine, data in ./shoal-data
  sudo mount -t nfs4 -o vers=4.2 127.0.0.1:/ /mnt
  shoal serve --ip 10.0.0.5 --dir /srv/shoal for other machines to mount
  shoal admin status                         how the cluster is
  shoal admin health                         whether all is kept as promised: exit code 0 or 1
  shoal check-config shoal.toml              every fault of a configuration file
  shoal admin ds list                        each data server";

const MDS_EXAMPLES: &str = "\
Example, one metadata server:
  shoal mds --dir /srv/shoal/mds --listen 10.0.0.1:2049 --control 10.0.0.1:2050 --cluster-key /etc/shoal.key";

const DS_EXAMPLES: &str = "\
Example:
  shoal ds --dir /srv/shoal/ds --listen 10.0.0.2:3049 --control 10.0.0.2:3149 --mds 10.0.0.1:2050 --cluster-key /etc/shoal.key";

const SERVE_EXAMPLES: &str = "\
Examples:
  shoal serve
  shoal serve --dir /srv/shoal --ip 10.0.0.5 --ds 3";

const CHECK_EXAMPLES: &str = "\
Example:
  shoal check-config /etc/shoal.toml && systemctl restart shoal-mds";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  shoal completions bash > /etc/bash_completion.d/shoal
  shoal completions zsh > ~/.zfunc/_shoal";

const MAN_EXAMPLES: &str = "\
Examples:
  shoal man | man -l -
  shoal man --dir /usr/local/share/man/man1";

/// Storage that an untouched Linux machine mounts with `mount -t nfs4` and reads and writes in
/// parallel.
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
    /// Run a whole cluster in one process: metadata server and data servers, with defaults that
    /// need no file.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Run one metadata server.
    #[command(after_help = MDS_EXAMPLES)]
    Mds(Mds),
    /// Takes the service addresses of the process that started it away when that ends.
    #[command(hide = true)]
    MdsGuard(MdsGuard),
    /// Run one data server.
    #[command(after_help = DS_EXAMPLES)]
    Ds(Ds),
    /// Ask a running cluster, or have it changed.
    Admin(Admin),
    /// Print what is on a disk, readably. Nothing is changed; the server that owns it should be
    /// stopped.
    Inspect(Inspect),
    /// Check a configuration file and name every fault of it. Exit code 1 if there is one.
    #[command(after_help = CHECK_EXAMPLES)]
    CheckConfig(CheckConfig),
    /// Print what a shell needs to complete commands and flags.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands into a directory.
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Directory for one page for each command, such as /usr/local/share/man/man1.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct CheckConfig {
    /// The file (TOML).
    pub(crate) file: PathBuf,
    /// Print one JSON document, as docs/json.md describes it.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where all data lives. Made on the first start, found again on the next.
    #[arg(long, value_name = "DIR", default_value = "shoal-data")]
    pub(crate) dir: PathBuf,
    /// Address to serve on; the one clients mount.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) ip: IpAddr,
    /// NFSv4 port of the metadata server. This and the other ports but --metrics-port may be 0: a
    /// free one is taken.
    #[arg(long, value_name = "PORT", default_value_t = 2049)]
    pub(crate) port: u16,
    /// Number of data servers. Default: as many as the directory has, or as --ds-ip names, or 6.
    /// More may be added on a later start, fewer not.
    #[arg(long, value_name = "N")]
    pub(crate) ds: Option<u16>,
    /// Addresses of the data servers, one each. Without it all use --ip and ports from --ds-port
    /// upwards.
    #[arg(long, value_name = "ADDRESS,..", value_delimiter = ',')]
    pub(crate) ds_ip: Vec<IpAddr>,
    /// NFSv3 port of the data servers (the first one, if they share an address). Control ports are
    /// 100 higher.
    #[arg(long, value_name = "PORT", default_value_t = 3049)]
    pub(crate) ds_port: u16,
    /// Port on which the metadata server listens for data servers.
    #[arg(long, value_name = "PORT", default_value_t = 2050)]
    pub(crate) control_port: u16,
    /// Port of metrics, health and `shoal admin`, on the address of --ip; 0 turns it off.
    #[arg(long, value_name = "PORT", default_value_t = 9049)]
    pub(crate) metrics_port: u16,
    /// Bytes each data server may hold, for example 20G. Default: an equal share of 90 % of the
    /// disk's free space.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) capacity: Option<u64>,
    /// Metadata replicas: 1 or 3. Fixed when the directory is made; 1 unless told otherwise.
    #[arg(long, value_name = "N", value_parser = parse_replicas)]
    pub(crate) replicas: Option<u8>,
    /// Configuration file (TOML). Every key is optional.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Open data servers although their disk has lost or damaged records that were durable. What
    /// was in them reads as older data or zeros.
    #[arg(long)]
    pub(crate) accept_damage: bool,
    /// Starts although the log of the metadata server is gone, and what was changed last with it.
    /// FILE_SYSTEM is the identity that the refusal names. To be used once.
    #[arg(long, value_name = "FILE_SYSTEM", value_parser = parse_identity)]
    pub(crate) accept_log_loss: Option<[u8; 16]>,
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
    /// Where all replicas, this one included, talk to each other, as
    /// `1=IP:PORT,2=IP:PORT,3=IP:PORT`: a port of its own, the same list on each. Fixed when the
    /// first starts. Without it this is the only one. With --join: this replica's alone.
    #[arg(long, value_name = "N=IP:PORT,..", value_delimiter = ',', value_parser = parse_member)]
    pub(crate) members: Vec<(u64, SocketAddr)>,
    /// Joins a cluster of several replicas that runs: where some of them talk to each other, as in
    /// their --members. Shards move to this one by themselves. To be kept for later starts.
    #[arg(long, value_name = "IP:PORT,..", value_delimiter = ',', requires = "members")]
    pub(crate) join: Vec<SocketAddr>,
    /// Control addresses of all replicas, as `1=IP:PORT,2=IP:PORT,3=IP:PORT`: data servers and
    /// `shoal admin` that ask one which does not lead are told where to go. Without it they try the
    /// others in turn.
    #[arg(long, value_name = "N=IP:PORT,..", value_delimiter = ',', value_parser = parse_member)]
    pub(crate) controls: Vec<(u64, SocketAddr)>,
    /// Shards of the cluster, as it was made with. More than one is refused for a new cluster
    /// (docs/admin/cluster.md).
    #[arg(long, hide = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) shards: Option<u32>,
    /// Milliseconds after which a shard without anything to do hibernates; 0: never.
    #[arg(long, value_name = "MS", default_value_t = mds_raft::limits::HIBERNATE_MS_DEFAULT)]
    pub(crate) hibernate_ms: u64,
    /// Starts although the log of the metadata server is gone, and what was changed last with it.
    /// FILE_SYSTEM is the identity that the refusal names. To be used once.
    #[arg(long, value_name = "FILE_SYSTEM", value_parser = parse_identity)]
    pub(crate) accept_log_loss: Option<[u8; 16]>,
    /// Addresses that clients mount, as ADDRESS/BITS, the same on each replica: the one that leads
    /// has them. Needs CAP_NET_ADMIN and CAP_NET_RAW. In the configuration file: service_addresses.
    #[arg(long, value_name = "IP/BITS,..", value_delimiter = ',')]
    pub(crate) service_address: Vec<ServiceAddress>,
    /// Network interface of the service addresses. Without it the one that has another address in
    /// their network.
    #[arg(long, value_name = "NAME")]
    pub(crate) service_interface: Option<String>,
    /// Configuration file (TOML). Every key is optional. Of several replicas the first one says
    /// what a new cluster exports; afterwards `shoal admin exports set` does.
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
    /// MiB per second of data that rests which are sealed while no client waits; a quarter of it
    /// otherwise.
    #[arg(long, value_name = "MIB", default_value_t = SEAL_MIB_PER_S, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) seal_mib_per_s: u32,
    /// MiB per second of images of lost data servers that are made again here; 0: as fast as it
    /// goes.
    #[arg(long, value_name = "MIB", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub(crate) repair_mib_per_s: u32,
    /// Days in which all data are read once and compared with their checksums; 0: never.
    #[arg(long, value_name = "DAYS", default_value_t = SCRUB_DAYS, value_parser = clap::value_parser!(u32).range(0..=3_650))]
    pub(crate) scrub_days: u32,
    /// MiB per second that are read for that at most; a quarter of it while clients wait.
    #[arg(long, value_name = "MIB", default_value_t = SCRUB_MIB_PER_S, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) scrub_mib_per_s: u32,
    /// Zone it stands in (a building, a power supply). Copies of data are kept in different zones
    /// where there are some.
    #[arg(long, value_name = "NAME", value_parser = parse_place)]
    pub(crate) zone: Option<String>,
    /// Rack it stands in.
    #[arg(long, value_name = "NAME", value_parser = parse_place)]
    pub(crate) rack: Option<String>,
    /// Machine it runs on. Default: this machine's name.
    #[arg(long, value_name = "NAME", value_parser = parse_place)]
    pub(crate) host: Option<String>,
    /// What people call it: lists show it. Default: its host.
    #[arg(long, value_name = "NAME", value_parser = parse_place)]
    pub(crate) name: Option<String>,
    /// Open data servers although their disk has lost or damaged records that were durable. What
    /// was in them reads as older data or zeros.
    #[arg(long)]
    pub(crate) accept_damage: bool,
    /// How to reach the disk.
    #[arg(long, value_enum, default_value_t = DiskPreference::Auto)]
    pub(crate) disk: DiskPreference,
}

/// A name of a zone, rack, host or data server: what the control protocol carries.
pub(crate) fn parse_place(text: &str) -> Result<String, String> {
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

fn parse_replicas(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("expected 1 or 3".to_owned()),
    }
}

/// The identity of a file system: 32 hexadecimal digits.
fn parse_identity(text: &str) -> Result<[u8; 16], String> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
    number.map(u128::to_be_bytes).ok_or_else(|| "expected 32 hexadecimal digits".to_owned())
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
