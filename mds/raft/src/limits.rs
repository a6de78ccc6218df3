//! Named caps of the log, of messages between nodes, and of waiting.

use mds_state::limits::{ENTRY_BYTES_MAX, OWNER_BYTES_MAX, RECORDED_BYTES_MAX, RECORDED_PER_SLOT_MAX};

/// Entries of one log record batch handed to the disk at a time.
pub const APPEND_ENTRIES_MAX: u64 = 4_096;

/// Entries in one message to a follower.
pub const REPLICATE_ENTRIES_MAX: u64 = 1_024;

/// Payload bytes in one message to a follower (one entry more, if it alone is larger).
pub const REPLICATE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of one message between members: a full batch of entries with one long entry, and their
/// framing.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Milliseconds one part of a snapshot may take.
pub const SNAPSHOT_CALL_MS_MAX: u64 = 120_000;

/// Milliseconds that a follower may take to replace its store by a snapshot: hundreds of millions
/// of inodes. A dead follower is detected long before: by its heartbeats if there are several
/// shards, else by TCP.
pub const SNAPSHOT_INSTALL_MS_MAX: u64 = 3_600_000;

/// Milliseconds without an answer from a node that receives a snapshot, or received one, after
/// which the log behind the snapshot is no longer kept.
pub const SNAPSHOT_SILENT_MS_MAX: u64 = 10_000;

/// Milliseconds for which the log behind an installed snapshot is kept for a node that does not
/// catch up.
pub const SNAPSHOT_FOLLOW_MS_MAX: u64 = 30_000;

/// Log bytes that a node keeps for the receivers of its snapshots; its shards share them. They are
/// kept in memory too.
pub const HELD_LOG_BYTES_MAX: u64 = 512 << 20;

/// Log entries, likewise.
pub const HELD_LOG_ENTRIES_MAX: u64 = 2_000_000;

/// Milliseconds that a call waits for the engine of a shard that installs a snapshot.
pub const TORN_ANSWER_MS_MAX: u64 = 5;

/// Milliseconds between two heartbeats that are passed to such an engine: it keeps an answer to
/// each. If heartbeats are short, four of them at most: its patience with a leader is 12.
pub const TORN_NOTIFY_MS: u64 = 500;

/// Milliseconds for which a node may lead shard 0 while it installs a snapshot of any shard: its
/// replica of that shard has no reads until then.
pub const TORN_LEAD_MS_MAX: u64 = 2_000;

/// Milliseconds until such a node offers shard 0 to the others again, when all have given it back.
pub const TORN_AGAIN_MS: u64 = 30_000;

/// Milliseconds that an entry without a waiting caller may stay unflushed when no other entry needs
/// a flush.
pub const UNHURRIED_MS_MAX: u64 = 5;

/// Size of a segment of the log.
pub const LOG_SEGMENT_BYTES: u64 = 16 << 20;

/// Segments of the log kept for reuse: as many as fill between two checkpoints.
pub const LOG_SEGMENTS_RECYCLED: usize = 5;

/// Milliseconds until a log that found its disk full tries again.
pub const ROOM_RETRY_MS: u64 = 100;
/// Milliseconds between two log lines about it.
pub const ROOM_LOG_MS: u64 = 10_000;

/// Segments that a group may need behind the log's head before its store is checkpointed and its
/// log cut. At twice that, the rest of its log is rewritten at the head. The limit grows while more
/// entries than that are in force.
pub const LOG_LAG_SEGMENTS: u64 = 6;

/// Payload bytes of one write of renewed entries (one entry more, if it alone is larger).
pub const RENEW_BYTES_MAX: usize = 4 << 20;

/// Entries of one write of renewed entries.
pub const RENEW_RECORDS_MAX: usize = 4_096;

/// Milliseconds after which `apply` yields to other tasks of the thread: half of the time between
/// two heartbeats.
pub const APPLY_MS_MAX: u64 = 50;

/// Keys that one command writes on the thread that sends heartbeats, some ten milliseconds. A
/// larger command (the end of a client that holds much, or of a file of many extents; a truncation
/// of one) runs on another thread.
pub const APPLY_KEYS_MAX: usize = 4_096;

/// Commands applied in one store transaction.
pub const APPLY_ENTRIES_MAX: usize = 1_024;

/// Log bytes after which the store is checkpointed and the log cut. The log's tail is also kept in
/// memory.
pub const CHECKPOINT_LOG_BYTES: u64 = 64 << 20;

/// Log entries after which the store is checkpointed and the log cut: bounds the replay after a
/// crash.
pub const CHECKPOINT_LOG_ENTRIES: u64 = 50_000;

/// Log entries kept behind a checkpoint when there are followers, so that a follower that was away
/// for a moment needs no snapshot.
pub const LOG_ENTRIES_KEPT: u64 = 5_000;

/// Milliseconds a proposal or a read barrier may take before its caller gets an unknown outcome.
pub const PROPOSE_MS_MAX: u64 = 20_000;

/// Missing heartbeats before a member may start an election.
pub const ELECTION_HEARTBEATS_MIN: u64 = 4;

/// Missing heartbeats after which a member starts one for certain.
pub const ELECTION_HEARTBEATS_MAX: u64 = 8;

/// Heartbeats without a majority's answer after which a leader no longer reads alone. Fewer than
/// [`ELECTION_HEARTBEATS_MAX`], for which followers elect no other leader: so the clock of a
/// follower may run faster than a leader's, by a third. Linux lets administrators make clocks
/// faster or slower by a tenth: two of them differ by less than a quarter.
pub const LEASE_HEARTBEATS: u64 = 6;

/// The shortest suspension of a machine, milliseconds: clocks that are read one after the other
/// differ by less.
pub const SUSPENDED_MS_MIN: u64 = 5;

/// Shards of a cluster.
pub const SHARDS_MAX: usize = 1_024;

/// Shards of a node that stand for election at once.
pub const ELECTIONS_MAX: usize = 32;

/// Heartbeats for which a node that starts for the first time listens before it stands for election
/// in any shard but 0. A node that ran before waits until any lease that it may have given is over.
pub const LISTEN_HEARTBEATS: u64 = 3;

/// Milliseconds after which an idle shard hibernates, by default.
pub const HIBERNATE_MS_DEFAULT: u64 = 3_000;

/// Checkpoints that are begun between two scans for due ones.
pub const CHECKPOINTS_BEGUN_MAX: usize = 4;

/// Scans for due checkpoints between two scans for lagging shards.
pub const LOG_LAG_POLLS: u64 = 10;

/// Shards whose old segments are freed at each of these scans.
pub const LAGGING_FREED_MAX: usize = 8;

/// Milliseconds between two handovers of a shard to the node that should lead it.
pub const SPREAD_POLL_MS: u64 = 200;

/// Milliseconds until the next check when there was nothing to hand over.
pub const SPREAD_IDLE_MS: u64 = 1_000;

/// Milliseconds for which a node must have been alive before shards are handed to it.
pub const SPREAD_ALIVE_MS: u64 = 5_000;

/// Milliseconds after which a handover is tried again.
pub const SPREAD_RETRY_MS: u64 = 10_000;

/// Milliseconds that a planned stop waits for other nodes to lead its shards.
pub const HAND_OVER_MS_MAX: u64 = 2_000;

/// Milliseconds for which a leader that hands over waits for a node that answers and has all
/// entries.
pub const HEIR_WAIT_MS_MAX: u64 = 500;

/// Milliseconds between two checks for such a node.
pub const HEIR_POLL_MS: u64 = 2;

/// Stores of shards that are opened, or closed, at once.
pub const STORES_AT_ONCE: usize = 16;

/// Least bytes of a shard's store kept in memory.
pub const STORE_CACHE_BYTES_MIN: usize = 1 << 20;

/// Times a proposal is retried after a leader refused it because it cannot lead just now. Such a
/// refusal changed nothing.
pub const PROPOSE_RETRIES_MAX: u32 = 20;

/// Times that a follower looks for the leader to forward a proposal: some elections long.
pub const FORWARD_RETRIES_MAX: u32 = 100;

/// Milliseconds that a single replica may take to apply its log at start.
pub const RECOVERY_MS_MAX: u64 = 300_000;

/// Milliseconds between two scans for due checkpoints.
pub const CHECKPOINT_POLL_MS: u64 = 100;

/// Client connections that a leader reports to the other members.
pub const CALLERS_MAX: usize = 4_096;

/// Milliseconds that such a report to a member may take.
pub const CALLERS_CALL_MS_MAX: u64 = 1_000;

/// Milliseconds after which they are reported again although nothing has changed: a member may have
/// been away.
pub const CALLERS_AGAIN_MS: u64 = 1_000;

/// Milliseconds that a machine may take to refuse a connection to a leader that died there.
pub const PROBE_MS_MAX: u64 = 500;

/// Pauses before each attempt at such a connection.
pub const PROBE_PAUSES_MS: [u64; 8] = [0, 2, 5, 10, 20, 40, 80, 160];

/// Milliseconds between two checks whether a member that watches leaders has stopped.
pub const WATCH_MS: u64 = 1_000;

/// Times that a member stands for election after the death of a leader, before elections take their
/// own time.
pub const SUCCESSION_TRIES_MAX: u32 = 3;

/// Milliseconds between the death of a leader and the first election: the other members must detect
/// it too.
pub const SUCCESSION_MS: u64 = 20;

/// Milliseconds between two members that stand for election after it, so that they do not split the
/// votes.
pub const SUCCESSION_STEP_MS: u64 = 150;

/// Proposals waiting for their outcome; further ones are refused.
pub const PROPOSALS_MAX: usize = 16_384;

/// Milliseconds between two checks whether all nodes of a new cluster are up.
pub const BOOTSTRAP_POLL_MS: u64 = 50;

/// Number of such checks before the node logs a warning and checks less often.
pub const BOOTSTRAP_FAST_POLLS: u32 = 100;

/// Milliseconds between two checks from then on.
pub const BOOTSTRAP_IDLE_MS: u64 = 1_000;

/// Milliseconds that a node may take to answer IDENTIFY.
pub const IDENTIFY_MS_MAX: u64 = 1_000;

/// Milliseconds that a JOIN may take: the leader queries the node in turn, and the nodes store it.
pub const JOIN_MS_MAX: u64 = 3 * IDENTIFY_MS_MAX;

/// Milliseconds between two JOINs of a node.
pub const JOIN_POLL_MS: u64 = 500;

/// Milliseconds between two checks whether a shard's members are as they should be.
pub const RECONCILE_MS: u64 = 1_000;

/// Milliseconds between them while some are not.
pub const RECONCILE_POLL_MS: u64 = 100;

/// Entries that a node may lack when it becomes a voter.
pub const LEARNER_LAG_MAX: u64 = 1_000;

/// Bytes of one chunk of a snapshot on the wire.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// Bytes of a key in a snapshot.
pub const SNAPSHOT_KEY_BYTES_MAX: usize = 4_096;

/// Bytes of a value in a snapshot.
pub const SNAPSHOT_VALUE_BYTES_MAX: usize = 1 << 26;

/// Members of a shard.
pub const MEMBERS_MAX: usize = 7;

const _: () = assert!(OWNER_BYTES_MAX + 64 < SNAPSHOT_KEY_BYTES_MAX, "an owner fits a key");
const _: () =
    assert!(2 * ENTRY_BYTES_MAX < MESSAGE_BYTES_MAX && 2 * SNAPSHOT_CHUNK_BYTES < MESSAGE_BYTES_MAX);
const _: () = assert!(
    REPLICATE_BYTES_MAX as usize + ENTRY_BYTES_MAX < MESSAGE_BYTES_MAX,
    "a message has room for a batch and one long entry"
);
const _: () = assert!(REPLICATE_ENTRIES_MAX <= APPEND_ENTRIES_MAX, "a message is appended at once");
const _: () = assert!(
    RENEW_BYTES_MAX as u64 + (ENTRY_BYTES_MAX as u64) < LOG_SEGMENT_BYTES,
    "a segment holds one write of renewed entries"
);
const _: () = assert!(LEARNER_LAG_MAX < LOG_ENTRIES_KEPT, "a new voter needs no snapshot");
const _: () = assert!(SNAPSHOT_KEY_BYTES_MAX < SNAPSHOT_CHUNK_BYTES, "a chunk holds a key");
const _: () = assert!(SNAPSHOT_CALL_MS_MAX < SNAPSHOT_INSTALL_MS_MAX, "it takes longer");
const _: () = assert!(SNAPSHOT_SILENT_MS_MAX < SNAPSHOT_FOLLOW_MS_MAX, "a follower answers");
const _: () = assert!(TORN_ANSWER_MS_MAX < TORN_NOTIFY_MS, "it is answered before the next");
const _: () = assert!(TORN_LEAD_MS_MAX < TORN_AGAIN_MS, "a shard is not offered again at once");
const _: () = assert!(ROOM_RETRY_MS < ROOM_LOG_MS, "not each attempt is logged");
const _: () = assert!(
    LISTEN_HEARTBEATS < ELECTION_HEARTBEATS_MAX,
    "a node that starts hears a leader before it stands"
);
const _: () = assert!(ELECTIONS_MAX <= SHARDS_MAX, "elections are of shards");
const _: () = assert!(STORES_AT_ONCE <= SHARDS_MAX, "stores are of shards");
const _: () = assert!(SHARDS_MAX <= u16::MAX as usize, "inode numbers begin with it");
const _: () = assert!(HEIR_POLL_MS < HEIR_WAIT_MS_MAX, "an heir is looked for more than once");
const _: () = assert!(HEIR_WAIT_MS_MAX < HAND_OVER_MS_MAX, "a planned stop waits for heirs");
const _: () = assert!(SPREAD_POLL_MS < SPREAD_IDLE_MS, "idle nodes check less often");
const _: () = assert!(SPREAD_ALIVE_MS < SPREAD_RETRY_MS, "a node gets its shards before a retry");
const _: () = assert!(CALLERS_CALL_MS_MAX <= CALLERS_AGAIN_MS, "a report ends before the next");
const _: () = assert!(PROBE_PAUSES_MS[PROBE_PAUSES_MS.len() - 1] < PROBE_MS_MAX, "silence is longer");
const _: () = assert!(SUCCESSION_MS < SUCCESSION_STEP_MS, "members stand one after the other");
const _: () = assert!(BOOTSTRAP_POLL_MS < BOOTSTRAP_IDLE_MS, "a long wait polls less");
const _: () = assert!(IDENTIFY_MS_MAX < JOIN_MS_MAX, "a JOIN has time for its queries");
const _: () = assert!(RECONCILE_POLL_MS < RECONCILE_MS, "members in line are checked less often");
const _: () = assert!(ELECTION_HEARTBEATS_MIN < ELECTION_HEARTBEATS_MAX, "elections are spread");
const _: () = assert!(LEASE_HEARTBEATS < ELECTION_HEARTBEATS_MAX, "a lease ends before others are elected");
const _: () = assert!(RECORDED_PER_SLOT_MAX * (RECORDED_BYTES_MAX + 8) + 32 < SNAPSHOT_VALUE_BYTES_MAX);
const _: () = assert!(RENEW_RECORDS_MAX <= wal::limits::BATCH_RECORDS_MAX, "one write takes them");
const _: () = assert!(LOG_ENTRIES_KEPT < CHECKPOINT_LOG_ENTRIES);
const _: () = assert!(CHECKPOINT_LOG_ENTRIES < HELD_LOG_ENTRIES_MAX);
const _: () = assert!(CHECKPOINT_LOG_BYTES < HELD_LOG_BYTES_MAX);
const _: () = assert!(ENTRY_BYTES_MAX < SNAPSHOT_VALUE_BYTES_MAX);
const _: () = assert!(CALLERS_MAX * 48 < MESSAGE_BYTES_MAX, "all callers fit one message");

/// Wall clocks that differ by no more agree, nanoseconds. A clock that is off by more is reported.
pub const CLOCK_AGREE_NS: u64 = 1_000_000_000;

/// A node whose clock is off by more does not lead, nanoseconds.
pub const CLOCK_LEAD_NS_MAX: u64 = 60_000_000_000;

/// A step of the time counts when it has lasted so long, milliseconds.
pub const CLOCK_STEP_HOLD_MS: u64 = 60_000;

/// Times of entries step back if they are ahead by this, nanoseconds; by less they stand still.
pub const CLOCK_BACK_NS_MIN: u64 = 60_000_000_000;

/// Milliseconds between two queries of another node's clock.
pub const CLOCK_QUERY_MS: u64 = 1_000;

/// Milliseconds for which a clock's reading counts.
pub const CLOCK_READING_MS_MAX: u64 = 5_000;

/// Other clocks that a node remembers.
pub const CLOCKS_MAX: usize = 4_096;

/// Entries by which the store of a node that is alone may be ahead of its log after a power cut:
/// entries of a few milliseconds without waiting clients. A store that is farther ahead has lost
/// its log, or got an older one.
pub const LOG_BEHIND_MAX: u64 = 65_536;

/// Milliseconds within which another node's connection must prove that it is a metadata server of
/// the cluster.
pub const UNPROVEN_MS_MAX: u64 = 60_000;

const _: () = assert!(CLOCK_AGREE_NS < CLOCK_LEAD_NS_MAX, "it is reported before");
const _: () = assert!(CLOCK_LEAD_NS_MAX <= CLOCK_BACK_NS_MIN, "no leader stamps such a time");
const _: () = assert!(CLOCK_QUERY_MS < CLOCK_READING_MS_MAX, "a reading counts until the next one");
const _: () = assert!(CLOCK_READING_MS_MAX < CLOCK_STEP_HOLD_MS, "a step outlasts its readings");
