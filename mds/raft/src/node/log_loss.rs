//! A node that is alone, with a store and without its log, would start from the store's last
//! checkpoint without an error: everything acknowledged since is missing. It refuses to start until
//! an operator accepts that loss by name.
//!
//! A node among several is refused elsewhere: its name is lost with its log, too
//! (`engine::identity`).

use std::path::Path;
use std::sync::Arc;

use mds_namespace::{MetaStore, StoreError, superblock};

use crate::engine::applied::Applied;
use crate::engine::log_store::SharedLog;
use crate::limits::LOG_BEHIND_MAX;
use crate::start_error::{LogGone, StartError, format_utc};

/// Refuses stores that are ahead of their log by more than a power cut explains, unless the
/// operator accepted that for this file system.
///
/// # Errors
/// [`StartError::LogGone`]; the store's.
pub(super) fn check_logs(
    log: &SharedLog,
    log_dir: &Path,
    stores: &[Arc<dyn MetaStore>],
    accepted: Option<[u8; 16]>,
) -> Result<(), StartError> {
    for (shard, store) in stores.iter().enumerate() {
        let view = store.view()?;
        let applied = Applied::load(&*view)?;
        let Some(applied_index) = applied.log_id.map(|id| id.index()) else { continue };
        let log_index = log.group(shard).last_index();
        let is_behind = log_index.map_or(0 < applied_index, |last| last + LOG_BEHIND_MAX < applied_index);
        if !is_behind {
            continue;
        }
        let file_system = match superblock::superblock(&*stores[0].view()?) {
            Ok(superblock) => superblock.file_system,
            Err(StoreError::NotFormatted) => [0; 16],
            Err(error) => return Err(error.into()),
        };
        let gone = LogGone {
            log_dir: log_dir.to_owned(),
            shard,
            log_index: log_index.unwrap_or(0),
            applied_index,
            since_unix_s: applied.clock_unix_ns / 1_000_000_000,
            file_system,
        };
        if accepted != Some(file_system) {
            return Err(gone.into());
        }
        let since = format_utc(&gone.since_unix_s);
        tracing::warn!(
            shard,
            applied_index,
            since,
            "the log is gone: changes since then are lost, which was accepted"
        );
    }
    Ok(())
}
