//! Bounds of the data server.

use env_transport::Limits;

/// Most bytes of one READ or WRITE; a READ of more comes back short.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Bytes of READ replies being gathered, over all connections. Further READs wait.
pub const READ_BYTES_IN_FLIGHT_MAX: u32 = 64 << 20;

/// A READ that waited this long for its turn is answered JUKEBOX.
pub const READ_WAIT_MS_MAX: u64 = 4_000;

/// Connections of clients.
pub const CONNECTIONS_MAX: usize = 4096;

/// Bytes of WRITEs under way, over all connections. Connections are not read from beyond it.
pub const WRITE_BYTES_IN_FLIGHT_MAX: usize = 192 << 20;

/// Connections of metadata servers and tools.
pub const CONTROL_CONNECTIONS_MAX: usize = 256;

/// How long REGISTER and HEARTBEAT may take.
pub const CONTROL_CALL_MS_MAX: u64 = 2_000;

/// A backup that has not answered for so long is replaced.
pub const BACKUP_STALL_MS_MAX: u64 = 1_500;

/// Pause before a call to a backup, or about one, is made again.
pub const BACKUP_PAUSE_MS: u64 = 50;

/// How long a WRITE or COMMIT waits for the backups of its extent before it is answered JUKEBOX.
pub const SETTLE_MS_MAX: u64 = 12_000;

/// How long a CUT waits for them before it is answered BUSY.
pub const CUT_SETTLE_MS_MAX: u64 = 6_000;

/// Bytes under way to one backup server. Further WRITEs wait.
pub const BACKUP_WINDOW_BYTES: u32 = 32 << 20;

/// Records under way to one backup while it is being filled.
pub const FILL_RECORDS_IN_FLIGHT_MAX: usize = 4;

/// Bytes per second that go to a backup that is filled while nobody waits for it.
pub const FILL_BYTES_PER_S: u64 = 64 << 20;

/// Extents whose backups are remembered; beyond, those are forgotten that have nothing under way.
pub const COPIES_KNOWN_MAX: usize = 16_384;

/// Pause before a metadata server that could not be reached, or did not know what to do with us, is called again.
pub const REGISTER_PAUSE_MS: u64 = 200;

/// A lease shorter than this would leave no time to renew it; one longer would outlive any use.
pub const LEASE_MS_MIN: u32 = 100;
/// See [`LEASE_MS_MIN`].
pub const LEASE_MS_MAX: u32 = 600_000;

/// RPC and NFS headers around the data of a WRITE.
const HEADER_BYTES_MAX: usize = 2048;

/// Largest message of a metadata or data server.
const RECORD_BYTES_MAX: usize = {
    use wire_nfs::control::limits::{CONTROL_BYTES_MAX, REPLICATE_BYTES_MAX};
    if CONTROL_BYTES_MAX < REPLICATE_BYTES_MAX { REPLICATE_BYTES_MAX } else { CONTROL_BYTES_MAX }
};

/// Bytes of records of other homes under way, over all connections.
const REPLICATE_BYTES_IN_FLIGHT_MAX: usize = 128 << 20;

const _: () = assert!(TRANSFER_BYTES_MAX <= BACKUP_WINDOW_BYTES, "every record gets its turn");
const _: () = assert!(
    ds_store::limits::WRITE_BYTES_MAX <= wire_nfs::control::limits::RECORD_DATA_BYTES_MAX,
    "a record fits a message"
);
const _: () =
    assert!(TRANSFER_BYTES_MAX as usize <= ds_store::limits::WRITE_BYTES_MAX, "a WRITE is one record");
const _: () = assert!(TRANSFER_BYTES_MAX <= READ_BYTES_IN_FLIGHT_MAX, "every READ gets its turn");

/// Bounds of the data port.
pub(crate) fn data_port() -> Limits {
    Limits {
        connections_max: CONNECTIONS_MAX,
        record_bytes_max: TRANSFER_BYTES_MAX as usize + HEADER_BYTES_MAX,
        in_flight_bytes_max: WRITE_BYTES_IN_FLIGHT_MAX,
        ..Limits::default()
    }
}

/// Bounds of the control port.
pub(crate) fn control_port() -> Limits {
    Limits {
        connections_max: CONTROL_CONNECTIONS_MAX,
        record_bytes_max: RECORD_BYTES_MAX,
        in_flight_bytes_max: REPLICATE_BYTES_IN_FLIGHT_MAX,
        idle_ms_max: 0,
        ..Limits::default()
    }
}
