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

/// Pause before a metadata server that could not be reached, or did not know what to do with us, is called again.
pub const REGISTER_PAUSE_MS: u64 = 200;

/// A lease shorter than this would leave no time to renew it; one longer would outlive any use.
pub const LEASE_MS_MIN: u32 = 100;
/// See [`LEASE_MS_MIN`].
pub const LEASE_MS_MAX: u32 = 600_000;

/// RPC and NFS headers around the data of a WRITE.
const HEADER_BYTES_MAX: usize = 2048;

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
        record_bytes_max: wire_nfs::control::limits::CONTROL_BYTES_MAX,
        idle_ms_max: 0,
        ..Limits::default()
    }
}
