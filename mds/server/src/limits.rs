//! Every bound of the metadata server's front, in one place.

/// A whole request record: a 1 MiB WRITE and its headers.
pub const REQUEST_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// Largest READ or WRITE served in band, and the transfer size told to clients.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;
/// How often it is looked whether service addresses belong here; news of an election come at once.
pub const ADDRESS_LOOK_MS: u64 = 50;
/// How often it is looked whether those that should be here still are.
pub const ADDRESS_PRESENT_MS: u64 = 250;
/// When the network is told of an address, counted from when it was taken. Neighbours on Linux ignore news within a second of the last
/// (`locktime`), and some of it may be lost.
pub const ADDRESS_ANNOUNCED_AT_MS: [u64; 7] = [0, 50, 150, 400, 1_100, 2_200, 4_000];
/// An address goes by itself after so long, unless it is renewed: nothing stays where everything has died.
pub const ADDRESS_VALID_S: u32 = 5;
/// How often it is renewed.
pub const ADDRESS_RENEW_MS: u64 = 1_000;
/// How soon that is tried again when it failed. Not before it was looked whether the address is still here: one that is not is to be taken
/// and announced.
pub const ADDRESS_RENEW_AGAIN_MS: u64 = 250;
const _: () = assert!(ADDRESS_PRESENT_MS <= ADDRESS_RENEW_AGAIN_MS);
/// One that was not renewed for so long has gone by itself: the kernel takes up to a second longer than it was told.
pub const ADDRESS_OUTLIVED_MS: u64 = ADDRESS_VALID_S as u64 * 1_000 + 1_000;
/// A leader that cannot take its service addresses for so long has another node lead.
pub const ADDRESS_UNTAKEN_MS_MAX: u64 = 5_000;
/// When all others that can lead were asked to and have given the lead back, they are asked again after so long.
pub const ADDRESS_PASS_ON_AGAIN_MS: u64 = 30_000;
/// A process that was silent for so long loses its addresses: by then another one may lead.
pub const ADDRESS_LEASE_MS: u32 = 1_000;
/// How long a new leader waits for its read barrier before it looks again whether it leads.
pub const ADDRESS_BARRIER_MS_MAX: u64 = 500;
/// For so long after it took over, a leader counts clients of the one before as its own when it tells the other members; and a node
/// remembers a client whose connection to it is gone.
pub const CALLERS_KEPT_MS: u64 = 30_000;
/// Between two attempts at a request that this node can neither answer nor refuse now.
pub const PUT_OFF_MS: u64 = 20;
/// How long it tries.
pub const PUT_OFF_MS_MAX: u64 = 10_000;
/// Client connections at once.
pub const CONNECTIONS_MAX: usize = 4096;
/// Requests of one connection that run at the same time.
pub const IN_FLIGHT_PER_CONNECTION_MAX: usize = 128;
/// Bytes of requests of clients that are received or under way, over all connections: of all metadata servers of a process together.
pub const IN_FLIGHT_BYTES_MAX: usize = env_transport::METADATA_BYTES_MAX;
/// Bytes of answers to clients that are being made or not taken, likewise.
pub const ANSWER_BYTES_MAX: usize = env_transport::METADATA_BYTES_MAX;
/// How long READ and READDIR wait for room for what they answer before they answer DELAY. A client that takes nothing is cut after half a minute.
pub const ANSWER_ROOM_WAIT_MS_MAX: u64 = 5_000;
/// Bytes of one READDIR reply, whatever the client asks.
pub const READDIR_BYTES_MAX: u32 = 1 << 20;
/// Stateids in one TEST_STATEID.
pub const TEST_STATEIDS_MAX: usize = 1024;
/// Times that a READ in band begins again since the file was cut meanwhile.
pub const READ_ATTEMPTS_MAX: usize = 4;
/// Times that one request measures files that change meanwhile.
pub const MEASURE_ATTEMPTS_MAX: usize = 4;
/// How long a primary may take to say what it holds.
pub const MEASURE_MS_MAX: u64 = 1_000;
/// Files whose size one round settles.
pub const SETTLE_FILES_MAX: usize = 256;
/// Attempts of an operation whose content moved under it before it answers DELAY.
pub const CONTENT_MOVED_RETRIES_MAX: u32 = 8;
/// Recalls of layouts under way at once.
pub const RECALLS_MAX: usize = 1024;
/// A connection shows within this time that it is of those whom the port is for: by a request in a session, or the handshake.
pub const UNPROVEN_MS_MAX: u64 = 60_000;
/// Extents remembered whose new home does not have what it is to serve, until a look at all extents gives them to others.
pub const REFUTED_MAX: usize = 65_536;
/// Work items for data servers carried out in one round.
pub const WORK_BATCH_MAX: usize = 256;
/// A data server that failed for a client is left out of that client's layouts for this long.
pub const EXCLUSION_MS: u64 = 30_000;
/// Exclusions remembered.
pub const EXCLUSIONS_MAX: usize = 4096;
/// Of one client: a few for each data server that it could have to do with.
pub const EXCLUSIONS_EACH_MAX: usize = 256;
/// Extents fenced in one go when a layout is taken from a client.
pub const FENCED_EXTENTS_MAX: usize = 256;
/// How long a stop may take once an engine has stopped by itself: what it leads is handed over, and what can be is made durable.
pub const FAILED_STOP_MS_MAX: u64 = 5_000;
/// How long a start waits for a leader.
pub const START_LEADER_MS_MAX: u64 = 60_000;
/// Calls to data servers under way at once while a truncation is carried out.
pub const SETTLE_CALLS_MAX: usize = 32;
/// Work items carried out by such calls that one command strikes off: their numbers fit a log entry, and it is applied in some ten milliseconds.
pub const SETTLE_PART_MAX: usize = 4_096;
/// How long a data server that was not heard of since this node started is not taken for dead, beyond its lease.
pub const UNHEARD_MS: u64 = 5_000;
/// A backup whose server is dead for this long is replaced although nobody writes: a restart should cost less.
pub const BURY_MS: u64 = 10_000;
/// A backup that its home could not reach is not chosen again for this long, where there is another.
pub const SUSPECT_MS: u64 = 10_000;
/// How long I/O in band and LAYOUTGET wait for a backup to take the place of a dead home.
pub const FAILOVER_WAIT_MS_MAX: u64 = 6_000;

/// Extents of one striped segment.
pub const STRIPES_MAX: u32 = mds_shard::limits::STRIPES_MAX;
/// What LAYOUTGET's answer has for a segment of one extent, with a home and a reader, bytes at
/// most.
pub const LAYOUT_BYTES_MAX: u32 = 384;
/// Revoked layouts that clients have not freed yet and that are remembered.
pub const REVOKED_MAX: usize = 4096;
/// What LAYOUTGET's answer has around the body of a segment, bytes, and some more.
pub const LAYOUT_FRAME_BYTES: usize = 64;
/// How long a READ in band waits for a reader before it waits for a home.
pub const READER_WAIT_MS_MAX: u64 = 5_000;
/// Extents looked at in one go when servers come or go.
pub const COPIES_SCAN_MAX: usize = 1024;
/// Homes that are asked at once to fill backups of theirs; each extent counts.
pub const FILLS_AT_ONCE_MAX: usize = 16;
/// Extents that have a backup filled at once because a server is to be empty.
pub const DRAIN_FILLS_MAX: usize = 32;
/// Extents whose homes hand over in one go.
pub const HAND_OVERS_MAX: usize = 64;
/// How long clients may take to give layouts back before a home hands over.
pub const HAND_OVER_RECALL_MS_MAX: u64 = 3_000;
/// Images that move at once so that data servers hold their shares.
pub const BALANCE_IMAGES_MAX: usize = 2;
/// Extents that have a copy or their home moved at once for that.
pub const BALANCE_EXTENTS_MAX: usize = 8;
/// Images, and extents, that one plan names.
pub const BALANCE_PLAN_MAX: usize = 1024;
/// No more begins to move than makes so many bytes per second.
pub const BALANCE_BYTES_PER_S: u64 = 64 << 20;
/// Between two looks when nothing is to be moved, or something could not be.
pub const BALANCE_REST_MS: u64 = 10_000;
/// Between two looks at whether homes are where their images are.
pub const FOLLOW_REST_MS: u64 = 600_000;
/// An extent that has not moved by then stays, or is tried again later.
pub const BALANCE_MOVE_MS_MAX: u64 = 120_000;
/// Nothing begins to move for so long after data servers came or went.
pub const BALANCE_CALM_MS: u64 = 10_000;
/// Images of one code that wait for a group; further ones are shown again later.
pub const IMAGES_WAITING_MAX: usize = 16_384;
/// A waiting image that was not shown for this long is forgotten. Data servers show theirs every minute.
pub const SHOWN_AGAIN_MS_MAX: u64 = 300_000;
/// Groups whose parity is being made at once.
pub const GROUPS_AT_ONCE_MAX: usize = 4;
/// Pairs of short groups that are being made into one at once.
pub const JOINS_AT_ONCE_MAX: usize = 2;
/// Short groups of one code that one look takes note of; all pairs of them are compared.
pub const SHORT_GROUPS_MAX: usize = 256;
/// Images that wait too long make a short group when no further one came for this part of their wait,
pub const GROUP_LULL_PARTS: u64 = 4;
/// or when they have waited so many times as long.
pub const GROUP_WAIT_TIMES_MAX: u64 = 4;
/// How long images of a group whose data server had too much to do wait before the next attempt,
/// and half of that more at random; twice as long each time,
pub const GROUP_BUSY_RETRY_MS: u64 = 2_000;
/// up to this.
pub const GROUP_BUSY_RETRY_MS_MAX: u64 = 20_000;
/// How long images of a group that came to nothing for another reason wait before the next attempt;
/// twice as long each time,
pub const GROUP_RETRY_MS: u64 = 5_000;
/// up to this.
pub const GROUP_RETRY_MS_MAX: u64 = 300_000;
/// Groups looked at in one go.
pub const GROUPS_SCAN_MAX: usize = 64;
/// Images that are made again at once,
pub const REMAKES_AT_ONCE_MAX: usize = 16;
/// on one data server: as many as it works on.
pub const REMAKES_EACH_MAX: usize = 2;
/// Images whose data servers have enough to do that are passed over, when it is time for another one.
pub const REMAKES_LOOK_MAX: usize = 64;
/// Lost images that one look takes note of; those of groups that can lose least.
pub const LOST_IMAGES_MAX: usize = 1024;
/// Between two looks for images that are not where they should be, each at so many groups as are looked at in one go.
pub const HAVE_PAUSE_MS: u64 = 1_000;
/// How long a walk through all groups that has come to its end rests, unless a data server registers.
pub const HAVE_REST_MS: u64 = 600_000;
/// Images that were found missing and wait to be made again. The walk stands still while there are as many.
pub const MISSING_MAX: usize = 1024;
/// Pause before the log is asked again whether it has decided.
pub const DECIDED_RETRY_MS: u64 = 500;
/// Attempts of I/O in band on an extent whose home moves or cannot be reached, before it answers DELAY.
pub const HOME_MOVED_RETRIES_MAX: u32 = 8;
/// A data server that has not been asked for so long is asked whether it answers where clients call it.
pub const PROBE_EVERY_MS: u64 = 5_000;
/// How long it may take to answer: the call stands in line behind data.
pub const PROBE_MS_MAX: u64 = 2_000;
/// How long a heartbeat waits for that, after a complaint.
pub const PROBE_WAIT_MS_MAX: u64 = 500;

/// How often it is looked whether the log has something to say of what the cluster exports.
pub const EXPORTS_LOOK_MS: u64 = 1_000;
/// How long it may take to make the directories of exports and to set them.
pub const EXPORTS_SET_MS_MAX: u64 = 10_000;
/// How long clients may take to give layouts back before what restricted exports require is fenced.
pub const EXPORTS_RECALL_MS_MAX: u64 = 3_000;
/// Files whose layouts are recalled for that before any is waited for.
pub const EXPORTS_RECALL_FILES_MAX: usize = 256;
/// How long an administrator who restricts exports waits until data servers refuse the old handles.
pub const EXPORTS_FENCED_MS_MAX: u64 = 15_000;
/// How often it is looked whether layouts are back, and whether data servers have fenced.
pub const EXPORTS_FENCE_LOOK_MS: u64 = 20;
/// How often it is looked whether a handle key is being replaced, and the next step can be done.
pub const HANDLE_KEY_LOOK_MS: u64 = 1_000;
/// How long clients may take to give layouts back before the handle key is dropped that these were given out with.
pub const HANDLE_KEY_RECALL_MS_MAX: u64 = 30_000;

/// How often exports are set anew when somebody else was first.
pub const EXPORTS_SET_TRIES_MAX: u32 = 16;

/// How often it is looked up what a command about names is, when the names change meanwhile.
pub const NAME_PLANS_MAX: u32 = 16;

/// Inode numbers of a shard that are set aside at a time.
pub const INODES_RESERVED: u32 = 64;

/// Clients whose state is kept beyond their leases.
pub const COURTESY_CLIENTS_MAX: usize = 1_024;

/// How long it is kept by default, milliseconds: a day.
pub const COURTESY_MS: u64 = 86_400_000;

/// How soon it is looked again whether a node that leads shard 0 may govern.
pub const GOVERN_LOOK_MS: u64 = 20;

/// Shards that a new governor takes at a time.
pub const GOVERN_AT_ONCE: usize = 64;

/// What a governor's word to a shard has below the term: it is given anew when the fate of a command is not known, which takes seconds.
pub const GOVERN_WORD_BITS: u32 = 24;

/// Ended clients and sessions that other shards are being told of at once. What ends beyond that is found by the look that follows.
pub const ENDS_MAX: usize = 1_024;

/// How long a request waits until all shards have forgotten a client that ended for its sake.
pub const ENDS_WAIT_MS_MAX: u64 = 5_000;

/// How long a session that is taken up waits for commands of it that are under way in other shards than the first.
pub const TAKE_UP_WAIT_MS_MAX: u64 = 5_000;

/// Between two looks at what other shards have of clients and sessions that shard 0 does not know.
pub const LEFT_OVER_LOOK_MS: u64 = 10_000;

/// Of these, how many go from one shard after one look.
pub const LEFT_OVER_MAX: usize = 256;

/// How long a metadata server that does not lead waits for the leader's report, milliseconds.
pub const REPORT_MS_MAX: u64 = 5_000;

/// Parts of a report that are asked for.
pub const REPORT_PARTS_MAX: usize = 64;

/// An operation that takes longer is worth a line in the log, milliseconds.
pub const SLOW_MS: u64 = 1_000;

/// Objects whose access times are being noted; a read beyond that is not noted.
pub const ACCESSES_MAX: usize = 1024;

/// How often it is looked whether this process was stopped for a while, milliseconds.
pub const PAUSE_LOOK_MS: u64 = 1_000;

/// Between two looks at how far the journals of data servers went.
pub const MARK_MS: u64 = 500;

/// How often it is looked how much room the metadata disk has, milliseconds.
pub const ROOM_LOOK_MS: u64 = 1_000;
/// With less than this part of the metadata disk free, what needs room is refused,
pub const ROOM_LOW_PARTS: u64 = 50;
/// but not with more free than this,
pub const ROOM_LOW_BYTES_MAX: u64 = 1 << 30;
/// and with less free than this in any case: four segments of the log.
pub const ROOM_LOW_BYTES_MIN: u64 = 64 << 20;
/// What the reserve holds: room for segments of the log, and for a checkpoint, while files are removed.
pub const ROOM_RESERVE_BYTES: u64 = 64 << 20;
/// How often a leader whose disk is nearly full asks others to lead, milliseconds. After twice that it answers NOSPC.
pub const ROOM_HAND_OVER_MS: u64 = 10_000;
