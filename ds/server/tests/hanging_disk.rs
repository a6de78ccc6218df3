//! A disk that does not answer at all: its server gives up being primary, as with an error, and
//! goes on without a restart when the disk answers again.
//!
//! Spec: docs/protocol/control.md §2.

#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod bed;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "seal/cluster.rs"]
mod cluster;

use bed::{Bed, rw};
use cluster::{Cluster, extent};
use ds_server::limits::{HANG_MS, HANG_OVER_MS, WATCH_LOOK_MS};
use env::Clock;
use env::memory::Broken;
use wire_nfs::v3::{Nfsstat3, StableHow};

const READS: Broken = Broken { reads: true, writes: false, syncs: false };
const WRITES: Broken = Broken { reads: false, writes: true, syncs: false };
const SYNCS: Broken = Broken { reads: false, writes: false, syncs: true };

/// Lets `ms` pass in small steps, so that everything that sleeps gets its turn.
async fn pass(bed: &Bed, ms: u64) {
    for _ in 0..ms / 50 {
        bed.clock.advance_ms(50);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
}

/// A server with bytes, and the verifier under which they were written.
async fn written() -> (Bed, [u8; 8]) {
    let bed = Bed::new().await;
    let written = bed.write(rw(1), bed::START, b"kept", StableHow::FileSync).await.unwrap();
    (bed, written.verf)
}

/// A failure as it was reported last, and the start that reported it.
fn report(bed: &Bed) -> Option<(String, u64)> {
    bed.metadata.seen(|seen| {
        let last = seen.heartbeats.last().filter(|beat| !beat.failure.is_empty())?;
        Some((last.failure.clone(), last.instance))
    })
}

/// What waits for the disk is answered as soon as the server gives up, not when the disk answers;
/// and the server comes back by itself.
#[tokio::test]
async fn it_gives_up_and_comes_back_without_a_restart() {
    for silent in [WRITES, SYNCS] {
        let (bed, verf) = written().await;
        bed.disk.set_silent(silent);
        let (refused, ()) = tokio::join!(
            bed.write(rw(1), bed::START, b"new", StableHow::FileSync),
            pass(&bed, HANG_MS + 2 * WATCH_LOOK_MS)
        );
        assert_eq!(refused.unwrap_err(), Nfsstat3::Stale, "the client comes back");
        assert!(!bed.server.is_serving());
        let (words, instance) = report(&bed).unwrap();
        assert!(words.starts_with("disk hangs: no answer to a "), "{words}");
        // A replica may serve all of it by now.
        assert_eq!(bed.read(rw(1), bed::START, 4).await.unwrap_err(), Nfsstat3::Stale);
        assert_eq!(bed.commit(rw(1)).await.unwrap_err(), Nfsstat3::Stale);
        pass(&bed, 30_000).await;
        assert!(!bed.server.is_serving() && report(&bed).is_some(), "for as long as it hangs");
        bed.metadata.seen(|seen| {
            assert_eq!(seen.registers.len(), 1);
            assert_eq!(seen.registers[0].instance, instance);
        });
        bed.disk.set_silent(Broken::default());
        pass(&bed, HANG_OVER_MS + 2_000).await;
        assert!(bed.server.is_serving());
        bed.metadata.seen(|seen| {
            assert_eq!(seen.registers.len(), 2);
            assert_ne!(seen.registers[1].instance, instance, "a late report ends no lease");
            assert_eq!(seen.heartbeats.last().unwrap().instance, seen.registers[1].instance);
        });
        let (at, bytes) = (bed::START + 4, b" and new");
        let again = bed.write(rw(1), at, bytes, StableHow::FileSync).await.unwrap();
        assert_ne!(again.verf, verf, "what was not committed before may be gone");
        assert_eq!(&bed.read(rw(1), at, 8).await.unwrap().data[..], b" and new");
    }
}

#[tokio::test]
async fn a_read_that_is_not_answered_is_a_hang() {
    let (bed, _) = written().await;
    bed.disk.set_silent(READS);
    let (refused, ()) = tokio::join!(bed.read(rw(1), bed::START, 4), pass(&bed, HANG_MS + 1_000));
    assert_eq!(refused.unwrap_err(), Nfsstat3::Stale);
    assert_eq!(report(&bed).unwrap().0, "disk hangs: no answer to a read for 5 s");
    bed.disk.set_silent(Broken::default());
    pass(&bed, HANG_OVER_MS + 2_000).await;
    assert_eq!(&bed.read(rw(1), bed::START, 4).await.unwrap().data[..], b"kept");
}

/// A disk that is only slow keeps its server.
#[tokio::test]
async fn a_flush_of_some_seconds_is_none() {
    let (bed, verf) = written().await;
    for _ in 0..4 {
        bed.disk.set_silent(SYNCS);
        let slow = async {
            pass(&bed, HANG_MS - 1_000).await;
            bed.disk.set_silent(Broken::default());
        };
        let write = bed.write(rw(1), bed::START, b"slow", StableHow::FileSync);
        assert_eq!(tokio::join!(write, slow).0.unwrap().verf, verf);
    }
    bed.metadata.seen(|seen| {
        assert_eq!(seen.registers.len(), 1);
        assert!(seen.heartbeats.iter().all(|beat| beat.failure.is_empty()));
    });
}

/// A process that was stopped for long finds its flush under way, and its lease over: nothing
/// hangs.
#[tokio::test]
async fn a_pause_is_no_hang() {
    let (bed, verf) = written().await;
    bed.disk.set_silent(SYNCS);
    let paused = async {
        pass(&bed, 1_000).await;
        bed.clock.pause_ms(30_000);
        pass(&bed, 1_000).await;
        bed.disk.set_silent(Broken::default());
        pass(&bed, 3_000).await;
    };
    let write = bed.write(rw(1), bed::START, b"late", StableHow::FileSync);
    assert_eq!(tokio::join!(write, paused).0.unwrap().verf, verf, "under the lease of before");
    assert!(bed.server.is_serving());
    bed.metadata.seen(|seen| assert!(seen.heartbeats.iter().all(|beat| beat.failure.is_empty())));
}

/// Primary 1, replicas 2 and 3: a replica serves what the client wrote, and takes its next bytes,
/// while the disk hangs.
#[tokio::test]
async fn a_replica_takes_over() {
    let mut cluster = Cluster::new(3).await;
    cluster.log.lock().unwrap().roster.seal_idle_ms = 0;
    cluster.place(extent(1), 1, &[2, 3]);
    cluster.write(extent(1), 0, b"kept").await;
    cluster.nodes[0].disk.set_silent(Broken::ALL);
    let began_ms = cluster.clock.monotonic_ms();
    assert_eq!(cluster.try_write(extent(1), 0, b"new").await.unwrap_err(), Nfsstat3::Stale);
    assert!(cluster.clock.monotonic_ms() - began_ms < HANG_MS + 1_000);
    cluster.until("it is reported", |log| log.roster.failed.get(&1).cloned()).await;
    assert!(!cluster.nodes[0].server.as_ref().unwrap().is_serving());
    cluster.lose(1);
    cluster.write(extent(1), 0, b"new").await;
    assert_eq!(cluster.read(extent(1), 0, 4).await.unwrap(), b"newt");
}

/// A replica whose disk hangs keeps its primary's clients waiting only until the primary has it
/// replaced; it gives up as well.
#[tokio::test]
async fn a_replica_gives_up_too() {
    let cluster = Cluster::new(3).await;
    cluster.log.lock().unwrap().roster.seal_idle_ms = 0;
    cluster.place(extent(1), 1, &[2, 3]);
    cluster.write(extent(1), 0, b"kept").await;
    cluster.nodes[1].disk.set_silent(Broken::ALL);
    let _write = cluster.try_write(extent(1), 0, b"new").await;
    cluster.until("it is reported", |log| log.roster.failed.get(&2).cloned()).await;
    assert!(!cluster.nodes[1].server.as_ref().unwrap().is_serving());
    assert!(cluster.nodes[0].server.as_ref().unwrap().is_serving());
}
