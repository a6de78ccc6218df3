//! Bounds of the control protocol.
//!
//! Spec: docs/protocol/control.md.

/// A record of a connection that is not authenticated never takes more than this many bytes: HELLO
/// is the largest, with the longest credential and verifier of a call.
pub const HANDSHAKE_RECORD_BYTES_MAX: usize = 1024;

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 64;

/// Most data addresses of one data server.
pub const DATA_ADDRESSES_MAX: usize = 16;

/// Most extents in one SIZE.
pub const SIZE_EXTENTS_MAX: usize = 1024;

/// Replicas of one extent.
pub const BACKUPS_MAX: usize = 2;

/// Data servers in the directory.
pub const DIRECTORY_MAX: usize = 1024;

/// Longest name of a zone, rack or host, in bytes.
pub const DOMAIN_BYTES_MAX: usize = 64;

/// Most data of one replicated record.
pub const RECORD_DATA_BYTES_MAX: usize = 1 << 20;

/// Bytes of the data that an IMAGE record is replicated with.
pub const IMAGE_RECORD_DATA_BYTES: usize = 64;

/// Most images in one IMAGES.
pub const IMAGES_MAX: usize = 256;

/// Most bytes of an image's file in one READ_IMAGE or PUT_IMAGE.
pub const IMAGE_DATA_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a group's record, shape or draft.
pub const GROUP_BYTES_MAX: usize = 4096;

/// Most data servers that are named for the members, or for the parity, of a group.
pub const GROUP_SLOTS_MAX: usize = 16;

/// Most bytes of words for a person.
pub const WORDS_BYTES_MAX: usize = 512;

/// Most bytes of a path.
pub const PATH_BYTES_MAX: usize = 4096;

/// Most extents in one reply to VERIFY.
pub const VERIFY_EXTENTS_MAX: usize = 256;

/// Most routes in one reply to REBALANCE.
pub const ROUTES_MAX: usize = 256;

/// Most bytes of JSON in one reply to REPORT.
pub const REPORT_BYTES_MAX: usize = 120 << 10;

/// Most exports of a cluster.
pub const EXPORTS_MAX: usize = 1024;

/// Most bytes of an export's path.
pub const EXPORT_PATH_BYTES_MAX: usize = 1024;

/// Most bytes of all exports in one EXPORTS_SET.
pub const EXPORTS_BYTES_MAX: usize = 96 << 10;

/// Most networks of clients of one export.
pub const EXPORT_CLIENTS_MAX: usize = 2048;

/// Longest network of clients as text: an IPv6 address and a prefix length.
pub const NETWORK_BYTES_MAX: usize = 44;

/// Handle keys that are good at a time: the next, the one in use, the one before.
pub const HANDLE_KEYS_MAX: usize = 3;

/// Most layouts in one HELD.
pub const HELD_MAX: usize = 512;

/// READ_IMAGE's reply and PUT_IMAGE's call never take more than this many bytes.
pub const IMAGE_CALL_BYTES_MAX: usize = IMAGE_DATA_BYTES_MAX + 4096;

/// A replicated record with its call never takes more than this many bytes.
pub const REPLICATE_BYTES_MAX: usize = RECORD_DATA_BYTES_MAX + 4096;

/// A control call or reply never takes more than this many bytes: a directory is the largest.
/// Replicated records and bytes of images have bounds of their own.
pub const CONTROL_BYTES_MAX: usize = 128 << 10;

const SIZE_REPLY_BYTES_MAX: usize = 8 + SIZE_EXTENTS_MAX * 32;
const DIRECTORY_BYTES_MAX: usize = 512 + DIRECTORY_MAX * (8 + ADDRESS_BYTES_MAX);
const IMAGES_BYTES_MAX: usize = 256 + IMAGES_MAX * 128;
const GROUP_CALL_BYTES_MAX: usize = 256 + GROUP_BYTES_MAX + 2 * (4 + 4 * GROUP_SLOTS_MAX);
const VERIFIED_BYTES_MAX: usize = 1024 + VERIFY_EXTENTS_MAX * (128 + 8 * (BACKUPS_MAX + GROUP_SLOTS_MAX));
const _: () = assert!(VERIFIED_BYTES_MAX < CONTROL_BYTES_MAX, "a full VERIFY reply fits");
const _: () = assert!(1024 + ROUTES_MAX * 32 < CONTROL_BYTES_MAX, "a full REBALANCE reply fits");
const _: () = assert!(REPORT_BYTES_MAX + 256 < CONTROL_BYTES_MAX, "a full REPORT reply fits");
const _: () = assert!(EXPORTS_BYTES_MAX + 256 < CONTROL_BYTES_MAX, "all exports fit one EXPORTS_SET");
const _: () = assert!(EXPORTS_BYTES_MAX <= EXPORT_CLIENTS_MAX * 48, "what fits is not refused for its count");
const _: () = assert!(IMAGES_BYTES_MAX < CONTROL_BYTES_MAX, "a full IMAGES fits");
const _: () = assert!(GROUP_CALL_BYTES_MAX < CONTROL_BYTES_MAX, "a full ENCODE fits");
const _: () = assert!(DIRECTORY_BYTES_MAX < CONTROL_BYTES_MAX, "a full directory fits");
const _: () = assert!(SIZE_REPLY_BYTES_MAX < CONTROL_BYTES_MAX, "a full SIZE reply fits");
const _: () = assert!(256 + HELD_MAX * 16 < CONTROL_BYTES_MAX, "a full HELD fits");
const _: () = assert!(
    EXPORTS_BYTES_MAX + 256 < CONTROL_BYTES_MAX,
    "ADMITTED says less of each export than EXPORTS_SET"
);
