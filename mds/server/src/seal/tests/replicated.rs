//! An extent with all its bytes on two data servers.

use layout::copies::Copies;
use layout::{DataServerId, ExtentId};
use mds_namespace::ExtentRecord;
use mds_namespace::op::extent::{CopyChange, extent};
use mds_state::Command;
use mds_state::command::data::ChangeCopies;

use super::fleet::Fleet;

/// The log's record of an extent.
pub(super) fn record(fleet: &Fleet, id: ExtentId) -> ExtentRecord {
    extent(fleet.server().view().unwrap().namespace(), id).unwrap().unwrap()
}

/// The first extent of a new file, with the first data server as its primary and a replica on the
/// second.
pub(super) async fn replicated(fleet: &Fleet) -> ExtentId {
    let file = fleet.opened("", &[1]).await;
    let id = ExtentId { ino: file.ino, index: 0 };
    for filling in [true, false] {
        let copies = Copies { home: DataServerId(1), backups: vec![(DataServerId(2), filling)] };
        let changes = vec![CopyChange { extent: id, epoch: record(fleet, id).epoch, copies }];
        fleet.server().propose(Command::ChangeCopies(ChangeCopies { changes })).await.unwrap();
    }
    assert!(record(fleet, id).backups.iter().all(|backup| !backup.filling), "it holds everything");
    id
}
