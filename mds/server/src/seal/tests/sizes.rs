//! How long a file is whose writer is gone.

use layout::{ExtentId, Iomode};
use mds_shard::Command;
use mds_shard::command::layout::LayoutGet;

use super::fleet::Fleet;
use crate::reaper;

/// What a client wrote and never committed counts, up to where it wrote, however many extents that is. It is asked for once the client cannot write any
/// more.
/// Spec: RFC 8881 §12.5.4, §18.42.3.
#[tokio::test]
async fn what_a_lost_client_wrote_counts() {
    const EXTENTS: u32 = 40;
    let fleet = Fleet::start(2, |_| ()).await;
    let homes: Vec<u32> = (0..EXTENTS).map(|index| index % 2 + 1).collect();
    let file = fleet.opened("lost", &homes).await;
    let (client, stateid) = (file.client, file.stateid);
    for index in [0, EXTENTS - 1] {
        let extent = ExtentId { ino: file.ino, index };
        let get = LayoutGet { client, extent, iomode: Iomode::ReadWrite, stateid };
        fleet.server().propose(Command::LayoutGet(get)).await.unwrap();
    }
    // Far more extents before it than are asked for at once.
    fleet.extents_hold(EXTENTS - 1, 5000);
    reaper::expire(fleet.server(), client).await;
    let last = ExtentId { ino: file.ino, index: EXTENTS - 1 };
    until!(fleet.server().view().unwrap().inode(file.ino).unwrap().size_bytes == last.first_byte() + 5000);
}
