//! What the metadata server tells its administrators: plain values, ready to be shown or sent.

use serde::{Deserialize, Serialize};

/// The state of a metadata server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Identity of the file system, hexadecimal.
    pub file_system: String,
    /// Number of this replica.
    pub node: u64,
    /// Number of the leading replica, if known.
    pub leader: Option<u64>,
    /// All replicas: number and address.
    pub members: Vec<(u64, String)>,
    /// Last applied log entry.
    pub applied_index: u64,
    /// Clients known.
    pub clients: u64,
    /// Sessions open on this node.
    pub sessions: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// Data servers known, and how many of them are up.
    pub data_servers: u64,
    /// Data servers whose lease runs.
    pub data_servers_up: u64,
    /// Bytes all data servers may hold.
    pub space_total_bytes: u64,
    /// Bytes free on those that are up.
    pub space_free_bytes: u64,
    /// Work that data servers must still do; capped at what one look shows.
    pub work_items: u64,
    /// Copies of data that are wished, where there are enough data servers.
    pub hot_copies: u32,
    /// Data servers that may be lost at once without losing any byte, as things are; of extents that are served.
    pub losses_survived: u64,
    /// Extents there are.
    pub extents: u64,
    /// Extents with fewer copies than wished.
    pub extents_degraded: u64,
    /// Extents with a backup that is being filled.
    pub extents_filling: u64,
    /// Extents that no data server serves now.
    pub extents_unserved: u64,
    /// Extents that rest are sealed.
    pub seal: bool,
    /// The code that new groups are made with; empty if there are too few data servers for one.
    pub erasure_code: String,
    /// Groups of images.
    pub groups: u64,
    /// Groups with more images away than they can do without.
    pub groups_unreadable: u64,
    /// Bytes of the images that extents are sealed as.
    pub sealed_bytes: u64,
    /// Bytes of images that are only kept for others of their groups.
    pub sealed_dead_bytes: u64,
    /// Images that wait for a group; known to the leader only.
    pub images_waiting: u64,
    /// Images on data servers that are not up.
    pub images_away: u64,
    /// Images that are being made again elsewhere; known to the leader only.
    pub images_remade: u64,
}

/// One export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportLine {
    /// Path to mount.
    pub path: String,
    /// `rw` or `ro`.
    pub access: String,
    /// Who becomes nobody: `none`, `root` or `all`.
    pub squash: String,
    /// Who may use it; empty means everybody.
    pub clients: Vec<String>,
    /// Layouts are given out.
    pub pnfs: bool,
}

/// One data server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataServerLine {
    /// Number.
    pub id: u32,
    /// Identity of its store, hexadecimal.
    pub uuid: String,
    /// Universal addresses for clients.
    pub addresses: Vec<String>,
    /// Address of its control service.
    pub control: String,
    /// Zone, rack and host, as far as it was told.
    pub domain: String,
    /// Its lease runs.
    pub up: bool,
    /// It refused a write for want of space.
    pub full: bool,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Bytes that count against it.
    pub used_bytes: u64,
    /// Bytes of its journal files.
    pub journal_bytes: u64,
    /// Milliseconds since it was last heard of.
    pub silent_ms: Option<u64>,
}
