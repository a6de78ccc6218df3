//! Named caps of the state of a shard: what clients, files and commands may have.

/// Clients, confirmed or not.
pub const CLIENTS_MAX: u32 = 65_536;

/// Sessions of all clients: at this number a client that wants another one must retry later.
pub const SESSIONS_MAX: u32 = 65_536;

/// Clients without a session: one more evicts the oldest.
pub const UNCONFIRMED_MAX: u32 = 4_096;

/// Clients without a session of one address: one more evicts the oldest of them. A client makes its
/// session within a moment.
pub const UNCONFIRMED_PER_ADDRESS_MAX: usize = 64;

/// Operations of one request whose outcomes are recorded: the maximum of a compound.
pub const RECORDED_PER_SLOT_MAX: usize = wire_session::limits::OPERATIONS_MAX as usize;

/// Bytes of one recorded outcome. The longest that a reply needs is a conflicting lock with its
/// owner.
pub const RECORDED_BYTES_MAX: usize = 1_536;

/// Sessions of one client: one more evicts the oldest.
pub const SESSIONS_PER_CLIENT_MAX: usize = wire_session::limits::SESSIONS_PER_CLIENT_MAX;

/// Intents of acts on several shards that one of them keeps at a time.
pub const INTENTS_MAX: usize = 64;

/// Bytes of keys and values of one act on several shards, without those of its coordinator.
pub const INTENT_BYTES_MAX: usize = 64 << 10;

/// Inode numbers reserved at a time.
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

/// Byte ranges locked by one client, over all files. One command removes all of them with the
/// client.
pub const RANGES_PER_CLIENT_MAX: u32 = 131_072;

/// Data servers of a file system.
pub const DATA_SERVERS_MAX: usize = 1_024;

/// Extents whose copies one command changes.
pub const COPY_CHANGES_MAX: usize = 256;

/// Extents that one LAYOUTGET names: the widest run of a striped segment.
pub const GRANTED_EXTENTS_MAX: usize = 8;
/// Written extents of a file that a SETATTR of a time or mode counts; of a longer file the time
/// moves with the next reply.
pub const MEASURED_EXTENTS_MAX: usize = 4_096;

/// Images in use that one command reports.
pub const USED_IMAGES_MAX: usize = 256;

/// Work items of a removed data server that one command deletes.
pub const WORK_STRUCK_MAX: usize = 65_536;

/// Addresses of one data server.
pub const SERVER_ADDRESSES_MAX: usize = 16;

/// Exports of a cluster.
pub const EXPORTS_MAX: usize = wire_nfs::control::limits::EXPORTS_MAX;

/// Bytes of all exports: paths, 64 for each, and 48 for each network of clients. All of them fit
/// one call of an administrator.
pub const EXPORTS_BYTES_MAX: usize = wire_nfs::control::limits::EXPORTS_BYTES_MAX;

/// Bytes of the path of an export: no client could name a longer one.
pub const EXPORT_PATH_BYTES_MAX: usize = wire_nfs::control::limits::EXPORT_PATH_BYTES_MAX;

/// Paths that were exported once and keep their ids. Beyond that the oldest are forgotten, and get
/// new ids if they are exported again.
pub const EXPORTS_REMOVED_MAX: usize = 1_024;

/// Bytes of these paths.
pub const EXPORTS_REMOVED_BYTES_MAX: usize = 64 << 10;

/// Exports that are recorded of a file with data-server handles in use; beyond that any export
/// counts.
pub const HANDED_EXPORTS_MAX: usize = 4;

/// Files that one command scans for extents to fence.
pub const FENCE_FILES_MAX: usize = 1_024;

/// Extents that one command fences: each is a work item of a data server.
pub const FENCE_EXTENTS_MAX: usize = 256;

/// Extents of one striped segment. With handles of 64 bytes and two mirrors 16 would not fit the
/// 4096 bytes that clients read.
pub const STRIPES_MAX: u32 = 8;

/// Bytes of an owner: client owner, open-owner, lock-owner (NFS4_OPAQUE_LIMIT).
pub const OWNER_BYTES_MAX: usize = 1_024;

/// Bytes of one encoded log entry: the largest inline write and generous names.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(UNCONFIRMED_MAX < CLIENTS_MAX, "others have room, too");
const _: () = assert!(
    UNCONFIRMED_PER_ADDRESS_MAX < UNCONFIRMED_MAX as usize,
    "the clients of one address leave room for those of others"
);
const _: () = assert!(
    SESSIONS_PER_CLIENT_MAX < SESSIONS_MAX as usize,
    "the sessions of one client leave room for those of others"
);
const _: () = assert!(LOCKS_PER_CLIENT_MAX <= RANGES_PER_CLIENT_MAX, "a lock may have a range");
const _: () = assert!(GRANTED_EXTENTS_MAX == STRIPES_MAX as usize, "a LAYOUTGET names one segment");
const _: () = assert!(STRIPES_MAX.is_power_of_two(), "numbers of stripes are powers of two");
const _: () = assert!(FENCE_EXTENTS_MAX <= FENCE_FILES_MAX, "no more are fenced than scanned");
const _: () = assert!(HANDED_EXPORTS_MAX < EXPORTS_MAX, "a file has few of all");
const _: () = assert!(INTENT_BYTES_MAX < ENTRY_BYTES_MAX, "one command decides an act");
const _: () = assert!(RECORDED_BYTES_MAX < ENTRY_BYTES_MAX, "an act has a recorded outcome");
const _: () = assert!(MEASURED_EXTENTS_MAX * 64 < ENTRY_BYTES_MAX, "one command names them");
const _: () = assert!(DATA_SERVERS_MAX * 64 < ENTRY_BYTES_MAX, "one command marks all stores");
const _: () = assert!(COPY_CHANGES_MAX * 256 < ENTRY_BYTES_MAX, "one command changes them");
const _: () = assert!(USED_IMAGES_MAX * 64 < ENTRY_BYTES_MAX, "one command reports so many images");
const _: () = assert!(
    EXPORT_PATH_BYTES_MAX <= EXPORTS_REMOVED_BYTES_MAX,
    "the path that was removed last keeps its id"
);
const _: () = assert!(OWNER_BYTES_MAX + 64 < RECORDED_BYTES_MAX, "a denied lock is recorded whole");
const _: () = assert!(EXPORTS_BYTES_MAX + 64 < ENTRY_BYTES_MAX, "one command sets them");
const _: () = assert!(EXPORTS_MAX + EXPORTS_REMOVED_MAX < u16::MAX as usize, "each has an id");
