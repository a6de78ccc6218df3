//! The copies of an extent as data servers are told them.
//!
//! Spec: docs/protocol/replicate.md.

use mds_namespace::ExtentRecord;
use wire_nfs::control::copies::{CopySet, KeptBy};
use wire_nfs::control::extent::ExtentName;

/// The copies of an extent as data servers are told them.
pub(crate) fn set_of(record: &ExtentRecord) -> CopySet {
    let kept = |backup: &layout::Backup| KeptBy {
        server: backup.server.0,
        since: backup.since.0,
        filling: backup.filling,
    };
    CopySet {
        extent: ExtentName { ino: record.extent.ino, index: record.extent.index },
        epoch: record.epoch.0,
        home: record.home.0,
        backups: record.backups.iter().map(kept).collect(),
    }
}
