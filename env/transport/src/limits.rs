//! Bounds of the transport.

/// What one server, or one client, lets happen at most.
///
/// Memory for requests is bounded by `in_flight_bytes_max`, from the moment that a record is
/// announced until its call is answered, and memory for answers by `answer_bytes_max`, until the
/// socket took them: those of all servers of the process together where clients send (`traffic`). A
/// service whose answers are much longer than their calls takes room before it makes them
/// ([`reserve`](crate::Connection::reserve)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of a server; one more takes the place of another one, or is closed at once
    /// (`door.rs`). Not used by a client, which has one.
    pub connections_max: usize,
    /// Calls under way on one connection, counted separately for each direction. With that many a
    /// connection is not read from, so it should be above what a peer may have waiting for
    /// callbacks (its session slots).
    pub in_flight_per_connection_max: usize,
    /// Bytes of one incoming record. A longer one ends the connection.
    pub record_bytes_max: usize,
    /// The same while a connection has not shown that it is of use
    /// ([`prove`](crate::Connection::prove)), if that is less.
    pub unproven_record_bytes_max: usize,
    /// Bytes of records that are being received and of calls under way, over all connections of a
    /// server.
    pub in_flight_bytes_max: usize,
    /// Bytes of answers that are not written, over all connections of a server; not used between
    /// nodes.
    pub answer_bytes_max: usize,
    /// Whose bytes these are.
    pub traffic: Traffic,
    /// Milliseconds without a call under way after which a connection is closed; 0 keeps it for
    /// ever.
    pub idle_ms_max: u64,
    /// Milliseconds after which a connection is closed that has not shown that it is of use
    /// ([`prove`](crate::Connection::prove)); 0 never closes one for that.
    pub unproven_ms_max: u64,
    /// Bytes waiting to be sent on one connection; answers beyond it wait.
    pub write_queue_bytes_max: usize,
}

impl Limits {
    /// Bytes of one incoming record of a connection that has shown that it is of use, or has not.
    pub(crate) fn record_bytes_max_of(&self, is_proven: bool) -> usize {
        if is_proven {
            self.record_bytes_max
        } else {
            self.record_bytes_max.min(self.unproven_record_bytes_max)
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            in_flight_per_connection_max: 256,
            unproven_record_bytes_max: usize::MAX,
            record_bytes_max: 2 << 20,
            in_flight_bytes_max: 256 << 20,
            answer_bytes_max: 256 << 20,
            traffic: Traffic::Nodes,
            // Linux drops an idle NFSv3 connection after 5 minutes by itself.
            idle_ms_max: 6 * 60 * 1000,
            unproven_ms_max: 0,
            write_queue_bytes_max: 16 << 20,
        }
    }
}

/// Whose bytes a server's connections carry: each kind has room of its own, so that what serves one
/// never waits for another that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Clients of a metadata server. On the machine's network all such servers of the process share
    /// [`METADATA_BYTES_MAX`] for each direction.
    Metadata,
    /// Clients of a data server. Likewise, [`DATA_BYTES_MAX`].
    Data,
    /// Other nodes: each server has room of its own.
    Nodes,
}

/// Bytes in flight in each direction, of clients of metadata servers, in one process.
pub const METADATA_BYTES_MAX: usize = 48 << 20;

/// Bytes in flight in each direction, of clients of data servers, in one process.
pub const DATA_BYTES_MAX: usize = 80 << 20;

/// The part of these that one address may have: the fourth.
pub const ADDRESS_SHARE: usize = 4;

/// The part of an address's share that its connections leave free with what they hold beyond their
/// windows: the half.
pub const EXCESS_SHARE: usize = 2;

/// The part of it that they leave free with the first that they take: the fourth. That is for
/// connections that took what they asked for.
pub const FIRST_SHARE: usize = 4;

/// The part of an address's share that the window of a connection grows to: the fourth, so that two
/// connections may use all of it.
pub(crate) const WINDOW_SHARE_MAX: usize = 4;

/// The part of an address's share that the window of a connection is when it comes: for some small
/// answers at a time.
pub(crate) const WINDOW_SHARE_MIN: usize = 1024;

/// A window grows by one byte for so many that the peer has taken, or sent: what the system keeps
/// for a peer that takes nothing, 4 MiB, earns little.
pub(crate) const WINDOW_GROWTH: usize = 8;

/// The part of these that all connections have together which have not shown that they are of use:
/// the fourth.
pub(crate) const UNPROVEN_SHARE: usize = 4;

/// A record between nodes of so many bytes takes no room: heartbeats and the like. Calls under way
/// of each connection are bounded.
pub(crate) const EXEMPT_BYTES_MAX: usize = 1024;

/// A peer that takes no byte of what we send, or sends none of a record, for this long is cut if
/// others wait for the room that it has.
pub const PRESSED_STALL_MS_MAX: u64 = 10_000;

/// A peer that takes no byte of what we send, or sends none of a record, for this long loses its
/// window if others of its address wait.
pub const STANDING_STALL_MS_MAX: u64 = 200;

/// After so long it may be cut, if the others hold too much beyond their windows with it: longer
/// than TCP takes to send again what was lost.
pub const CUT_STALL_MS_MIN: u64 = 400;

/// A message that was begun so many milliseconds ago counts as one of a stall, however the peer
/// takes it: 1 MiB at 1 MiB a second keeps a window.
pub(crate) const MESSAGE_STALL_PART: u64 = 5;

/// How often the connections of an address are looked at while calls of it wait for room.
pub(crate) const REVIEW_PERIOD_MS: u64 = 50;

/// A message is written within this long of its first byte, however the peer takes it, or the peer
/// is cut: 1 MiB at 9 kB a second.
pub const MESSAGE_MS_MAX: u64 = 120_000;

/// A peer that takes no byte of what we send for this long is cut.
pub const WRITE_STALL_MS_MAX: u64 = 30_000;

/// A peer that has begun a record and sends nothing more of it for this long is cut.
pub const RECORD_STALL_MS_MAX: u64 = 30_000;

/// A record is here within this long of its first byte, however its bytes come, or the peer is cut:
/// 2 MiB at 18 kB a second.
pub const RECORD_MS_MAX: u64 = 120_000;

/// A client gives up to connect, greeting included, after this long.
pub const CONNECT_MS_MAX: u64 = 5_000;

/// A server that shuts down waits this long for calls under way.
pub const SHUTDOWN_MS_MAX: u64 = 5_000;

/// Messages that the writer takes out of the queue at once.
pub const WRITE_BATCH_MESSAGES_MAX: usize = 64;

/// Buffers in one vectored write.
pub const WRITE_BUFFERS_MAX: usize = 128;

/// What a queued message counts on top of its bytes, so that the number of messages is bounded too.
pub(crate) const MESSAGE_COST_BYTES: usize = 64;

/// Lines of one kind that are logged in a window, if a peer can cause them.
pub(crate) const LOG_LINES_MAX: u32 = 10;

/// Milliseconds of such a window.
pub(crate) const LOG_WINDOW_MS: u64 = 10_000;

/// How long a server waits after the system refused to accept a connection (no descriptors left).
pub(crate) const ACCEPT_RETRY_MS: u64 = 50;

const _: () = assert!(STANDING_STALL_MS_MAX < CUT_STALL_MS_MIN, "a window goes before the connection");
const _: () = assert!(CUT_STALL_MS_MIN < PRESSED_STALL_MS_MAX, "an address helps itself before others do");
const _: () = assert!(WRITE_BUFFERS_MAX <= env::limits::WRITE_BUFFERS_MAX, "the system takes that many");
