//! A primary that is alive gives way: two data servers in memory, and what a metadata server tells
//! them.
//!
//! Spec: docs/protocol/admin.md §4.

#![allow(clippy::unwrap_used, reason = "only tests are here")]
#![allow(dead_code, reason = "the cluster serves other tests, too")]

mod bed;
#[path = "seal/cluster.rs"]
mod cluster;

use cluster::{Cluster, extent};
use layout::ExtentId;
use wire_nfs::control::Procedure;
use wire_nfs::control::extent::{AtEpoch, ExtentName, KnownEpoch};
use wire_nfs::v3::Nfsstat3;

async fn tell(cluster: &Cluster, server: u32, procedure: Procedure, extent: ExtentId, epoch: u64) {
    let name = ExtentName { ino: extent.ino, index: extent.index };
    let known = cluster.control::<KnownEpoch>(server, procedure, &AtEpoch { extent: name, epoch }).await;
    assert_eq!(known.unwrap().epoch, epoch);
}

/// What was promised is at the next primary, what the old one is asked with its handles has no
/// effect, and what it still says to those who were its replicas is not heard.
#[tokio::test]
async fn the_next_primary_has_everything_and_the_old_one_is_heard_no_more() {
    let cluster = Cluster::new(3).await;
    let extent = extent(1);
    cluster.place(extent, 1, &[2, 3]);
    for turn in 0..20_usize {
        cluster.write(extent, turn * 5_000, &[u8::try_from(turn).unwrap() + 1; 5_000]).await;
    }
    cluster.commit(extent).await;
    let old = cluster.handle(extent);
    // The entry of the log; then first the fences, then the drop.
    {
        let mut log = cluster.log.lock().unwrap();
        let record = log.extents.get_mut(&extent).unwrap();
        record.home = record.backups.remove(0).server;
        record.epoch += 1;
    }
    tell(&cluster, 2, Procedure::Fence, extent, 2).await;
    tell(&cluster, 3, Procedure::Fence, extent, 2).await;
    let refused = cluster.write_with(old.clone(), extent, &[99; 4_000]).await;
    assert!(refused.is_err(), "no replica keeps what it says any more: {refused:?}");
    tell(&cluster, 1, Procedure::Drop, extent, 2).await;
    let refused = cluster.write_with(old, extent, &[98; 4_000]).await;
    assert_eq!(refused, Err(Nfsstat3::Stale));
    // Time for all that the old primary would still like to say.
    cluster.clock.advance_ms(5_000);
    let bytes = cluster.read(extent, 0, 100_000).await.unwrap();
    assert_eq!(bytes.len(), 100_000);
    assert!(bytes.chunks(5_000).zip(1..).all(|(chunk, turn)| chunk.iter().all(|byte| *byte == turn)));
    // And it goes on at the next one, with the replica it has.
    cluster.write(extent, 7, b"more").await;
    cluster.commit(extent).await;
    let bytes = cluster.read(extent, 5, 8).await.unwrap();
    assert_eq!(&bytes[..], b"\x01\x01more\x01\x01");
}
