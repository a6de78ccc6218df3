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
    /// Number of the reporting replica: the leader, unless stated otherwise.
    pub node: u64,
    /// Number of the queried replica.
    pub asked: u64,
    /// Number of the leading replica, if known.
    pub leader: Option<u64>,
    /// All replicas.
    pub replicas: Vec<ReplicaLine>,
    /// Service addresses, and the replica that holds each, if known.
    #[serde(default)]
    pub service_addresses: Vec<(String, Option<u64>)>,
    /// Last applied log entry.
    pub applied_index: u64,
    /// Number of exports.
    #[serde(default)]
    pub exports: u64,
    /// The version of the list of exports; 0 before the cluster has one.
    #[serde(default)]
    pub exports_version: u64,
    /// Shards of the cluster, and this node's part in them.
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
    /// Pending work items of data servers; capped at one page.
    pub work_items: u64,
    /// Wanted copies of data, where there are enough data servers.
    pub hot_copies: u32,
    /// Data servers that can be lost at once without data loss, as things are; of extents that are
    /// served.
    pub losses_survived: u64,
    /// Number of extents.
    pub extents: u64,
    /// Extents with fewer copies than wanted.
    pub extents_degraded: u64,
    /// Extents with a backup that is being filled.
    pub extents_filling: u64,
    /// Extents that no data server serves now.
    pub extents_unserved: u64,
    /// Extents and groups were counted since this replica began to lead. Until then their numbers
    /// mean nothing.
    pub counted: bool,
    /// Data servers that refused a write for want of space.
    pub data_servers_full: u64,
    /// Data servers whose disks have failed.
    #[serde(default)]
    pub data_servers_failed: u64,
    /// Data servers whose stores lack data that they had acknowledged.
    #[serde(default)]
    pub data_servers_behind: u64,
    /// Extents at rest are sealed.
    pub seal: bool,
    /// The code of new groups; empty if there are too few data servers for any.
    pub erasure_code: String,
    /// Codes that need more data servers than there are: the cluster's, those of exports, and those
    /// of waiting images.
    #[serde(default)]
    pub codes_narrow: Vec<NarrowCode>,
    /// Groups of images.
    pub groups: u64,
    /// Groups with more images away than their code can lose.
    pub groups_unreadable: u64,
    /// Bytes of the images that extents are sealed as.
    pub sealed_bytes: u64,
    /// Bytes of images that are kept only for others of their groups.
    pub sealed_dead_bytes: u64,
    /// Images that wait for a group; known to the leader only.
    pub images_waiting: u64,
    /// Images on data servers that are not up.
    pub images_away: u64,
    /// Images that are being recreated; known to the leader only.
    pub images_remade: u64,
    /// Bytes of images still to be recreated elsewhere; known to the leader only.
    pub repair_left_bytes: u64,
    /// Seconds until they are, at the speed so far; `None` if unknown yet.
    pub repair_eta_s: Option<u64>,
    /// Images that healthy data servers no longer have, and that wait to be recreated; known to the
    /// leader only.
    pub images_missing: u64,
    /// Scrub progress of data servers that are up; known to the leader only.
    pub scrub: ScrubStatus,
    /// Progress of rebalancing; known to the leader only.
    #[serde(default)]
    pub rebalance: BalanceStatus,
    /// Clocks that are off by more than a second, as this replica knows.
    #[serde(default)]
    pub clocks_off: Vec<ClockLine>,
    /// The disk of the reporting replica is nearly full: commands that need space are refused.
    #[serde(default)]
    pub metadata_disk_low: bool,
    /// The key of data-server handles.
    #[serde(default)]
    pub handle_key: HandleKeyStatus,
}

/// The key that seals data-server handles, and whether it is being replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleKeyStatus {
    /// Its number; 0 is the first.
    pub number: u64,
    /// Empty; `spreading`: data servers receive a new key; `leaving`: layouts sealed under the old
    /// one are recalled.
    pub stage: String,
    /// Data servers that have not confirmed all valid keys; known to the leader only.
    pub servers_without: u64,
}

/// A clock that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockLine {
    /// Kind of its server: `metadata` or `data`.
    pub kind: String,
    /// Its number.
    pub id: u64,
    /// How far it is ahead of the reference time, milliseconds; negative if it is behind.
    pub ahead_ms: i64,
}

/// A metadata replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaLine {
    /// Number.
    pub id: u64,
    /// Its address for the other replicas; empty for a single replica.
    pub address: String,
    /// It has answered recently; `None` where unknown.
    pub up: Option<bool>,
    /// It leads.
    pub leads: bool,
}

/// Shards, as a node sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardsStatus {
    /// Number of shards.
    pub all: u64,
    /// Shards that this node leads.
    pub led: u64,
    /// Shards in which this node votes.
    #[serde(default)]
    pub voted: u64,
    /// Led shards that hibernate.
    pub hibernating: u64,
    /// Shards of which this node knows no leader.
    pub leaderless: u64,
    /// Syncs of this node's log with the device.
    pub log_flushes: u64,
    /// Heartbeats between this node and the others.
    pub beats: u64,
    /// Calls of this node to others, with heartbeats.
    pub calls: u64,
}

/// A code that needs more data servers than there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NarrowCode {
    /// `k+m`.
    pub code: String,
    /// Data servers of a full group.
    pub servers_full: u64,
    /// Data servers of the shortest group: with fewer, no image is sealed under the code.
    pub servers_least: u64,
    /// Number of data servers.
    pub servers: u64,
    /// Images under it that wait for a group; known to the leader only.
    pub images_waiting: u64,
}

/// Progress of rebalancing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceStatus {
    /// Rebalancing is enabled.
    pub on: bool,
    /// Why no move begins now; empty if one may.
    pub waits: String,
    /// There is something to move.
    pub moves: bool,
    /// Images on their way or waiting.
    pub images: u64,
    /// Extents on their way or waiting.
    pub extents: u64,
    /// Bytes that are still to move.
    pub left_bytes: u64,
    /// Bytes moved in this run or the last.
    pub done_bytes: u64,
    /// Seconds for the rest, at the speed so far.
    pub left_s: u64,
}

/// Progress of scrubbing: data servers compare all they store with its checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// Data servers that scrub.
    pub servers: u64,
    /// Per cent of their rounds that are done, on average.
    pub percent: u32,
    /// End of the oldest last complete round, milliseconds since 1970; 0: some data servers have
    /// not completed any.
    pub ended_unix_ms: u64,
    /// Damage that was found and could not be repaired.
    pub bad: u64,
}

impl ScrubStatus {
    /// Sums up the scrubs of these data servers.
    pub(crate) fn sum_up<'a>(all: impl Iterator<Item = &'a Usage>) -> Self {
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
    /// The number in filehandles; permanent for the path.
    #[serde(default)]
    pub id: Option<u16>,
    /// Path to mount.
    pub path: String,
    /// `rw` or `ro`.
    pub access: String,
    /// Users mapped to the anonymous user: `none`, `root` or `all`.
    pub squash: String,
    /// Uid and gid of the anonymous user.
    #[serde(default)]
    pub anonymous: Option<(u32, u32)>,
    /// Networks of admitted clients; empty means all.
    pub clients: Vec<String>,
    /// Extents of one segment of a layout, at most.
    #[serde(default)]
    pub secure: Option<bool>,
    /// Layouts are given out.
    pub pnfs: bool,
    /// Extents that one segment of a layout may have.
    pub stripes: u32,
    /// The code of files created through it; `None`: the cluster's.
    #[serde(default)]
    pub erasure_code: Option<String>,
    /// The command that mounts it.
    #[serde(default)]
    pub mount: String,
    /// Addresses to mount it from.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// One data server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataServerLine {
    /// Number.
    pub id: u32,
    /// Its name for administrators; may be empty.
    #[serde(default)]
    pub name: String,
    /// Identity of its store, hexadecimal.
    pub uuid: String,
    /// Addresses for clients, `ip:port`.
    pub addresses: Vec<String>,
    /// Address of its control service.
    pub control: String,
    /// Zone, rack and host, as configured.
    pub domain: String,
    /// Its lease runs.
    pub up: bool,
    /// It refused a write for want of space.
    pub full: bool,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Bytes that count against its capacity.
    pub used_bytes: u64,
    /// Bytes of its journal files.
    pub journal_bytes: u64,
    /// It is being drained.
    #[serde(default)]
    pub draining: bool,
    /// The data server that replaced it; this one is forgotten once it holds nothing.
    #[serde(default)]
    pub replaced_by: Option<u32>,
    /// Extents left on a draining or replaced server, as of the leader's last scan; `None` before
    /// it, and on other replicas.
    #[serde(default)]
    pub extents_left: Option<u64>,
    /// Images of groups left on a draining or replaced server, as of the leader's last scan; `None`
    /// before it, and on other replicas.
    #[serde(default)]
    pub images_left: Option<u64>,
    /// Milliseconds since its last heartbeat.
    pub silent_ms: Option<u64>,
    /// The error of its failed disk; empty if healthy.
    #[serde(default)]
    pub failure: String,
    /// Acknowledged data that its store lacks; empty if none.
    #[serde(default)]
    pub behind: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubs_are_summed_up() {
        let usage = |scrub_percent, ended_ms: u64, scrub_bad| Usage {
            scrub_percent,
            scrub_ended_unix_ns: ended_ms * 1_000_000,
            scrub_bad,
            ..Usage::default()
        };
        let all = [usage(40, 9_000, 1), usage(SCRUB_OFF, 1, 7), usage(100, 5_000, 2)];
        let expected = ScrubStatus { servers: 2, percent: 70, ended_unix_ms: 5_000, bad: 3 };
        assert_eq!(ScrubStatus::sum_up(all.iter()), expected);
        assert_eq!(ScrubStatus::sum_up(all[1..2].iter()), ScrubStatus::default());
        assert_eq!(
            ScrubStatus::sum_up([usage(9, 0, 0), all[0]].iter()).ended_unix_ms,
            0,
            "one has not ended any"
        );
    }
}
