//! The configuration of a node, and of the engines of its shards.

use std::fmt;

use openraft::{Config, SnapshotPolicy};
use wire_nfs::control::{ClusterKey, Keyring};

use crate::limits::{
    APPEND_ENTRIES_MAX, ELECTION_HEARTBEATS_MAX, ELECTION_HEARTBEATS_MIN, HIBERNATE_MS_DEFAULT,
    LOG_ENTRIES_KEPT, LOG_SEGMENT_BYTES, PROPOSE_MS_MAX, REPLICATE_ENTRIES_MAX,
};
use crate::start_error::StartError;

/// A node's identity, and the behaviour of its replicas.
#[derive(Clone)]
pub struct NodeConfig {
    /// This node's number among the members.
    pub id: u64,
    /// All members: number and address, `ip:port`. One member needs no network.
    pub members: Vec<(u64, String)>,
    /// For a node that joins a running cluster: addresses of some of its nodes, `ip:port`.
    /// `members` is then this node alone.
    pub join: Vec<String>,
    /// The secrets that members prove to each other; unused with one member.
    pub cluster_keys: Keyring,
    /// Identity of the cluster: a directory of another cluster is refused.
    pub store_id: [u8; 16],
    /// Bytes of the stores kept in memory.
    pub cache_bytes: usize,
    /// Shards of the cluster, fixed when it is made. 0: the number it was made with, or one if it
    /// is new.
    pub shards: usize,
    /// An idle shard hibernates after this time, in milliseconds; 0: never. Shard 0 never does.
    pub hibernate_ms: u64,
    /// Most time between two checkpoints of a store that changes, in milliseconds.
    pub checkpoint_ms: u64,
    /// Log entries kept behind a checkpoint for members that were away; a member that was away for
    /// longer gets a snapshot.
    pub log_entries_kept: u64,
    /// Size of a segment of the log: it must hold the longest entry.
    pub log_segment_bytes: u64,
    /// Time between heartbeats of a leader, in milliseconds; elections start after 4 to 8 of them.
    pub heartbeat_ms: u64,
    /// A node that is alone may start without its log if its file system has this identity.
    pub accept_log_loss: Option<[u8; 16]>,
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("NodeConfig")
            .field("id", &self.id)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

impl NodeConfig {
    /// Whether there are no other nodes, and never will be.
    pub(crate) fn is_alone(&self) -> bool {
        self.members.len() == 1 && self.join.is_empty()
    }

    /// A shard with one replica.
    #[must_use]
    pub fn single(store_id: [u8; 16]) -> Self {
        Self {
            id: 1,
            members: vec![(1, String::new())],
            join: Vec::new(),
            cluster_keys: ClusterKey::new([0; 32]).into(),
            store_id,
            cache_bytes: mds_namespace::limits::DISK_CACHE_BYTES_DEFAULT,
            shards: 1,
            hibernate_ms: HIBERNATE_MS_DEFAULT,
            checkpoint_ms: 5_000,
            log_entries_kept: LOG_ENTRIES_KEPT,
            log_segment_bytes: LOG_SEGMENT_BYTES,
            heartbeat_ms: 100,
            accept_log_loss: None,
        }
    }
}

/// The configuration of a shard's engine, whose clock runs from the start if it `ticks`.
///
/// # Errors
/// [`StartError::Raft`] if the engine refuses it.
pub(crate) fn engine_config(config: &NodeConfig, ticks: bool) -> Result<Config, StartError> {
    let followers = !config.is_alone();
    let engine = Config {
        cluster_name: "shoal".to_owned(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.heartbeat_ms * ELECTION_HEARTBEATS_MIN,
        election_timeout_max: config.heartbeat_ms * ELECTION_HEARTBEATS_MAX,
        install_snapshot_timeout: PROPOSE_MS_MAX,
        max_payload_entries: REPLICATE_ENTRIES_MAX,
        max_append_entries: Some(APPEND_ENTRIES_MAX),
        // This crate schedules checkpoints: by bytes, entries and age.
        snapshot_policy: SnapshotPolicy::Never,
        // With followers `Shard::cut_covered` cuts the log. This policy may want to cut to an
        // earlier place than a previous request, which the engine takes for its own fault.
        max_in_snapshot_log_to_keep: if followers { u64::MAX } else { 0 },
        enable_pre_vote: Some(followers),
        // A leader sends entries to others while it still writes them. If it dies before they are
        // in its own log, they may be committed all the same. If it led on in its term it would
        // assign their places to other entries.
        enable_leader_restore: Some(!followers),
        // Liveness starts the clocks of all other shards, each in its turn.
        enable_tick: ticks,
        ..Config::default()
    };
    assert!(engine.heartbeat_interval < engine.election_timeout_min, "a live leader is heard");
    assert!(engine.election_timeout_min < engine.election_timeout_max, "elections are spread");
    engine.validate().map_err(|error| StartError::Raft(error.to_string()))
}
