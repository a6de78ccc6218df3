//! How long a file is whose writer is gone.

use layout::{ExtentId, Iomode};
use mds_namespace::Caller;
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

/// A client whose layout is recalled says how far it wrote: what the homes have counts, since the file may have been cut; if they do not say, what it
/// says.
/// Spec: RFC 8881 §18.42.3.
#[tokio::test]
async fn what_is_committed_behind_a_cut_is_looked_at() {
    const SAID: u64 = 9_000;
    let fleet = Fleet::start(1, |_| ()).await;
    let file = fleet.opened("recalled", &[1]).await;
    let end = async |held: u32| {
        fleet.extents_hold(0, held);
        let inode = fleet.server().view().unwrap().inode(file.ino).unwrap();
        fleet.server().committed_end(inode, SAID, Caller::default()).await.unwrap().size_bytes
    };
    assert_eq!(end(0).await, 0, "all of it was cut off");
    assert_eq!(end(4_000).await, 4_000);
    assert_eq!(end(5_000).await, 5_000);
    fleet.sizes_cannot_be_told();
    assert_eq!(end(0).await, SAID);
}
