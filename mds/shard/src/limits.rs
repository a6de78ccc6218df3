//! Named caps of a shard's tables, queues and files.

/// Clients, confirmed or not.
pub const CLIENTS_MAX: u32 = 65_536;

/// Sessions of all clients: with so many, a client that wants another one asks again later.
pub const SESSIONS_MAX: u32 = 65_536;

/// Clients without a session: one more, and the oldest goes.
pub const UNCONFIRMED_MAX: u32 = 4_096;

/// Clients without a session of one address: one more, and the oldest of them goes. Each makes its session within a moment.
pub const UNCONFIRMED_PER_ADDRESS_MAX: usize = 64;

/// Operations of one request whose outcomes are recorded: as many as a compound has.
pub const RECORDED_PER_SLOT_MAX: usize = wire_session::limits::OPERATIONS_MAX as usize;

/// Bytes of one recorded outcome. The longest that a reply needs is a lock that is in the way, with its owner.
pub const RECORDED_BYTES_MAX: usize = 1_536;

/// Sessions of one client: one more, and the oldest goes.
pub const SESSIONS_PER_CLIENT_MAX: usize = wire_session::limits::SESSIONS_PER_CLIENT_MAX;

/// Acts on several shards that one of them keeps at a time.
pub const INTENTS_MAX: usize = 64;

/// Bytes of keys and values of one act on several shards, without those of the shard that keeps it.
pub const INTENT_BYTES_MAX: usize = 64 << 10;

/// Inode numbers set aside at a time.
pub const RESERVED_INODES_MAX: u32 = 1_024;

/// Opens of one client.
pub const OPENS_PER_CLIENT_MAX: u32 = 262_144;

/// Lock stateids of one client.
pub const LOCKS_PER_CLIENT_MAX: u32 = 65_536;

/// Layouts of one client.
pub const LAYOUTS_PER_CLIENT_MAX: u32 = 262_144;

/// Opens of one file, over all clients.
pub const OPENS_PER_FILE_MAX: u32 = 65_536;

/// Lock stateids of one file, over all clients.
pub const LOCKS_PER_FILE_MAX: u32 = 131_072;

/// Byte ranges locked by one client, over all files. All of them go with one command when the client does.
pub const RANGES_PER_CLIENT_MAX: u32 = 131_072;

/// Data servers of a file system.
pub const DATA_SERVERS_MAX: usize = 1_024;

/// Extents whose copies one command changes.
pub const COPY_CHANGES_MAX: usize = 256;

/// Extents that one LAYOUTGET names: the widest run of a striped segment.
pub const GRANTED_EXTENTS_MAX: usize = 8;
/// Written extents of a file that a SETATTR of a time or mode takes in; of a longer one the time moves with the next answer.
pub const MEASURED_EXTENTS_MAX: usize = 4_096;

/// Images that one command says are in use.
pub const USED_IMAGES_MAX: usize = 256;

/// Work items of a data server that is removed which one command strikes off.
pub const WORK_STRUCK_MAX: usize = 65_536;

/// Addresses of one data server.
pub const SERVER_ADDRESSES_MAX: usize = 16;

/// Exports of a cluster.
pub const EXPORTS_MAX: usize = wire_nfs::control::limits::EXPORTS_MAX;

/// Bytes of all exports: paths, 64 for each, and 48 for each network of clients. All of them fit one call of an administrator.
pub const EXPORTS_BYTES_MAX: usize = wire_nfs::control::limits::EXPORTS_BYTES_MAX;

/// Bytes of the path of an export: no client could name a longer one.
pub const EXPORT_PATH_BYTES_MAX: usize = wire_nfs::control::limits::EXPORT_PATH_BYTES_MAX;

/// Paths that were exported once and still have their ids; of more, the oldest are forgotten, and get others if they are exported again.
pub const EXPORTS_REMOVED_MAX: usize = 1_024;

/// Bytes of these paths.
pub const EXPORTS_REMOVED_BYTES_MAX: usize = 64 << 10;

/// Exports that are recorded of a file of which data-server handles are out; of more, it may be any.
pub const HANDED_EXPORTS_MAX: usize = 4;

/// Files that one command looks at for extents that are to be fenced.
pub const FENCE_FILES_MAX: usize = 1_024;

/// Extents that one command fences: each is an item of work for a data server.
pub const FENCE_EXTENTS_MAX: usize = 256;

/// Extents of one striped segment. With handles of 64 bytes and two mirrors 16 would not fit into the 4096 bytes that clients read.
pub const STRIPES_MAX: u32 = 8;

/// Bytes of an owner: client owner, open-owner, lock-owner (NFS4_OPAQUE_LIMIT).
pub const OWNER_BYTES_MAX: usize = 1_024;

/// Bytes of one encoded log entry: the largest inline write and generous names.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Entries of one log record batch handed to the disk at a time.
pub const APPEND_ENTRIES_MAX: u64 = 4_096;

/// Entries in one message to a follower.
pub const REPLICATE_ENTRIES_MAX: u64 = 1_024;

/// Payload bytes in one message to a follower (one entry more, if it alone is larger).
pub const REPLICATE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of one message between members: a full batch of entries with one that is long, and what frames them.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Milliseconds one part of a snapshot may take.
pub const SNAPSHOT_CALL_MS_MAX: u64 = 120_000;

/// Milliseconds that a follower may take to put a snapshot in place of its store: hundreds of millions of inodes. One that is gone is noticed
/// long before: by its heartbeats if there are several shards, else by TCP.
pub const SNAPSHOT_INSTALL_MS_MAX: u64 = 3_600_000;

/// Milliseconds for which a node that is sent a snapshot, or was, may answer nothing before the log behind it is not kept any more.
pub const SNAPSHOT_SILENT_MS_MAX: u64 = 10_000;

/// Milliseconds for which the log behind a snapshot that is in is kept for a node that takes up nothing more of it.
pub const SNAPSHOT_FOLLOW_MS_MAX: u64 = 30_000;

/// Log bytes that a node keeps for those that it sends snapshots to; its shards share them. They are kept in memory too.
pub const HELD_LOG_BYTES_MAX: u64 = 512 << 20;

/// Log entries, likewise.
pub const HELD_LOG_ENTRIES_MAX: u64 = 2_000_000;

/// Milliseconds that a call waits for the engine of a shard of which a snapshot is being installed.
pub const TORN_ANSWER_MS_MAX: u64 = 5;

/// Milliseconds between two heartbeats of which such an engine is told: it keeps an answer to each. If heartbeats are short, four of them
/// at most: its patience with a leader is 12.
pub const TORN_TELL_MS: u64 = 500;

/// Milliseconds for which a node may lead shard 0 while it installs a snapshot of any shard: until that is in, nothing can be read there.
pub const TORN_LEAD_MS_MAX: u64 = 2_000;

/// Milliseconds until such a node asks the others again to lead shard 0, when all have given it back.
pub const TORN_AGAIN_MS: u64 = 30_000;

/// Milliseconds that an entry nobody waits for may stay unflushed when nothing else is.
pub const UNHURRIED_MS_MAX: u64 = 5;

/// Size of a segment of the log.
pub const LOG_SEGMENT_BYTES: u64 = 16 << 20;

/// Segments of the log kept for reuse: as many as fill between two checkpoints.
pub const LOG_SEGMENTS_RECYCLED: usize = 5;

/// A log that found no room on its disk tries again after this.
pub const ROOM_RETRY_MS: u64 = 100;
/// And says so no more often than this.
pub const ROOM_SAY_MS: u64 = 10_000;

/// Segments that a group may need behind the log's head before its store is checkpointed and its log cut; at twice that, what is
/// left of it is written again at the head. More is allowed while more than that is in force.
pub const LOG_LAG_SEGMENTS: u64 = 6;

/// Payload bytes of one write of what is renewed (one entry more, if it alone is larger).
pub const RENEW_BYTES_MAX: usize = 4 << 20;

/// Entries of one write of what is renewed.
pub const RENEW_RECORDS_MAX: usize = 4_096;

/// Milliseconds after which no further command is applied before other tasks of the thread have had their turn: half of the time between two
/// heartbeats.
pub const APPLY_MS_MAX: u64 = 50;

/// Keys that one command writes on the thread that sends heartbeats, some ten milliseconds. One that writes more (the end of a client that holds
/// much, or of a file of many extents; a truncation of one) is carried out on another.
pub const APPLY_KEYS_MAX: usize = 4_096;

/// Commands applied in one store transaction.
pub const APPLY_ENTRIES_MAX: usize = 1_024;

/// Log bytes after which the store is checkpointed and the log cut. The log's tail is also kept in memory.
pub const CHECKPOINT_LOG_BYTES: u64 = 64 << 20;

/// Log entries after which the store is checkpointed and the log cut: bounds the replay after a crash.
pub const CHECKPOINT_LOG_ENTRIES: u64 = 50_000;

/// Log entries kept behind a checkpoint when there are followers, so that one that was away for a moment needs no
/// snapshot.
pub const LOG_ENTRIES_KEPT: u64 = 5_000;

/// Milliseconds a proposal or a read barrier may take before its caller is told that it has no outcome.
pub const PROPOSE_MS_MAX: u64 = 20_000;

/// Heartbeats that must be missing before a member asks for an election.
pub const ELECTION_HEARTBEATS_MIN: u64 = 4;

/// Heartbeats after which it does for sure.
pub const ELECTION_HEARTBEATS_MAX: u64 = 8;

/// Heartbeats after which a leader whose heartbeats no majority has answered no longer reads alone. Fewer than
/// [`ELECTION_HEARTBEATS_MAX`], for which followers elect nobody else: so the clock of a follower may go faster than a leader's, by a third. Linux
/// lets those who set clocks make them faster or slower by a tenth: two of them differ by less than a quarter.
pub const LEASE_HEARTBEATS: u64 = 6;

/// Milliseconds for which a machine is suspended at least, if it is: clocks that are read one after the other differ by less.
pub const SUSPENDED_MS_MIN: u64 = 5;

/// Shards of a cluster.
pub const SHARDS_MAX: usize = 1_024;

/// Shards of a node that stand for election at once.
pub const ELECTIONS_MAX: usize = 32;

/// Heartbeats for which a node that starts for the first time listens before it stands for election anywhere but in shard 0. One that has been
/// there before waits until any lease that it may have given is over.
pub const LISTEN_HEARTBEATS: u64 = 3;

/// Milliseconds after which a shard that had nothing to do hibernates, by default.
pub const HIBERNATE_MS_DEFAULT: u64 = 3_000;

/// Checkpoints that are begun between two looks at whether some are due.
pub const CHECKPOINTS_BEGUN_MAX: usize = 4;

/// Looks at whether checkpoints are due between two looks at which shards lag.
pub const LOG_LAG_POLLS: u64 = 10;

/// Shards whose old segments are freed at each of these looks.
pub const LAGGING_FREED_MAX: usize = 8;

/// Milliseconds between two handovers of a shard to the node that should lead it.
pub const SPREAD_POLL_MS: u64 = 200;

/// Milliseconds until it is looked again when nothing was to be handed over.
pub const SPREAD_IDLE_MS: u64 = 1_000;

/// Milliseconds for which a node must have been alive before it is handed anything.
pub const SPREAD_ALIVE_MS: u64 = 5_000;

/// Milliseconds after which a handover is tried again.
pub const SPREAD_RETRY_MS: u64 = 10_000;

/// Milliseconds that a planned stop waits for its shards to be led by others.
pub const HAND_OVER_MS_MAX: u64 = 2_000;

/// How long a leader that is to hand over waits for a node that answers and has all entries.
pub const HEIR_WAIT_MS_MAX: u64 = 500;

/// How often it looks.
pub const HEIR_LOOK_MS: u64 = 2;

/// Stores of shards that are opened, or closed, at once.
pub const STORES_AT_ONCE: usize = 16;

/// Least bytes of a shard's store kept in memory.
pub const STORE_CACHE_BYTES_MIN: usize = 1 << 20;

/// Times a proposal is tried again when it met a leader that cannot lead just now. Nothing was done then.
pub const PROPOSE_RETRIES_MAX: u32 = 20;

/// Times that a replica which follows looks for the leader again, to have it propose something: some elections long.
pub const FORWARD_RETRIES_MAX: u32 = 100;

/// Milliseconds that a single replica may take to apply its log at start.
pub const RECOVERY_MS_MAX: u64 = 300_000;

/// Milliseconds between two looks at whether a checkpoint is due.
pub const CHECKPOINT_POLL_MS: u64 = 100;

/// Connections of clients that a leader tells the other members of.
pub const CALLERS_MAX: usize = 4_096;

/// How long telling a member of them may take.
pub const CALLERS_CALL_MS_MAX: u64 = 1_000;

/// How often they are told although nothing has changed: a member may have been away.
pub const CALLERS_AGAIN_MS: u64 = 1_000;

/// How long a machine may take to refuse a connection to a leader that died there.
pub const PROBE_MS_MAX: u64 = 500;

/// Pauses before each attempt at such a connection.
pub const PROBE_PAUSES_MS: [u64; 8] = [0, 2, 5, 10, 20, 40, 80, 160];

/// How often it is looked whether a member that waits for the death of leaders has stopped.
pub const WATCH_MS: u64 = 1_000;

/// Times that a member stands for election after the death of a leader, before elections take their own time.
pub const SUCCESSION_TRIES_MAX: u32 = 3;

/// Between the death of a leader and the first election: the other members are to know of it too.
pub const SUCCESSION_MS: u64 = 20;

/// Between two members that stand for election after it, so that they do not take votes from each other.
pub const SUCCESSION_STEP_MS: u64 = 150;

/// Proposals waiting for their outcome; further ones are turned away.
pub const PROPOSALS_MAX: usize = 16_384;

/// Between two looks at whether all nodes of a new cluster are there.
pub const BOOTSTRAP_POLL_MS: u64 = 50;

/// Such looks before an operator is told, and they become rarer.
pub const BOOTSTRAP_FAST_POLLS: u32 = 100;

/// Between two looks from then on.
pub const BOOTSTRAP_IDLE_MS: u64 = 1_000;

/// How long a node may take to say who it is.
pub const IDENTIFY_MS_MAX: u64 = 1_000;

/// How long it may take to be taken in: whoever leads asks back, and the nodes write it down.
pub const JOIN_MS_MAX: u64 = 3 * IDENTIFY_MS_MAX;

/// Between two times that a node asks to be taken in.
pub const JOIN_POLL_MS: u64 = 500;

/// Between two looks at whether a shard's members are as they should be.
pub const RECONCILE_MS: u64 = 1_000;

/// The same while some are not.
pub const RECONCILE_POLL_MS: u64 = 100;

/// Entries that a node may lack which is to vote from now on.
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
const _: () = assert!(ELECTION_HEARTBEATS_MIN < ELECTION_HEARTBEATS_MAX);
const _: () = assert!(LEASE_HEARTBEATS < ELECTION_HEARTBEATS_MAX, "a lease ends before others are elected");
const _: () = assert!(OWNER_BYTES_MAX + 64 < RECORDED_BYTES_MAX, "a denied lock is recorded whole");
const _: () = assert!(RECORDED_PER_SLOT_MAX * (RECORDED_BYTES_MAX + 8) + 32 < SNAPSHOT_VALUE_BYTES_MAX);
const _: () = assert!(RENEW_RECORDS_MAX <= wal::limits::BATCH_RECORDS_MAX, "one write takes them");
const _: () = assert!(LOG_ENTRIES_KEPT < CHECKPOINT_LOG_ENTRIES);
const _: () = assert!(CHECKPOINT_LOG_ENTRIES < HELD_LOG_ENTRIES_MAX);
const _: () = assert!(CHECKPOINT_LOG_BYTES < HELD_LOG_BYTES_MAX);
const _: () = assert!(ENTRY_BYTES_MAX < SNAPSHOT_VALUE_BYTES_MAX);
const _: () = assert!(EXPORTS_BYTES_MAX + 64 < ENTRY_BYTES_MAX, "one command sets them");
const _: () = assert!(EXPORTS_MAX + EXPORTS_REMOVED_MAX < u16::MAX as usize, "each has an id");
const _: () = assert!(CALLERS_MAX * 48 < MESSAGE_BYTES_MAX, "all callers fit one message");

/// Wall clocks that differ by no more are right, nanoseconds. One that is off by more is reported.
pub const CLOCK_AGREE_NS: u64 = 1_000_000_000;

/// A node whose clock is off by more does not lead, nanoseconds.
pub const CLOCK_LEAD_NS_MAX: u64 = 60_000_000_000;

/// A step of what counts is believed when it has lasted so long, milliseconds.
pub const CLOCK_STEP_HOLD_MS: u64 = 60_000;

/// Times of entries go back if they are ahead by this, nanoseconds; by less they wait.
pub const CLOCK_BACK_NS_MIN: u64 = 60_000_000_000;

/// How often nodes ask each other what time it is, milliseconds.
pub const CLOCK_ASK_MS: u64 = 1_000;

/// What a clock showed counts for so long, milliseconds.
pub const CLOCK_HEARD_MS: u64 = 5_000;

/// Clocks of others that are remembered.
pub const CLOCKS_MAX: usize = 4_096;

/// Entries by which the store of a node that is alone may be ahead of its log after a power cut: those that no client waited for, of a few
/// milliseconds. One that is farther ahead has lost its log, or got an older one.
pub const LOG_BEHIND_MAX: u64 = 65_536;

/// A connection of another node proves within this time that it is a metadata server of the cluster, milliseconds.
pub const UNPROVEN_MS_MAX: u64 = 60_000;
