//! Every bound of the metadata server's front.

/// A whole request record: a 1 MiB WRITE and its headers.
pub const REQUEST_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// Largest READ or WRITE served in band, and the transfer size announced to clients.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;
/// Interval of the checks whether service addresses belong here; news of an election trigger one at
/// once.
pub const ADDRESS_LOOK_MS: u64 = 50;
/// Interval of the checks whether the addresses held here still exist.
pub const ADDRESS_PRESENT_MS: u64 = 250;
/// When an address is announced to the network, counted from its configuration. Neighbours on Linux
/// ignore news within a second of the last (`locktime`), and some announcements may be lost.
pub const ADDRESS_ANNOUNCED_AT_MS: [u64; 7] = [0, 50, 150, 400, 1_100, 2_200, 4_000];
/// Lifetime of an address without renewal: no address stays on a machine where all processes have
/// died.
pub const ADDRESS_VALID_S: u32 = 5;
/// Interval of renewals.
pub const ADDRESS_RENEW_MS: u64 = 1_000;
/// Retry interval of a failed renewal. Not shorter than the presence check: an address that is gone
/// has to be taken again and announced.
pub const ADDRESS_RENEW_AGAIN_MS: u64 = 250;
const _: () = assert!(ADDRESS_PRESENT_MS <= ADDRESS_RENEW_AGAIN_MS);
/// An address that was not renewed for so long is gone: the kernel waits up to a second longer than
/// its lifetime.
pub const ADDRESS_OUTLIVED_MS: u64 = ADDRESS_VALID_S as u64 * 1_000 + 1_000;
/// A leader that cannot take its service addresses for so long hands leadership over.
pub const ADDRESS_UNTAKEN_MS_MAX: u64 = 5_000;
/// Once all other candidates were asked to lead and gave leadership back, they are asked again
/// after so long.
pub const ADDRESS_PASS_ON_AGAIN_MS: u64 = 30_000;
/// A process that was silent for so long loses its addresses: by then another may lead.
pub const ADDRESS_LEASE_MS: u32 = 1_000;
/// How long a new leader waits for its read barrier before it checks again whether it leads.
pub const ADDRESS_BARRIER_MS_MAX: u64 = 500;
/// For so long after it began to lead, a leader reports clients of the previous one as its own to
/// the other members; and a node remembers a client whose connection to it is gone.
pub const CALLERS_KEPT_MS: u64 = 30_000;
/// Interval of the attempts at a request that this node can neither answer nor refuse now.
pub const DELAYED_RETRY_MS: u64 = 20;
/// How long these attempts go on.
pub const DELAYED_MS_MAX: u64 = 10_000;
/// Client connections at once.
pub const CONNECTIONS_MAX: usize = 4096;
/// Requests of one connection that run at the same time.
pub const IN_FLIGHT_PER_CONNECTION_MAX: usize = 128;
/// Bytes of client requests that are received or in execution, over all connections of all metadata
/// servers of a process.
pub const IN_FLIGHT_BYTES_MAX: usize = env_transport::METADATA_BYTES_MAX;
/// Bytes of replies to clients that are being made or sent, likewise.
pub const ANSWER_BYTES_MAX: usize = env_transport::METADATA_BYTES_MAX;
/// How long READ and READDIR wait for reply memory before they answer DELAY. A client that receives
/// nothing is cut off after half a minute.
pub const ANSWER_ROOM_WAIT_MS_MAX: u64 = 5_000;
/// Bytes of one READDIR reply, whatever the client requests.
pub const READDIR_BYTES_MAX: u32 = 1 << 20;
/// Stateids in one TEST_STATEID.
pub const TEST_STATEIDS_MAX: usize = 1024;
/// Attempts of a READ in band whose file is cut meanwhile.
pub const READ_ATTEMPTS_MAX: usize = 4;
/// Attempts of one request to measure files that change meanwhile.
pub const MEASURE_ATTEMPTS_MAX: usize = 4;
/// How long a primary may take to report the sizes of its extents.
pub const MEASURE_MS_MAX: u64 = 1_000;
/// Files whose size one round settles.
pub const SETTLE_FILES_MAX: usize = 256;
/// Attempts of an operation whose content moved under it before it answers DELAY.
pub const CONTENT_MOVED_RETRIES_MAX: u32 = 8;
/// Recalls of layouts under way at once.
pub const RECALLS_MAX: usize = 1024;
/// A connection proves within this time that its peer may use the port: by a request in a session,
/// or the handshake.
pub const UNPROVEN_MS_MAX: u64 = 60_000;
/// Extents remembered whose new home does not have what it is to serve, until a look at all extents
/// gives them to others.
pub const REFUTED_MAX: usize = 65_536;
/// Work items for data servers carried out in one round.
pub const WORK_BATCH_MAX: usize = 256;
/// A data server that failed for a client is left out of that client's layouts for this long.
pub const EXCLUSION_MS: u64 = 30_000;
/// Exclusions remembered.
pub const EXCLUSIONS_MAX: usize = 4096;
/// Exclusions of one client: a few for each data server it may use.
pub const EXCLUSIONS_EACH_MAX: usize = 256;
/// Extents fenced by one command when a client's layout is revoked.
pub const FENCED_EXTENTS_MAX: usize = 256;
/// How long a stop may take once an engine has stopped by itself: the node hands its shards over,
/// and makes durable what it can.
pub const FAILED_STOP_MS_MAX: u64 = 5_000;
/// How long a start waits for a leader.
pub const START_LEADER_MS_MAX: u64 = 60_000;
/// Concurrent calls to data servers while a truncation is carried out.
pub const SETTLE_CALLS_MAX: usize = 32;
/// Work items that one command marks as done: their numbers fit a log entry, which is applied in
/// some ten milliseconds.
pub const SETTLE_PART_MAX: usize = 4_096;
/// Grace beyond its lease for a data server that has not reported since this node started, before
/// it counts as dead.
pub const UNHEARD_MS: u64 = 5_000;
/// A backup whose server is dead for so long is replaced although no client writes: a restart
/// should cost less.
pub const BURY_MS: u64 = 10_000;
/// A backup that its home could not reach is not chosen again for this long, where there is
/// another.
pub const SUSPECT_MS: u64 = 10_000;
/// How long I/O in band and LAYOUTGET wait for a backup to replace a dead home.
pub const FAILOVER_WAIT_MS_MAX: u64 = 6_000;

/// Extents of one striped segment.
pub const STRIPES_MAX: u32 = mds_state::limits::STRIPES_MAX;
/// Bytes of a LAYOUTGET reply for a segment of one extent, with a home and a reader, at most.
pub const LAYOUT_BYTES_MAX: u32 = 384;
/// Revoked layouts that clients have not freed yet and that are remembered.
pub const REVOKED_MAX: usize = 4096;
/// Bytes of a LAYOUTGET reply around the body of a segment, with some margin.
pub const LAYOUT_FRAME_BYTES: usize = 64;
/// How long a READ in band waits for a reader before it waits for a home.
pub const READER_WAIT_MS_MAX: u64 = 5_000;
/// Extents scanned at a time when servers come or go.
pub const COPIES_SCAN_MAX: usize = 1024;
/// Concurrent calls to homes to fill their backups; each extent counts.
pub const FILLS_AT_ONCE_MAX: usize = 16;
/// Extents with a backup that is filled for a draining server, at once.
pub const DRAIN_FILLS_MAX: usize = 32;
/// Extents whose homes hand over at a time.
pub const HAND_OVERS_MAX: usize = 64;
/// How long clients may take to return layouts before a home hands over.
pub const HAND_OVER_RECALL_MS_MAX: u64 = 3_000;
/// Images that move at once for rebalancing.
pub const BALANCE_IMAGES_MAX: usize = 2;
/// Extents that move a copy or their home at once for rebalancing.
pub const BALANCE_EXTENTS_MAX: usize = 8;
/// Images, and extents, that one plan names.
pub const BALANCE_PLAN_MAX: usize = 1024;
/// Moves begin at a rate of so many bytes per second at most.
pub const BALANCE_BYTES_PER_S: u64 = 64 << 20;
/// Interval of the scans when nothing has to move, or a move failed.
pub const BALANCE_REST_MS: u64 = 10_000;
/// Interval of the scans whether homes are where their images are.
pub const FOLLOW_REST_MS: u64 = 600_000;
/// A move that takes longer is given up, or retried later.
pub const BALANCE_MOVE_MS_MAX: u64 = 120_000;
/// No move begins for so long after data servers came or went.
pub const BALANCE_CALM_MS: u64 = 10_000;
/// Images of one code that wait for a group; further ones are reported again later.
pub const IMAGES_WAITING_MAX: usize = 16_384;
/// A waiting image that was not reported for this long is forgotten. Data servers report theirs
/// every minute.
pub const SHOWN_AGAIN_MS_MAX: u64 = 300_000;
/// Groups whose parity is being made at once.
pub const GROUPS_AT_ONCE_MAX: usize = 4;
/// Pairs of short groups that are being joined at once.
pub const JOINS_AT_ONCE_MAX: usize = 2;
/// Short groups of one code that one scan keeps; all pairs of them are compared.
pub const SHORT_GROUPS_MAX: usize = 256;
/// Images that wait too long make a short group when no other image came for this part of their
/// wait,
pub const GROUP_LULL_PARTS: u64 = 4;
/// or when they have waited so many times as long.
pub const GROUP_WAIT_TIMES_MAX: u64 = 4;
/// How long images of a group whose data server was overloaded wait before the next attempt, and
/// half of that more at random; twice as long each time,
pub const GROUP_BUSY_RETRY_MS: u64 = 2_000;
/// up to this.
pub const GROUP_BUSY_RETRY_MS_MAX: u64 = 20_000;
/// How long images of a group that failed for another reason wait before the next attempt; twice as
/// long each time,
pub const GROUP_RETRY_MS: u64 = 5_000;
/// up to this.
pub const GROUP_RETRY_MS_MAX: u64 = 300_000;
/// Groups scanned at a time.
pub const GROUPS_SCAN_MAX: usize = 64;
/// Images that are recreated at once,
pub const REMAKES_AT_ONCE_MAX: usize = 16;
/// on one data server: as many as it works on.
pub const REMAKES_EACH_MAX: usize = 2;
/// Images with overloaded data servers that are skipped in search of the next one to recreate.
pub const REMAKES_LOOK_MAX: usize = 64;
/// Lost images that one scan keeps; those of the groups that can lose least.
pub const LOST_IMAGES_MAX: usize = 1024;
/// Pause between two batches of the scan for images that are not where they should be, each of so
/// many groups as are scanned at a time.
pub const HAVE_PAUSE_MS: u64 = 1_000;
/// How long a completed scan of all groups rests, unless a data server registers.
pub const HAVE_REST_MS: u64 = 600_000;
/// Images that were found missing and wait to be recreated. The scan pauses at this number.
pub const MISSING_MAX: usize = 1024;
/// Pause between two queries of the log for a decision.
pub const DECIDED_RETRY_MS: u64 = 500;
/// Attempts of I/O in band on an extent whose home moves or is unreachable, before it answers
/// DELAY.
pub const HOME_MOVED_RETRIES_MAX: u32 = 8;
/// A data server that was not probed for so long is probed at its data address.
pub const PROBE_EVERY_MS: u64 = 5_000;
/// How long it may take to answer: the call queues behind data.
pub const PROBE_MS_MAX: u64 = 2_000;
/// How long a heartbeat waits for the probe, after a complaint.
pub const PROBE_WAIT_MS_MAX: u64 = 500;

/// Interval of the checks whether the log has to report on the exports.
pub const EXPORTS_LOOK_MS: u64 = 1_000;
/// How long creating the directories of exports and setting the list may take.
pub const EXPORTS_SET_MS_MAX: u64 = 10_000;
/// How long clients may take to return layouts before restricted exports are fenced.
pub const EXPORTS_RECALL_MS_MAX: u64 = 3_000;
/// Files whose layouts are recalled for that before the wait begins.
pub const EXPORTS_RECALL_FILES_MAX: usize = 256;
/// How long an administrator who restricts exports waits until data servers refuse the old handles.
pub const EXPORTS_FENCED_MS_MAX: u64 = 15_000;
/// Interval of the checks whether layouts are returned, and whether data servers have fenced.
pub const EXPORTS_FENCE_LOOK_MS: u64 = 20;
/// Interval of the checks whether a handle key is being replaced and its next step is due.
pub const HANDLE_KEY_LOOK_MS: u64 = 1_000;
/// How long clients may take to return layouts before the handle key that sealed them is dropped.
pub const HANDLE_KEY_RECALL_MS_MAX: u64 = 30_000;

/// Attempts to set exports when another change comes first.
pub const EXPORTS_SET_TRIES_MAX: u32 = 16;

/// Attempts to plan a command about names, when the names change meanwhile.
pub const NAME_PLANS_MAX: u32 = 16;

/// Inode numbers of a shard that are reserved at a time.
pub const INODES_RESERVED: u32 = 64;

/// Clients whose state is kept beyond their leases.
pub const COURTESY_CLIENTS_MAX: usize = 1_024;

/// How long that state is kept by default, milliseconds: a day.
pub const COURTESY_MS: u64 = 86_400_000;

/// Interval of the checks whether a node that leads shard 0 may govern.
pub const GOVERN_LOOK_MS: u64 = 20;

/// Shards that a new governor takes at a time.
pub const GOVERN_AT_ONCE: usize = 64;

/// Bits of a governor's word to a shard below the term: the word is renewed when the fate of a
/// command is unknown, which takes seconds.
pub const GOVERN_WORD_BITS: u32 = 24;

/// Ended clients and sessions that other shards are being notified of at once. The periodic scan
/// finds those beyond.
pub const ENDS_MAX: usize = 1_024;

/// How long a request waits until all shards have forgotten a client that it ended.
pub const ENDS_WAIT_MS_MAX: u64 = 5_000;

/// How long a session to be resumed waits for its commands under way in shards other than the
/// first.
pub const RESUME_WAIT_MS_MAX: u64 = 5_000;

/// Interval of the scans for clients and sessions in other shards that shard 0 does not know.
pub const ORPHANED_SCAN_MS: u64 = 10_000;

/// Of these, how many one scan removes from one shard.
pub const ORPHANED_MAX: usize = 256;

/// How long a metadata server that does not lead waits for the leader's report, milliseconds.
pub const REPORT_MS_MAX: u64 = 5_000;

/// Parts of a report that are requested.
pub const REPORT_PARTS_MAX: usize = 64;

/// Duration from which an operation is logged as slow, milliseconds.
pub const SLOW_MS: u64 = 1_000;

/// Objects whose access times are being recorded; a read beyond that is not recorded.
pub const ACCESSES_MAX: usize = 1024;

/// Interval of the checks whether this process was paused, milliseconds.
pub const PAUSE_LOOK_MS: u64 = 1_000;

/// Interval of the reads of the data servers' journal positions.
pub const MARK_MS: u64 = 500;

/// Interval of the checks of the metadata disk's free space, milliseconds.
pub const ROOM_LOOK_MS: u64 = 1_000;
/// With less than this part of the metadata disk free, commands that need space are refused,
pub const ROOM_LOW_PARTS: u64 = 50;
/// but not with more free than this,
pub const ROOM_LOW_BYTES_MAX: u64 = 1 << 30;
/// and with less free than this in any case: four segments of the log.
pub const ROOM_LOW_BYTES_MIN: u64 = 64 << 20;
/// Size of the reserve: space for segments of the log, and for a checkpoint, while files are
/// removed.
pub const ROOM_RESERVE_BYTES: u64 = 64 << 20;
/// Interval at which a leader whose disk is nearly full asks others to lead, milliseconds. After
/// twice that it answers NOSPC.
pub const ROOM_HAND_OVER_MS: u64 = 10_000;
