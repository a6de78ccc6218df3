//! Flags of `shoal admin` and `shoal inspect`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const STATUS_EXAMPLES: &str = "\
Examples:
  shoal admin status
  shoal admin status --at 10.0.0.2:9049 --watch=5
  shoal admin status --json | jq .extents_degraded";

const HEALTH_EXAMPLES: &str = "\
Example:
  shoal admin health --at 10.0.0.1:9049 || echo 'page the person on call'";

const EXPORTS_EXAMPLES: &str = "\
Example:
  shoal admin exports";

const EXPORTS_SET_EXAMPLES: &str = "\
Example:
  shoal admin exports set --config /etc/shoal.toml --control 10.0.0.1:2050,10.0.0.2:2050 --cluster-key /etc/shoal.key";

const REBALANCE_EXAMPLES: &str = "\
Example:
  shoal admin rebalance --dry-run";

const VERIFY_EXAMPLES: &str = "\
Example:
  shoal admin verify /projects/run-7.h5";

const DS_LIST_EXAMPLES: &str = "\
Examples:
  shoal admin ds list
  shoal admin ds list --json | jq '.data_servers[] | select(.up | not) | .name'";

const DS_DRAIN_EXAMPLES: &str = "\
Example:
  shoal admin ds drain 3";

const DS_UNDRAIN_EXAMPLES: &str = "\
Example:
  shoal admin ds undrain 3";

const DS_REMOVE_EXAMPLES: &str = "\
Example:
  shoal admin ds remove 3";

const READMIT_EXAMPLES: &str = "\
Example:
  shoal admin mds readmit 2 --control 10.0.0.1:2050,10.0.0.3:2050 --cluster-key /etc/shoal.key";

const KEY_DERIVE_EXAMPLES: &str = "\
Examples:
  shoal admin key derive --role data-server --name rack1-a --out rack1-a.key --cluster-key /etc/shoal.key
  shoal admin key derive --role administrator --out admin.key --cluster-key /etc/shoal.key";

const KEY_SHOW_EXAMPLES: &str = "\
Example:
  shoal admin key show --cluster-key /etc/shoal.key";

const KEY_ROTATE_CLUSTER_EXAMPLES: &str = "\
Example, each time with the file copied to all nodes before the next:
  shoal admin key rotate cluster --step accept --cluster-key /etc/shoal.key
  shoal admin key rotate cluster --step use --cluster-key /etc/shoal.key
  shoal admin key rotate cluster --step drop --cluster-key /etc/shoal.key";

const KEY_ROTATE_HANDLES_EXAMPLES: &str = "\
Example:
  shoal admin key rotate handles --cluster-key /etc/shoal.key";

const JOURNAL_EXAMPLES: &str = "\
Example:
  shoal inspect journal shoal-data/ds/1/journal --last 20";

const IMAGE_EXAMPLES: &str = "\
Example:
  shoal inspect image shoal-data/ds/1/images/00/0011223344556677-8899aabbccddeeff.img";

const RAFT_LOG_EXAMPLES: &str = "\
Example:
  shoal inspect raft-log shoal-data/mds/1/log --last 20";

const NAMESPACE_EXAMPLES: &str = "\
Example:
  shoal inspect namespace shoal-data/mds/1/state.redb --prefix dirent/1/";

#[derive(Args, Debug)]
pub(crate) struct Admin {
    /// Metrics address of a metadata server: for what is only looked at.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9049", global = true)]
    pub(crate) at: SocketAddr,
    /// Control address of a metadata server, or of several: for `verify` and what changes
    /// something.
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
    /// Print one JSON document, as docs/json.md describes it.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) what: AdminCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminCommand {
    /// Metadata replicas, clients, layouts, data servers, space: as the leader knows them,
    /// whichever replica is asked.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(AdminStatus),
    /// Whether everything is kept as promised. Exit code 1, and what is not, if something is kept
    /// with too few copies, is not served, is bad on disk, or a server is down.
    #[command(after_help = HEALTH_EXAMPLES)]
    Health,
    /// What may be mounted, and how.
    #[command(after_help = EXPORTS_EXAMPLES)]
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
    /// Key files for hosts that are to be one kind of node only; replacing keys.
    #[command(subcommand)]
    Key(AdminKey),
    /// Move data until each data server has its share of it.
    #[command(after_help = REBALANCE_EXAMPLES)]
    Rebalance {
        /// Only say what would be moved.
        #[arg(long)]
        dry_run: bool,
    },
    /// Where each extent of a file is, and how many losses it survives.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        /// Path from the root of the file system, such as /a/b.
        path: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct AdminStatus {
    /// Print it again and again, every 2 seconds or as often as this says, until Ctrl-C. With
    /// --json: one document a line.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub(crate) watch: Option<u32>,
    /// What the replica that is asked knows by itself, whether it leads or not.
    #[arg(long)]
    pub(crate) own: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminDs {
    /// Each data server with its name, address, state and space.
    #[command(after_help = DS_LIST_EXAMPLES)]
    List,
    /// Move everything away from a data server, with clients running; `ds list` says how much is
    /// left.
    #[command(after_help = DS_DRAIN_EXAMPLES)]
    Drain {
        /// Its number.
        id: u32,
    },
    /// Let a data server keep what it has, and give it new data again.
    #[command(after_help = DS_UNDRAIN_EXAMPLES)]
    Undrain {
        /// Its number.
        id: u32,
    },
    /// Forget a data server that is gone for good. Refused while it runs or holds something.
    #[command(after_help = DS_REMOVE_EXAMPLES)]
    Remove {
        /// Its number.
        id: u32,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminExports {
    /// Each export with its number, its options, and the command that mounts it. What `exports`
    /// alone does.
    List,
    /// Have the cluster export what the `[[export]]` tables of a configuration file say, and
    /// nothing else: at all metadata servers, at once. Handles of what is exported no longer are
    /// stale.
    #[command(after_help = EXPORTS_SET_EXAMPLES)]
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
    /// Take a metadata server in again that lost its disk and runs under the same number with an
    /// empty directory. Ends when it has everything.
    #[command(after_help = READMIT_EXAMPLES)]
    Readmit {
        /// Its number: --id of `shoal mds`.
        id: u64,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminKey {
    /// Write a key file with which a host can be one data server, or an administrator, and nothing
    /// else. Derived from the whole cluster key in --cluster-key; no server is asked.
    #[command(after_help = KEY_DERIVE_EXAMPLES)]
    Derive {
        /// What its holder can be.
        #[arg(long, value_enum)]
        role: KeyRole,
        /// The data server's name: --name of `shoal ds`.
        #[arg(
            long,
            value_name = "NAME",
            value_parser = super::parse_place,
            required_if_eq("role", "data-server")
        )]
        name: Option<String>,
        /// The file to make; readable by its owner only.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Which keys the file in --cluster-key has: their role and fingerprints, never the keys.
    #[command(after_help = KEY_SHOW_EXAMPLES)]
    Show,
    /// Have a key replaced, beside clients at work.
    #[command(subcommand)]
    Rotate(AdminRotate),
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminRotate {
    /// The key of the handles with which clients go to data servers. Data servers learn the new
    /// one, layouts that were given out with the one before are recalled, and then it is good no
    /// more. Waits until that is done, and goes on by itself if this command is ended.
    #[command(after_help = KEY_ROTATE_HANDLES_EXAMPLES)]
    Handles,
    /// The cluster key, in three steps. Each changes the file in --cluster-key and nothing else;
    /// put it on all nodes before the next. Servers read their file again by themselves and show
    /// what they hold as `shoal_cluster_key_info`.
    #[command(after_help = KEY_ROTATE_CLUSTER_EXAMPLES)]
    Cluster {
        /// What is to be done.
        #[arg(long, value_enum)]
        step: KeyStep,
    },
}

/// A step of replacing the cluster key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyStep {
    /// First: make a new key, which is accepted besides the one in use.
    Accept,
    /// When all nodes accept the new key: use it, and accept the one before.
    Use,
    /// When all nodes use the new key: hold it alone. Nodes close connections under the one before.
    Drop,
}

/// What the holder of a key can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyRole {
    /// The data server with a name.
    DataServer,
    /// An administrator: `shoal admin`.
    Administrator,
}

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Print JSON, one document a line, as docs/json.md describes it.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) what: InspectCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum InspectCommand {
    /// The records of a data server's journal.
    #[command(after_help = JOURNAL_EXAMPLES)]
    Journal(InspectLog),
    /// The parts and frames of a sealed image.
    #[command(after_help = IMAGE_EXAMPLES)]
    Image(InspectImage),
    /// The entries of a metadata server's Raft log.
    #[command(after_help = RAFT_LOG_EXAMPLES)]
    RaftLog(InspectLog),
    /// The keys and values of a metadata store.
    #[command(after_help = NAMESPACE_EXAMPLES)]
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
    /// The store's file, such as DIR/mds/1/state.redb, or DIR/shard-0001/state.redb of a further
    /// shard.
    pub(crate) file: PathBuf,
    /// Print only keys that begin with this, for example `inode/` or `dirent/1/`.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub(crate) prefix: String,
}
