//! Why a node or a shard does not start.

use std::path::PathBuf;

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid: too many members, or this node is none of them.
    #[error("bad configuration: {0}")]
    Config(&'static str),
    /// The cluster was made with another number of shards.
    #[error(
        "this cluster was made with {made} shards, and that cannot be changed: --shards {asked} is refused"
    )]
    Shards {
        /// The cluster's number.
        made: usize,
        /// The configured number.
        asked: usize,
    },
    /// The store cannot be opened.
    #[error("store: {0}")]
    Store(#[from] mds_namespace::StoreError),
    /// The log cannot be opened.
    #[error("log: {0}")]
    Log(String),
    /// The log of a node that is alone is gone, or an older one is in its place.
    #[error(transparent)]
    LogGone(#[from] LogGone),
    /// The directory cannot be used, or the address cannot be listened on.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The engine refused to start.
    #[error("raft: {0}")]
    Raft(String),
}

/// What a lost log contained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the metadata log is gone: {} ends at entry {log_index}, but shard {shard} had entry {applied_index} in its store. What was changed after {} \
     is missing. If the log is on a disk that is not mounted, mount that. Else, to go on without these changes, start once with \
     --accept-log-loss {:032x}", .log_dir.display(), format_utc(.since_unix_s), u128::from_be_bytes(*.file_system)
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

/// Formats a time, seconds since 1970.
pub(crate) fn format_utc(unix_s: &u64) -> String {
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
    assert!((1..=12).contains(&month), "a year has twelve months");
    assert!((1..=31).contains(&of_month), "a month has 31 days at most");
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
            assert_eq!(format_utc(&unix_s), words);
        }
    }
}
