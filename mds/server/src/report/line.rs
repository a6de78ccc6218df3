//! The values of a report: the cluster, its replicas, shards, exports and data servers.
//!
//! INVARIANT: the names of the fields are those of docs/json.md; a field is added, never renamed.

use serde::{Deserialize, Serialize};
use wire_nfs::control::heartbeat::{SCRUB_OFF, Usage};

/// The state of a cluster, as a metadata server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Identity of the file system, hexadecimal.
    pub file_system: String,
    /// Number of the replica whose report this is: the leader's, unless it is said otherwise.
    pub node: u64,
    /// Number of the replica that was asked.
    pub asked: u64,
    /// Number of the leading replica, if known.
    pub leader: Option<u64>,
    /// All replicas.
    pub replicas: Vec<ReplicaLine>,
    /// Service addresses, and the replica that has each, if that is known.
    #[serde(default)]
    pub service_addresses: Vec<(String, Option<u64>)>,
    /// Last applied log entry.
    pub applied_index: u64,
    /// What is exported, and how often that was changed.
    #[serde(default)]
    pub exports: u64,
    /// The version of the list of exports; 0 before the cluster has one.
    #[serde(default)]
    pub exports_version: u64,
    /// Shards of the cluster, and what this node has to do with them.
    #[serde(default)]
    pub shards: ShardsStatus,
    /// Clients known.
    pub clients: u64,
    /// Sessions open on this node.
    pub sessions: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// Data servers known, and how many of them are up.
    pub data_servers: u64,
    /// Data servers whose lease runs.
    pub data_servers_up: u64,
    /// Bytes all data servers may hold.
    pub space_total_bytes: u64,
    /// Bytes free on those that are up.
    pub space_free_bytes: u64,
    /// Work that data servers must still do; capped at what one look shows.
    pub work_items: u64,
    /// Copies of data that are wished, where there are enough data servers.
    pub hot_copies: u32,
    /// Data servers that may be lost at once without losing any byte, as things are; of extents that are served.
    pub losses_survived: u64,
    /// Extents there are.
    pub extents: u64,
    /// Extents with fewer copies than wished.
    pub extents_degraded: u64,
    /// Extents with a backup that is being filled.
    pub extents_filling: u64,
    /// Extents that no data server serves now.
    pub extents_unserved: u64,
    /// Extents and groups were counted since this replica began to lead. Until then their numbers
    /// say nothing.
    pub counted: bool,
    /// Data servers that refused a write for want of space.
    pub data_servers_full: u64,
    /// Data servers whose disks have failed.
    #[serde(default)]
    pub data_servers_failed: u64,
    /// Data servers whose stores lack something that they had acknowledged.
    #[serde(default)]
    pub data_servers_behind: u64,
    /// Extents that rest are sealed.
    pub seal: bool,
    /// The code that new groups are made with; empty if there are too few data servers for one.
    pub erasure_code: String,
    /// Codes that there are too few data servers for: the cluster's, those of exports, and those of images that wait.
    #[serde(default)]
    pub codes_narrow: Vec<NarrowCode>,
    /// Groups of images.
    pub groups: u64,
    /// Groups with more images away than they can do without.
    pub groups_unreadable: u64,
    /// Bytes of the images that extents are sealed as.
    pub sealed_bytes: u64,
    /// Bytes of images that are only kept for others of their groups.
    pub sealed_dead_bytes: u64,
    /// Images that wait for a group; known to the leader only.
    pub images_waiting: u64,
    /// Images on data servers that are not up.
    pub images_away: u64,
    /// Images that are being made again; known to the leader only.
    pub images_remade: u64,
    /// Bytes of images that are still to be made again elsewhere; known to the leader only.
    pub repair_left_bytes: u64,
    /// Seconds until they are, if it goes on as it has; `None` if nobody can tell yet.
    pub repair_eta_s: Option<u64>,
    /// Images that data servers which are up do not have any more, and that wait to be made again; known to the leader only.
    pub images_missing: u64,
    /// What data servers that are up say of their scrubs; known to the leader only.
    pub scrub: ScrubStatus,
    /// What moves so that data servers hold their shares; known to the leader only.
    #[serde(default)]
    pub rebalance: BalanceStatus,
    /// Clocks that are off by more than a second, by what this replica has heard of.
    #[serde(default)]
    pub clocks_off: Vec<ClockLine>,
    /// The disk of the replica that reports is nearly full: what needs room is refused.
    #[serde(default)]
    pub metadata_disk_low: bool,
    /// The key of data-server handles.
    #[serde(default)]
    pub handle_key: HandleKeyStatus,
}

/// Which key data-server handles are sealed under, and whether it is being replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleKeyStatus {
    /// Its number; 0 is the first.
    pub number: u64,
    /// Empty; `spreading`: data servers learn another one; `leaving`: layouts given out with the one before are recalled.
    pub stage: String,
    /// Data servers that have not said that they have all keys that are good; known to the leader only.
    pub servers_without: u64,
}

/// A clock that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockLine {
    /// Whose: `metadata` or `data` server.
    pub kind: String,
    /// Its number.
    pub id: u64,
    /// By how much it is ahead of the time that counts, milliseconds; negative if it is behind.
    pub ahead_ms: i64,
}

/// A metadata replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaLine {
    /// Number.
    pub id: u64,
    /// Where it talks to the others; empty where it is alone.
    pub address: String,
    /// It has answered not long ago; `None` where that is not known.
    pub up: Option<bool>,
    /// It leads.
    pub leads: bool,
}

/// Shards, as a node sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardsStatus {
    /// How many there are.
    pub all: u64,
    /// Those that this node leads.
    pub led: u64,
    /// Those in which it votes.
    #[serde(default)]
    pub voted: u64,
    /// Those of them that hibernate.
    pub hibernating: u64,
    /// Those of which this node knows no leader.
    pub leaderless: u64,
    /// Syncs of this node's log with the device.
    pub log_flushes: u64,
    /// Heartbeats between this node and the others.
    pub beats: u64,
    /// Calls of this node to others, heartbeats too.
    pub calls: u64,
}

/// A code that there are too few data servers for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NarrowCode {
    /// `k+m`.
    pub code: String,
    /// Data servers that a full group is on.
    pub servers_full: u64,
    /// Data servers that the shortest group is on: with fewer nothing is sealed under the code.
    pub servers_least: u64,
    /// Data servers there are.
    pub servers: u64,
    /// Images under it that wait for a group; known to the leader only.
    pub images_waiting: u64,
}

/// Data that move so that each data server holds its share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceStatus {
    /// They may.
    pub on: bool,
    /// Why nothing begins to move now; empty if it may.
    pub waits: String,
    /// Something is to move.
    pub moves: bool,
    /// Images on their way or waiting.
    pub images: u64,
    /// Extents on their way or waiting.
    pub extents: u64,
    /// Bytes that are still to move.
    pub left_bytes: u64,
    /// Bytes moved since it began, this time or the last.
    pub done_bytes: u64,
    /// Seconds that the rest takes, at the speed so far.
    pub left_s: u64,
}

/// How data servers get on with comparing all they keep with its checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// Data servers that scrub.
    pub servers: u64,
    /// Per cent of their rounds that are done, on average.
    pub percent: u32,
    /// When the last whole round of that one ended where it is longest ago, milliseconds since 1970; 0: some have not ended any.
    pub ended_unix_ms: u64,
    /// Bad things that were found and could not be made good.
    pub bad: u64,
}

impl ScrubStatus {
    /// What these data servers say together.
    pub(crate) fn of<'a>(all: impl Iterator<Item = &'a Usage>) -> Self {
        let (mut sum, mut status) = (0, Self { ended_unix_ms: u64::MAX, ..Self::default() });
        for usage in all.filter(|usage| usage.scrub_percent != SCRUB_OFF) {
            status.servers += 1;
            sum += u64::from(usage.scrub_percent);
            status.ended_unix_ms = status.ended_unix_ms.min(usage.scrub_ended_unix_ns / 1_000_000);
            status.bad = status.bad.saturating_add(usage.scrub_bad);
        }
        match sum.checked_div(status.servers) {
            Some(percent) => Self { percent: u32::try_from(percent).unwrap_or(100).min(100), ..status },
            None => Self::default(),
        }
    }
}

/// One export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportLine {
    /// The number that filehandles carry; the path has it for ever.
    #[serde(default)]
    pub id: Option<u16>,
    /// Path to mount.
    pub path: String,
    /// `rw` or `ro`.
    pub access: String,
    /// Who becomes nobody: `none`, `root` or `all`.
    pub squash: String,
    /// User and group that they become.
    #[serde(default)]
    pub anonymous: Option<(u32, u32)>,
    /// Who may use it; empty means everybody.
    pub clients: Vec<String>,
    /// Requests must come from a source port below 1024. `None`: a version that does not look at ports.
    #[serde(default)]
    pub secure: Option<bool>,
    /// Layouts are given out.
    pub pnfs: bool,
    /// Extents that one segment of a layout may have.
    pub stripes: u32,
    /// The code that files made through it are sealed under; `None`: the cluster's.
    #[serde(default)]
    pub erasure_code: Option<String>,
    /// The command that mounts it.
    #[serde(default)]
    pub mount: String,
    /// Addresses that clients mount it at.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// One data server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataServerLine {
    /// Number.
    pub id: u32,
    /// What people call it; may be empty.
    #[serde(default)]
    pub name: String,
    /// Identity of its store, hexadecimal.
    pub uuid: String,
    /// Addresses for clients, `ip:port`.
    pub addresses: Vec<String>,
    /// Address of its control service.
    pub control: String,
    /// Zone, rack and host, as far as it was told.
    pub domain: String,
    /// Its lease runs.
    pub up: bool,
    /// It refused a write for want of space.
    pub full: bool,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Bytes that count against it.
    pub used_bytes: u64,
    /// Bytes of its journal files.
    pub journal_bytes: u64,
    /// What it has is to move away.
    #[serde(default)]
    pub draining: bool,
    /// The data server that took its place; this one is forgotten once it holds nothing.
    #[serde(default)]
    pub replaced_by: Option<u32>,
    /// Extents that a draining or replaced server keeps, as of the leader's last look; `None`
    /// before it, and on other replicas.
    #[serde(default)]
    pub extents_left: Option<u64>,
    /// Images of groups that are on a draining or replaced server, as of the leader's last look;
    /// `None` before it, and on other replicas.
    #[serde(default)]
    pub images_left: Option<u64>,
    /// Milliseconds since it was last heard of.
    pub silent_ms: Option<u64>,
    /// What its disk answered when it failed; empty while it has not.
    #[serde(default)]
    pub failure: String,
    /// What its store lacks of what it had acknowledged; empty if nothing.
    #[serde(default)]
    pub behind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubs_are_told_together() {
        let usage = |scrub_percent, ended_ms: u64, scrub_bad| Usage {
            scrub_percent,
            scrub_ended_unix_ns: ended_ms * 1_000_000,
            scrub_bad,
            ..Usage::default()
        };
        let all = [usage(40, 9_000, 1), usage(SCRUB_OFF, 1, 7), usage(100, 5_000, 2)];
        let expected = ScrubStatus { servers: 2, percent: 70, ended_unix_ms: 5_000, bad: 3 };
        assert_eq!(ScrubStatus::of(all.iter()), expected);
        assert_eq!(ScrubStatus::of(all[1..2].iter()), ScrubStatus::default());
        assert_eq!(
            ScrubStatus::of([usage(9, 0, 0), all[0]].iter()).ended_unix_ms,
            0,
            "one has not ended any"
        );
    }
}
