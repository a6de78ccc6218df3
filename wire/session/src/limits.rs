//! Named bounds of sessions.
//!
//! Spec: RFC 8881 §18.36 leaves them to both sides; what Linux asks for stands beside each.

use wire_nfs::limits::COMPOUND_OPS_MAX;

/// Bytes of a request, RPC header included. Linux asks for 1 MiB of data and what goes around it.
pub const REQUEST_BYTES_MAX: u32 = 1024 * 1024 + 64 * 1024;
/// Bytes of a reply, RPC header included.
pub const RESPONSE_BYTES_MAX: u32 = 1024 * 1024 + 64 * 1024;
/// Bytes of a reply that is kept for a retry. Linux asks for less.
pub const RESPONSE_CACHED_BYTES_MAX: u32 = 8 * 1024;
/// Operations in a compound. Linux asks for 8 and takes no less than it asks for.
pub const OPERATIONS_MAX: u32 = 128;
/// Slots of a session. Linux asks for 64.
pub const SLOTS_MAX: u32 = 128;
/// Bytes below which a channel could not even carry SEQUENCE: the RPC header is 40 in a request and
/// 24 in a reply, and the operation takes 48 and 56 with the compound around it.
pub const CHANNEL_BYTES_MIN: u32 = 128;

/// Bytes of a callback and of its reply that we offer to use. Linux asks for a page.
pub const BACK_BYTES_MAX: u32 = 64 * 1024;
/// Bytes a callback needs: CB_SEQUENCE and the largest operation we send, CB_LAYOUTRECALL with a
/// handle of ours.
pub const BACK_REQUEST_BYTES_MIN: u32 = 256;
/// Operations in a callback: CB_SEQUENCE and one more.
pub const BACK_OPERATIONS: u32 = 2;
/// Slots of the backchannel. Linux asks for up to 16.
pub const BACK_SLOTS_MAX: u32 = 16;

/// Bytes of an RPC reply's header with an empty verifier (RFC 5531 §9).
pub const RPC_REPLY_HEADER_BYTES: u32 = 24;
/// Bytes of the reply to a compound of SEQUENCE alone with an empty tag, RPC header included.
pub const SEQUENCE_REPLY_BYTES: u32 = RPC_REPLY_HEADER_BYTES + 56;

/// Bytes at the beginning and at the end of a compound by which a retry is known.
pub const FINGERPRINT_BYTES: usize = 192;

/// Numbers by which the first request on a slot may be ahead of the last one that left something in
/// the replicated state. A slot that was only read through for longer gets SEQ_MISORDERED after a
/// failover.
pub const SEQUENCE_AHEAD_MAX: u32 = u32::MAX / 2;

/// Sessions of one client. Linux has one.
pub const SESSIONS_PER_CLIENT_MAX: usize = 64;
/// Connections bound to one session. `nconnect` goes up to 16 for each address.
pub const CONNECTIONS_PER_SESSION_MAX: usize = 64;
/// Bytes that all sessions take in memory, with the replies that they keep: beyond it sessions of
/// the client that takes most leave it.
pub const SESSIONS_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of these for one client: beyond it, sessions of its own leave.
pub const SESSIONS_BYTES_PER_CLIENT_MAX: u64 = SESSIONS_BYTES_MAX / 64;
/// What a session counts, without its slots.
pub const SESSION_BYTES: u64 = 1024;
/// What a slot counts, without the reply that it keeps.
pub const SLOT_BYTES: u64 = 64;

const _: () = assert!(OPERATIONS_MAX as usize <= COMPOUND_OPS_MAX, "the codec reads what a session allows");
const _: () = assert!(RESPONSE_CACHED_BYTES_MAX < RESPONSE_BYTES_MAX, "what is kept was sent");
const _: () = assert!(CHANNEL_BYTES_MIN <= REQUEST_BYTES_MAX, "the smallest channel is granted");
const _: () = assert!(BACK_REQUEST_BYTES_MIN <= BACK_BYTES_MAX, "a callback fits what is granted");
const _: () = assert!(SESSIONS_BYTES_PER_CLIENT_MAX < SESSIONS_BYTES_MAX, "a client has a part");
const _: () = assert!(SEQUENCE_REPLY_BYTES <= CHANNEL_BYTES_MIN, "the smallest channel carries SEQUENCE");
const _: () = assert!(
    SESSION_BYTES + SLOTS_MAX as u64 * (SLOT_BYTES + RESPONSE_CACHED_BYTES_MAX as u64)
        <= SESSIONS_BYTES_PER_CLIENT_MAX,
    "a client's share holds a session with all its replies"
);
