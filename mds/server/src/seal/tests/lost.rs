//! A home without a lease reports that it has lost a backup.

use layout::copies::Copies;
use layout::{DataServerId, ExtentId};
use mds_namespace::op::extent::{CopyChange, extent};
use mds_state::Command;
use mds_state::command::data::ChangeCopies;
use wire_nfs::control::copies::{AskCopies, Word};
use wire_nfs::control::extent::ExtentName;

use super::fleet::Fleet;
use crate::copies;

async fn set(fleet: &Fleet, id: ExtentId) {
    let epoch = extent(fleet.server().view().unwrap().namespace(), id).unwrap().unwrap().epoch;
    let copies = Copies { home: DataServerId(1), backups: vec![(DataServerId(2), true)] };
    let changes = vec![CopyChange { extent: id, epoch, copies }];
    fleet.server().propose(Command::ChangeCopies(ChangeCopies { changes })).await.unwrap();
}

/// It has to cut something before it gets a lease, and cannot while it waits for a missing backup:
/// the backup is removed. While the backup has a lease it stays: it is the one that can serve.
/// Origin: `sim --seed 3112 --minutes 3 -- --cuts --linux`.
#[tokio::test]
async fn a_home_without_a_lease_gets_rid_of_a_dead_backup() {
    let fleet = Fleet::start(2, |settings| settings.data_server_lease_ms = 500).await;
    let file = fleet.opened("", &[1]).await;
    let id = ExtentId { ino: file.ino, index: 0 };
    set(&fleet, id).await;
    let name = ExtentName { ino: id.ino, index: id.index };
    let lost = AskCopies { server: 1, extent: name, backup: 2, since: 0, word: Word::Lost };
    let is_up = |id| fleet.server().data_servers.is_up(DataServerId(id), fleet.server().now_ms());
    fleet.silence(1);
    until!(!is_up(1));
    assert!(is_up(2));
    assert_eq!(copies::hear(fleet.server(), &lost).await.unwrap().backups.len(), 1);
    fleet.silence(2);
    until!(!is_up(2));
    assert_eq!(copies::hear(fleet.server(), &lost).await.unwrap().backups, []);
}
