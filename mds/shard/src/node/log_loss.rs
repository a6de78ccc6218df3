//! A node that is alone, with a store and without its log, would start from the store's last
//! checkpoint without an error: everything acknowledged since is missing. It refuses to start until
//! an operator accepts that loss by name.
//!
//! A node among several is refused elsewhere: its name is lost with its log, too
//! (`raft::identity`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mds_namespace::{MetaStore, StoreError, superblock};

use crate::limits::LOG_BEHIND_MAX;
use crate::raft::log_store::SharedLog;
use crate::raft::machine::Applied;
use crate::shard::StartError;

/// What a lost log contained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the metadata log is gone: {} ends at entry {log_index}, but shard {shard} had entry {applied_index} in its store. What was changed after {} \
     is missing. If the log is on a disk that is not mounted, mount that. Else, to go on without these changes, start once with \
     --accept-log-loss {:032x}", .log_dir.display(), utc(.since_unix_s), u128::from_be_bytes(*.file_system)
)]
pub struct LogGone {
    /// The log's directory.
    pub log_dir: PathBuf,
    /// The shard that shows it.
    pub shard: usize,
    /// The last entry of the log; 0: it has none.
    pub log_index: u64,
    /// The last entry that the store has.
    pub applied_index: u64,
    /// The time of that entry, seconds since 1970. Changes from then on may be lost.
    pub since_unix_s: u64,
    /// The file system whose id accepts the loss.
    pub file_system: [u8; 16],
}

/// Refuses stores that are ahead of their log by more than a power cut explains, unless the
/// operator accepted that for this file system.
///
/// # Errors
/// [`StartError::LogGone`]; the store's.
pub(super) fn check(
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
        let since = utc(&gone.since_unix_s);
        tracing::warn!(
            shard,
            applied_index,
            since,
            "the log is gone: changes since then are lost, which was accepted"
        );
    }
    Ok(())
}

/// Formats a time.
fn utc(unix_s: &u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Days of the proleptic Gregorian calendar, in eras of 400 years that begin in March.
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{of_month:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        for (unix_s, words) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_800_000_000, "2027-01-15 08:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(&unix_s), words);
        }
    }
}
