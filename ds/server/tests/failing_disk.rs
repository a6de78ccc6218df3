//! A disk that answers with errors, or with other bytes than were written: what it cannot give
//! comes from a replica while the client waits, and a primary that cannot write gives up at once,
//! so that a replica takes its place.
//!
//! Spec: docs/protocol/control.md §2; docs/protocol/seal.md §10.

#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod bed;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "seal/cluster.rs"]
mod cluster;

use std::path::{Path, PathBuf};

use bed::{Bed, rw, settle};
use cluster::{Cluster, extent};
use env::memory::{Broken, Crash};
use env::{Clock, Disk, OpenMode};
use wire_nfs::v3::{Nfsstat3, StableHow};

const BLOCK: usize = 4096;
const BYTES: usize = 200 * BLOCK + 77;

fn noise(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// Primary 1, replicas 2 and 3; nothing is sealed, and nothing is scrubbed.
async fn written() -> (Cluster, Vec<u8>) {
    let cluster = Cluster::new(3).await;
    cluster.log.lock().unwrap().roster.seal_idle_ms = 0;
    cluster.place(extent(1), 1, &[2, 3]);
    cluster.write(extent(1), 0, &noise(1)).await;
    (cluster, noise(1))
}

/// The file of server 1's journal, and the place in it, where the data begin.
async fn place(cluster: &Cluster, wanted: &[u8]) -> (PathBuf, usize) {
    let (dir, disk) = (Path::new("/ds/journal"), cluster.nodes[0].disk.clone());
    for name in Disk::list(&disk, dir).await.unwrap() {
        let path = dir.join(name);
        let file = Disk::open(&disk, &path, OpenMode::READ).await.unwrap();
        let bytes = file.read_at(0, 1 << 24).await.unwrap();
        if let Some(block) = bytes.chunks(BLOCK).position(|block| block == &wanted[..BLOCK]) {
            return (path, block * BLOCK);
        }
    }
    panic!("they are in the journal");
}

fn failure(cluster: &Cluster, id: u32) -> Option<String> {
    cluster.log.lock().unwrap().roster.failed.get(&id).cloned()
}

/// The client has its bytes with the first READ, although nothing is scrubbed; and they are good
/// here afterwards.
#[tokio::test]
async fn flipped_bits_come_from_a_replica_while_the_client_waits() {
    let (mut cluster, bytes) = written().await;
    let (path, at) = place(&cluster, &bytes).await;
    for block in [0, 3, 120] {
        cluster.nodes[0].disk.corrupt(&path, (at + block * BLOCK + 9) as u64, 0x40);
    }
    let began_ms = cluster.clock.monotonic_ms();
    assert!(cluster.read(extent(1), 0, BYTES).await == Ok(bytes.clone()));
    assert!(cluster.clock.monotonic_ms() - began_ms < 1_000, "within a second");
    assert!(0 < cluster.count(1, "shoal_scrub_repaired"));
    assert_eq!(failure(&cluster, 1), None, "a few bad bits are no reason to give up");
    [2, 3].iter().for_each(|server| cluster.lose(*server));
    assert!(cluster.read(extent(1), 0, BYTES).await == Ok(bytes.clone()), "alone");
    cluster.crash(1, Crash::Drop).await;
    assert!(cluster.read(extent(1), 0, BYTES).await == Ok(bytes), "after a crash");
}

/// One READ that the disk refuses is answered all the same.
#[tokio::test]
async fn a_read_that_the_disk_refuses_comes_from_a_replica() {
    let (cluster, bytes) = written().await;
    for _ in 0..3 {
        cluster.nodes[0].disk.fail_read(0, std::io::ErrorKind::Other);
        assert!(cluster.read(extent(1), 0, BYTES).await == Ok(bytes.clone()));
    }
    assert_eq!(failure(&cluster, 1), None);
}

/// A disk that gives nothing back, not even what was just written: this server is primary of
/// nothing any more, and says why.
#[tokio::test]
async fn a_disk_that_cannot_be_read_gives_up_being_primary() {
    let (cluster, _) = written().await;
    cluster.nodes[0].disk.set_broken(Broken { reads: true, ..Broken::default() });
    assert_eq!(cluster.read(extent(1), 0, BYTES).await.unwrap_err(), Nfsstat3::Stale);
    cluster.until("it is reported", |log| log.roster.failed.get(&1).cloned()).await;
    assert!(!cluster.nodes[0].server.as_ref().unwrap().is_serving());
}

async fn gives_up(broken: Broken) {
    let (mut cluster, bytes) = written().await;
    cluster.nodes[0].disk.set_broken(broken);
    let began_ms = cluster.clock.monotonic_ms();
    let refused = cluster.try_write(extent(1), 0, b"new").await;
    assert_eq!(refused.unwrap_err(), Nfsstat3::Stale, "the client comes back for another layout");
    cluster.until("it is reported", |log| log.roster.failed.get(&1).cloned()).await;
    assert!(cluster.clock.monotonic_ms() - began_ms < 1_000, "long before a lease is over");
    assert!(failure(&cluster, 1).unwrap().contains("Input/output error"), "{:?}", failure(&cluster, 1));
    assert!(!cluster.nodes[0].server.as_ref().unwrap().is_serving());
    // Neither does it read: a replica may have become primary.
    assert_eq!(cluster.read(extent(1), 0, BYTES).await.unwrap_err(), Nfsstat3::Stale);
    cluster.lose(1);
    assert!(
        cluster.read(extent(1), 0, BYTES).await.unwrap()[3..] == bytes[3..],
        "all that was acknowledged is there"
    );
    cluster.write(extent(1), 0, b"new").await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_gives_up_being_primary() {
    gives_up(Broken { writes: true, ..Broken::default() }).await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_flushed_gives_up_being_primary() {
    gives_up(Broken { syncs: true, ..Broken::default() }).await;
}

#[tokio::test]
async fn a_dead_disk_gives_up_being_primary() {
    gives_up(Broken::ALL).await;
}

/// An answer to a heartbeat that was sent before gives no lease back, and the server registers no
/// more; a restart serves again.
#[tokio::test]
async fn a_failed_start_reports_itself_and_never_serves_again() {
    let bed = Bed::new().await;
    bed.write(rw(1), bed::START, b"kept", StableHow::FileSync).await.unwrap();
    bed.disk.set_broken(Broken { syncs: true, ..Broken::default() });
    assert_eq!(
        bed.write(rw(1), bed::START, b"lost", StableHow::FileSync).await.unwrap_err(),
        Nfsstat3::Stale
    );
    for _ in 0..40 {
        bed.clock.advance_ms(250);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert!(!bed.server.is_serving());
    }
    bed.metadata.seen(|seen| {
        assert_eq!(seen.registers.len(), 1);
        let reports = seen.heartbeats.iter().filter(|beat| !beat.failure.is_empty());
        assert!(15 < reports.clone().count(), "a metadata server that begins to lead learns it soon");
        assert!(reports.clone().all(|beat| beat.instance == seen.registers[0].instance));
    });
    bed.disk.set_broken(Broken::default());
    let bed = bed.crashed(Crash::Drop).await;
    settle(|| bed.server.is_serving()).await;
    assert_eq!(&bed.read(rw(1), bed::START, 4).await.unwrap().data[..], b"kept");
}
