//! Data servers that have been dead for so long that their backups are replaced.
//!
//! Spec: docs/protocol/replicate.md §4.

use layout::DataServerId;

use crate::limits::BURY_MS;
use crate::server::Server;

/// Whether a data server has been dead for so long.
pub(crate) fn dead_long(server: &Server, id: DataServerId, now_ms: u64) -> bool {
    server.data_servers.dead_for_ms(id, now_ms).is_some_and(|dead_ms| BURY_MS <= dead_ms)
}
