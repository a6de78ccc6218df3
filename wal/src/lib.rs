//! The log engine: append-only segment files with checksummed records, group commit and verified
//! random reads.
//!
//! One engine for two uses: a data server's journal (large records, long-lived, read at random,
//! whole segments dropped when dead) and the metadata servers' Raft log (small records, many a
//! flush, segments recycled). It does not know what its records mean, keeps no index of them
//! (recovery shows each one to its user) and never overwrites one.
//!
//! Format: docs/formats/record.md.

mod batch;
mod check;
mod config;
mod driver;
mod error;
mod files;
mod format;
pub mod limits;
mod queue;
mod read;
mod record;
mod recovery;
mod report;
mod sealing;
mod shared;
mod wal;

pub use config::WalConfig;
pub use error::{AppendError, Damage, DropError, OpenError, ReadError};
pub use record::{Durability, Location, Record, RecordHeader};
pub use report::{Corruption, Counters, LogEnd, RecoveryReport, SegmentStat};
pub use wal::{Appended, Wal};
