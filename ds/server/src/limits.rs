//! Bounds of the data server.

use env_transport::{Limits, Traffic};
use wire_nfs::control::limits::{HANDSHAKE_RECORD_BYTES_MAX, HELD_MAX};

/// A wait of a WRITE or COMMIT that takes longer is worth a line in the log.
pub const SLOW_MS: u64 = 1_000;

/// Most bytes of one READ or WRITE; a READ of more comes back short.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Bytes of READ_DATA replies to primaries being gathered, over all connections. Further ones wait.
pub const READ_BYTES_IN_FLIGHT_MAX: u32 = 64 << 20;

/// A request that waited this long for the server's lease to come back is answered JUKEBOX.
pub const LEASE_WAIT_MS_MAX: u64 = 4_000;

/// A handle is good by itself until it is more than so many steps (`layout::handle::ISSUE_UNIT_MS`)
/// old: 48 to 64 s.
pub const HANDLE_FRESH_STEPS: u32 = 3;

/// From so many steps on the server asks about a handle that is used, so that no request waits
/// later.
pub const HANDLE_RENEW_STEPS: u32 = 2;

/// The server believes for so long that a layout is held,
pub const HELD_S_MAX: u64 = 60;

/// and asks again, beside requests, when a metadata server said it so long ago.
pub const HELD_RENEW_S: u64 = 30;

/// The server believes for so long that a layout ended: it refuses a client that shows its handle
/// meanwhile without a question.
pub const GONE_S_MAX: u64 = 10;

/// Holders of layouts of which the server remembers what metadata servers said, 8 bytes each.
pub const HOLDERS_KNOWN_MAX: usize = 131_072;

/// Holders that the server asks about at a time. A request about a further one is answered JUKEBOX.
pub const QUESTIONS_MAX: usize = 8_192;

/// A request that waited this long to hear whether its layout is held, or whether its export admits
/// it, is answered JUKEBOX.
pub const HELD_WAIT_MS_MAX: u64 = 4_000;

/// Pause before the server asks again whether layouts are held, after a call that failed.
pub const HELD_PAUSE_MS: u64 = 100;

/// A list of exports that is known not to be in force any more judges client requests for so long,
/// while the server cannot get the one that is.
pub const EXPORTS_OUTDATED_MS_MAX: u64 = 60_000;

/// Times that a request is checked again because it waited, before it is answered JUKEBOX.
pub const ADMIT_ROUNDS_MAX: usize = 8;

/// A READ that waited this long for its turn is answered JUKEBOX.
pub const READ_WAIT_MS_MAX: u64 = 4_000;

/// Connections of clients.
pub const CONNECTIONS_MAX: usize = 4096;

/// Bytes of requests of clients that are received or under way, over all connections: of all data
/// servers of a process together.
pub const WRITE_BYTES_IN_FLIGHT_MAX: usize = env_transport::DATA_BYTES_MAX;

/// Bytes of answers to clients that are being made or not taken, likewise.
pub const ANSWER_BYTES_MAX: usize = env_transport::DATA_BYTES_MAX;

/// Connections of metadata servers and tools.
pub const CONTROL_CONNECTIONS_MAX: usize = 256;

/// How long REGISTER and HEARTBEAT may take.
pub const CONTROL_CALL_MS_MAX: u64 = 2_000;

/// A metadata server is told so soon how far the journal has come to be on stable storage: what was
/// acknowledged before is missed if the store is lost.
pub const DURABLE_TOLD_MS: u64 = 50;

/// Heartbeats come so often within the part of a lease that is used.
pub const HEARTBEAT_PARTS: u64 = 6;

/// How long a READ waits for bad bytes to be fetched from a replica.
pub const RESTORE_MS_MAX: u64 = 2_000;

/// READs that have bad bytes fetched at once.
pub const RESTORES_MAX: usize = 8;

/// Between two reports that the disk has failed.
pub const FAILURE_REPORT_MS: u64 = 500;

/// A disk that has not answered an operation for so long hangs, milliseconds: the server gives up
/// its lease. Disks that work and have much to do take seconds for a flush, and must not be given
/// up, since the copies elsewhere then have to be made again; so it is longer than a lease (3 s).
/// What waits for the disk goes on elsewhere long before clients give an answer up.
pub const HANG_MS: u64 = 5_000;
/// Only while nothing waits for so long a disk that hung counts as prompt,
pub const PROMPT_MS: u64 = 1_000;
/// and after so long of that it does not hang any more: one that answers a flush now and then must
/// not come and go.
pub const HANG_OVER_MS: u64 = 2_000;
/// Between two looks at the operations under way.
pub const WATCH_LOOK_MS: u64 = 250;
/// Time goes on by no more from one look to the next: in the rest the process did not run.
pub const WATCH_STEP_MS_MAX: u64 = 2 * WATCH_LOOK_MS;
/// Operations under way that are watched: more than a disk takes at once.
pub const WATCH_PLACES: usize = 1024;

/// A replica that has not answered for so long is replaced.
pub const REPLICA_STALL_MS_MAX: u64 = 1_500;

/// Pause before a replica is sent again what the primary's journal did not give: the scrub is at it
/// meanwhile.
pub const UNREADABLE_PAUSE_MS: u64 = 500;

/// Pause before a call to a replica, or about one, is made again.
pub const REPLICA_PAUSE_MS: u64 = 50;

/// Pause before a replica that had no room is asked again.
pub const REPLICA_FULL_PAUSE_MS: u64 = 1_000;

/// How long a WRITE or COMMIT waits for the replicas of its extent before it is answered JUKEBOX.
pub const SETTLE_MS_MAX: u64 = 12_000;

/// Extents of which the server reports at a time that something lies above their image; a WRITE to
/// a further one is answered JUKEBOX.
pub const THAWS_MAX: usize = 4_096;

/// Of these, calls that are under way.
pub const THAW_CALLS_MAX: usize = 64;

/// Extents of which the server remembers that the log says that something of them may be promised.
/// Of one that it forgot it asks once more.
pub const PROMISED_KNOWN_MAX: usize = 65_536;

/// Pause before such a call is made again.
pub const THAW_PAUSE_MS: u64 = 50;

/// Questions to a metadata server, one for each READ that a reader answers, that are under way at a
/// time. Further READs wait.
pub const REST_CALLS_MAX: usize = 64;

/// How long a READ waits for the answer before it is answered JUKEBOX.
pub const REST_MS_MAX: u64 = 4_000;

/// Pause before such a question is asked again.
pub const REST_PAUSE_MS: u64 = 100;

/// Times that a WRITE meets another image than the one it was waiting for, before it is answered
/// JUKEBOX.
pub const THAW_IMAGES_MAX: usize = 8;

/// How long a replica waits for its primary to send an extent again.
pub const SAY_AGAIN_MS_MAX: u64 = SETTLE_MS_MAX + 8_000;

/// How long a CUT waits for the replicas before it is answered BUSY.
pub const CUT_SETTLE_MS_MAX: u64 = 6_000;

/// Bytes under way to one other data server, for all of its replicas. Further WRITEs wait.
pub const REPLICA_WINDOW_BYTES: u32 = 32 << 20;

/// Records under way to one replica while it is being filled.
pub const FILL_RECORDS_IN_FLIGHT_MAX: usize = 4;

/// Bytes per second that go to a replica that is filled while no request waits for it.
pub const FILL_BYTES_PER_S: u64 = 64 << 20;

/// Extents whose replicas are remembered; beyond, those are forgotten that have nothing under way.
pub const COPIES_KNOWN_MAX: usize = 16_384;

/// Bytes per second of extents that are sealed, and of parity that is made, unless the
/// configuration says otherwise. With this, writing on a machine that has all of a cluster's
/// servers on two processors costs less than a fifth of its speed (docs/bench.md).
pub const SEAL_BYTES_PER_S: u64 = 32 << 20;

/// How often the server looks for extents to seal, and for images to show.
pub const SEAL_PERIOD_MS: u64 = 1_000;

/// Extents that are sealed in one round.
pub const SEAL_ROUND_MAX: usize = 16;

/// An extent that could not be sealed is left alone for so long.
pub const SEAL_RETRY_MS: u64 = 30_000;

/// An extent of which another data server is primary is left alone for so long; so is one that was
/// sealed and waits for its group.
pub const SEAL_AGAIN_MS: u64 = 600_000;

/// For so long after a client's last request the server counts as busy.
pub const CLIENT_LINGERS_MS: u64 = 100;

/// While clients wait, sealing goes at one part in so many of its pace.
pub const SEAL_BUSY_PARTS: u64 = 4;

/// A store with less than one part in so many free seals as fast as it can, also while clients
/// wait: images need less room than journals.
pub const PRESSED_PARTS: u64 = 4;

/// Bytes of an extent that sealing holds at a time.
pub const SEAL_READ_BYTES: u32 = 1 << 20;

/// How often all images are shown to a metadata server.
pub const SHOW_PERIOD_MS: u64 = 60_000;

/// How often an image that waits for its group is shown.
pub const SHOW_WAITING_MS: u64 = 2_000;

/// Images that a primary tells its replicas of, or takes into use, in one round.
pub const SAY_ROUND_MAX: usize = 16;

/// A primary that has shown an image as used, and that the metadata server told to wait, has its
/// replicas confirm it again after so long.
pub const SAY_AGAIN_MS: u64 = 10_000;

/// Images that are put into use at a time.
pub const USES_MAX: usize = 4;

/// Memory for what is known of images here that are kept open.
pub const IMAGES_OPEN_BYTES: usize = 32 << 20;

/// Images elsewhere of which the server remembers where their frames lie.
pub const LOST_KNOWN_MAX: usize = 256;

/// Bytes of frames that had to be fetched or computed, and are kept.
pub const FRAMES_KEPT_BYTES: usize = 64 << 20;

/// Bytes of images being read for other servers. Further reads wait.
pub const IMAGE_BYTES_IN_FLIGHT_MAX: u32 = 64 << 20;

/// Groups being encoded and images being made again at a time.
pub const IMAGE_WORKS_MAX: usize = 2;

/// Further ones that wait for their turn: more than a metadata server begins at once. What comes
/// beyond is answered BUSY,
pub const IMAGE_WORKS_QUEUED_MAX: usize = 32;

/// and so is one whose turn has not come after so long. The caller waits longer
/// (`client::limits::ENCODE_MS_MAX`).
pub const IMAGE_WORK_WAIT_MS_MAX: u64 = 120_000;

/// Images that are coming in at a time.
pub const RECEIVING_MAX: usize = 32;

/// An image of which nothing came for so long is forgotten when another one needs its place.
pub const RECEIVING_MS_MAX: u64 = 60_000;

/// How long a piece of an image may take to come or go.
pub const IMAGE_CALL_MS_MAX: u64 = 2_000;

/// How long END_IMAGE may take: an image is synced and read back.
pub const IMAGE_END_MS_MAX: u64 = 60_000;

/// A server that did not answer is asked after all others for so long.
pub const SILENT_MS: u64 = 15_000;

/// Groups that the server remembers, and for how long.
pub const GROUPS_KNOWN_MAX: usize = 1_024;
/// See [`GROUPS_KNOWN_MAX`].
pub const GROUP_KEPT_MS: u64 = 60_000;

/// Images being mended at a time.
pub const MENDING_MAX: usize = 1;

/// An image that was mended, or could not be, is left alone for so long.
pub const MEND_AGAIN_MS: u64 = 60_000;

/// Images of which the server remembers that they were mended, or could not be.
pub const MENDED_KNOWN_MAX: usize = 1_024;

/// Bad frames of one image that are mended; one with more is left to be made again.
pub const MEND_FRAMES_MAX: usize = 256;

/// How long a round of the scrub should take, unless the configuration says otherwise.
pub const SCRUB_PERIOD_MS: u64 = 7 * 86_400_000;

/// Bytes per second that the scrub reads at most, unless the configuration says otherwise.
pub const SCRUB_BYTES_PER_S: u64 = 20 << 20;

/// The scrub is never slower than this: a round of little data ends early.
pub const SCRUB_BYTES_PER_S_MIN: u64 = 64 << 10;

/// While clients wait, the scrub goes at one part in so many of its pace.
pub const SCRUB_BUSY_PARTS: u64 = 4;

/// How often the scrub looks whether the next round is due.
pub const SCRUB_LOOK_MS: u64 = 60_000;

/// The scrub checks again after so long what is bad and could not be repaired.
pub const SCRUB_AGAIN_MS: u64 = 600_000;

/// Bad images and extents that are checked again before the next round; others wait for that.
pub const SCRUB_AGAIN_MAX: usize = 1_024;

/// How long the scrub waits for a segment of the journal with a bad header or footer to be emptied.
pub const SCRUB_EMPTY_MS_MAX: u64 = 10_000;

/// How often the scrub notes how far it is.
pub const SCRUB_NOTE_MS: u64 = 10_000;

/// Pause before a metadata server that could not be reached, or did not know what to do with us, is
/// called again.
pub const REGISTER_PAUSE_MS: u64 = 200;

/// A lease shorter than this would leave no time to renew it; one longer would outlive any use.
pub const LEASE_MS_MIN: u32 = 100;
/// See [`LEASE_MS_MIN`].
pub const LEASE_MS_MAX: u32 = 600_000;

/// One of so many parts of a lease is not used: clocks of metadata servers may go faster than this
/// server's, by a third (docs/protocol/raft.md, What reads assume of clocks).
pub const LEASE_MARGIN_PARTS: u32 = 4;

/// How often the server asks a metadata server for the time, milliseconds.
pub const CLOCK_ASK_MS: u64 = 2_000;
/// A wall clock that is off by no more is right, nanoseconds.
pub const CLOCK_AGREE_NS: u64 = 1_000_000_000;

/// RPC and NFS headers around the data of a WRITE.
const HEADER_BYTES_MAX: usize = 2048;

/// Largest message of a metadata or data server.
const RECORD_BYTES_MAX: usize = {
    use wire_nfs::control::limits::{CONTROL_BYTES_MAX, IMAGE_CALL_BYTES_MAX, REPLICATE_BYTES_MAX};
    let data =
        if IMAGE_CALL_BYTES_MAX < REPLICATE_BYTES_MAX { REPLICATE_BYTES_MAX } else { IMAGE_CALL_BYTES_MAX };
    if CONTROL_BYTES_MAX < data { data } else { CONTROL_BYTES_MAX }
};

/// Bytes of records of other primaries under way, over all connections.
const REPLICATE_BYTES_IN_FLIGHT_MAX: usize = 128 << 20;

// Handles, exports and leases.
const _: () = assert!(HANDLE_RENEW_STEPS <= HANDLE_FRESH_STEPS, "a handle is asked about in time");
const _: () = assert!(HELD_RENEW_S < HELD_S_MAX, "a layout is asked about in time");
const _: () = assert!(GONE_S_MAX <= HELD_S_MAX, "a refusal is not believed longer");
const _: () = assert!(HELD_MAX <= QUESTIONS_MAX, "a whole call of questions may wait");
const _: () = assert!(QUESTIONS_MAX <= HOLDERS_KNOWN_MAX, "all answers are remembered");
const _: () = assert!(HELD_PAUSE_MS < HELD_WAIT_MS_MAX, "a request that waits sees a second call");
const _: () = assert!(CONTROL_CALL_MS_MAX < HELD_WAIT_MS_MAX, "a waiting request sees a call end");
const _: () = assert!(2 <= ADMIT_ROUNDS_MAX, "a request that waited is checked again");
const _: () = assert!(2 <= LEASE_MARGIN_PARTS, "a part of a lease is used");
const _: () = assert!(LEASE_MS_MIN < LEASE_MS_MAX, "there are leases");
const _: () = assert!(
    HEARTBEAT_PARTS <= (LEASE_MS_MIN - LEASE_MS_MIN / LEASE_MARGIN_PARTS) as u64,
    "heartbeats of the shortest lease are a millisecond apart"
);
const _: () = assert!(CLOCK_AGREE_NS <= CLOCK_ASK_MS * 1_000_000, "an answer is of one question");

// The disk.
const _: () = assert!(WATCH_LOOK_MS <= WATCH_STEP_MS_MAX, "time passes from one look to the next");
const _: () = assert!(WATCH_STEP_MS_MAX < HANG_MS, "one look does not make a hang");
const _: () = assert!(PROMPT_MS < HANG_MS, "a disk that hangs is not prompt");
const _: () = assert!(PROMPT_MS <= HANG_OVER_MS, "a disk is prompt for a while");

// Replicas.
const _: () = assert!(TRANSFER_BYTES_MAX <= REPLICA_WINDOW_BYTES, "every record gets its turn");
const _: () = assert!(
    FILL_RECORDS_IN_FLIGHT_MAX * (TRANSFER_BYTES_MAX as usize) < REPLICA_WINDOW_BYTES as usize,
    "a fill leaves a part of the window to WRITEs"
);
const _: () = assert!(TRANSFER_BYTES_MAX as u64 <= FILL_BYTES_PER_S, "a fill sends each second");
const _: () = assert!(REPLICA_PAUSE_MS < REPLICA_STALL_MS_MAX, "a silent replica is tried again");
const _: () = assert!(
    2 * REPLICA_STALL_MS_MAX < SETTLE_MS_MAX,
    "a WRITE outlasts a replica that answers nothing, or keeps nothing"
);
const _: () = assert!(REPLICA_FULL_PAUSE_MS < SETTLE_MS_MAX, "a full replica is tried in time");
const _: () = assert!(UNREADABLE_PAUSE_MS < SETTLE_MS_MAX, "what is restored is sent");
const _: () = assert!(CUT_SETTLE_MS_MAX <= SETTLE_MS_MAX, "a CUT waits no longer than a WRITE");
const _: () = assert!(SETTLE_MS_MAX < SAY_AGAIN_MS_MAX, "a replica outlasts its primary's waits");
const _: () = assert!(THAW_CALLS_MAX <= THAWS_MAX, "every call is about an extent");
const _: () = assert!(THAW_PAUSE_MS < SETTLE_MS_MAX, "a WRITE that waits sees a second call");
const _: () = assert!(REST_PAUSE_MS < REST_MS_MAX, "a READ that waits sees a second call");

// Sealing and images.
const _: () = assert!(SEAL_ROUND_MAX <= ds_store::limits::RIPE_MAX, "the store names a round");
const _: () = assert!(SEAL_PERIOD_MS <= SEAL_RETRY_MS, "a try is followed by a pause");
const _: () = assert!(SEAL_RETRY_MS <= SEAL_AGAIN_MS, "what may succeed is tried sooner");
const _: () = assert!(SEAL_READ_BYTES <= ds_store::limits::EXTENT_BYTES, "a part of an extent");
const _: () = assert!(CLIENT_LINGERS_MS < SEAL_PERIOD_MS, "seldom clients leave time");
const _: () = assert!(2 <= PRESSED_PARTS, "a store with much room is not pressed");
const _: () = assert!(SHOW_WAITING_MS <= SHOW_PERIOD_MS, "what waits is shown sooner");
const _: () = assert!(SEAL_PERIOD_MS <= SHOW_WAITING_MS, "what waits is shown when it is due");
const _: () = assert!(IMAGE_CALL_MS_MAX <= IMAGE_END_MS_MAX, "an end takes as long as a piece");
const _: () = assert!(IMAGE_CALL_MS_MAX < SILENT_MS, "silence is remembered");
const _: () = assert!(IMAGE_END_MS_MAX <= RECEIVING_MS_MAX, "an image outlasts its end");
const _: () = assert!(ds_image::limits::FRAME_BYTES <= FRAMES_KEPT_BYTES, "a frame is kept");
const _: () = assert!(MENDING_MAX <= MENDED_KNOWN_MAX, "what is mended is remembered");

// The scrub.
const _: () = assert!(SCRUB_NOTE_MS <= SCRUB_LOOK_MS, "progress is noted often");
const _: () = assert!(SCRUB_LOOK_MS <= SCRUB_AGAIN_MS, "the scrub looks in time");
const _: () = assert!(SCRUB_AGAIN_MS < SCRUB_PERIOD_MS, "bad data are checked again");
const _: () = assert!(SCRUB_BYTES_PER_S_MIN <= SCRUB_BYTES_PER_S, "the default is no less than the least");
const _: () = assert!(
    ds_store::limits::WRITE_BYTES_MAX <= wire_nfs::control::limits::RECORD_DATA_BYTES_MAX,
    "a record fits a message"
);
const _: () =
    assert!(TRANSFER_BYTES_MAX as usize <= ds_store::limits::WRITE_BYTES_MAX, "a WRITE is one record");
const _: () = assert!(
    wire_nfs::control::limits::RECORD_DATA_BYTES_MAX <= READ_BYTES_IN_FLIGHT_MAX as usize,
    "every READ_DATA gets its turn"
);
const _: () = assert!(
    wire_nfs::control::limits::IMAGE_DATA_BYTES_MAX <= IMAGE_BYTES_IN_FLIGHT_MAX as usize,
    "every READ_IMAGE gets its turn"
);
const _: () = assert!(
    layout::limits::WINDOW_BYTES_MAX <= wire_nfs::control::limits::IMAGE_DATA_BYTES_MAX,
    "a window is one READ_IMAGE"
);
const _: () = assert!(
    ds_store::limits::IMAGE_READ_BYTES_MAX + ds_store::limits::IMAGE_FRAME_BYTES * 2
        <= ds_image::limits::READ_BYTES_MAX,
    "what the store reads of an image is one read, in whole frames too"
);
const _: () = assert!(
    ds_store::limits::IMAGE_FRAME_BYTES as usize == ds_image::limits::FRAME_BYTES,
    "the store's frame is the image's"
);

/// A connection shows within this time that it is one that the port is for: with a handle that is
/// good, or the handshake.
pub const UNPROVEN_MS_MAX: u64 = 60_000;

/// Bounds of the data port.
pub(crate) fn data_port() -> Limits {
    Limits {
        connections_max: CONNECTIONS_MAX,
        record_bytes_max: TRANSFER_BYTES_MAX as usize + HEADER_BYTES_MAX,
        in_flight_bytes_max: WRITE_BYTES_IN_FLIGHT_MAX,
        answer_bytes_max: ANSWER_BYTES_MAX,
        traffic: Traffic::Data,
        unproven_ms_max: UNPROVEN_MS_MAX,
        ..Limits::default()
    }
}

/// Bounds of the control port.
pub(crate) fn control_port() -> Limits {
    Limits {
        connections_max: CONTROL_CONNECTIONS_MAX,
        record_bytes_max: RECORD_BYTES_MAX,
        unproven_record_bytes_max: HANDSHAKE_RECORD_BYTES_MAX,
        in_flight_bytes_max: REPLICATE_BYTES_IN_FLIGHT_MAX,
        idle_ms_max: 0,
        unproven_ms_max: UNPROVEN_MS_MAX,
        ..Limits::default()
    }
}
