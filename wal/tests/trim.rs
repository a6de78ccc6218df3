//! Room that was made ready is given back when nothing is appended, and taken again: on a disk in
//! memory that counts it.
#![allow(clippy::unwrap_used, reason = "a test: a failed step is a failed test")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::memory::{Crash, MemoryDisk};
use env::{Disk, OpenMode};
use wal::{AppendError, Location, Record, RecordHeader, Wal, WalConfig};

const DIR: &str = "/log";
const SEGMENT: u64 = 4 << 20;
/// More than header blocks, footers and padding take here.
const FRAME: u64 = 48 << 10;

fn config() -> WalConfig {
    WalConfig { segment_bytes: SEGMENT, ..WalConfig::new([7; 16]) }
}

fn record(position: u64, len: usize) -> Record {
    Record { stream: 3, position, payload: vec![Bytes::from(vec![position as u8; len])], ..Record::default() }
}

async fn open(disk: &MemoryDisk, config: WalConfig) -> (Wal, Vec<(RecordHeader, Location)>) {
    let mut seen = Vec::new();
    let mut visitor = |header: &RecordHeader, location: Location| seen.push((*header, location));
    let disk: Arc<dyn Disk> = Arc::new(disk.mount());
    let (wal, report) = Wal::open(disk, Path::new(DIR), config, &mut visitor).await.unwrap();
    assert_eq!((report.cut, report.corrupt), (None, vec![]));
    (wal, seen)
}

/// What the disk says that the log takes of it.
async fn stored(disk: &MemoryDisk) -> u64 {
    let mut sum = 0;
    for name in disk.list(Path::new(DIR)).await.unwrap() {
        let file = disk.open(&Path::new(DIR).join(name), OpenMode::READ).await.unwrap();
        sum += file.stored_bytes().await.unwrap();
    }
    sum
}

async fn check(wal: &Wal, seen: &[(RecordHeader, Location)]) {
    for (header, at) in seen {
        let (_, payload) = wal.read_record(*at).await.unwrap();
        assert_eq!(payload, record(header.position, header.payload_len as usize).payload[0]);
    }
}

#[tokio::test]
async fn room_goes_and_comes_back() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config()).await;
    for position in 0..3 {
        wal.append(record(position, 700_000)).await.unwrap();
    }
    wal.sync().await.unwrap();
    // The active segment, and the next one, which is made ready when a quarter is written.
    while stored(&disk).await < 2 * SEGMENT {
        tokio::task::yield_now().await;
    }
    assert_eq!(wal.disk_bytes(), 2 * SEGMENT);
    for _ in 0..2 {
        wal.trim().await.unwrap();
        assert!(wal.disk_bytes() <= 2_100_000 + FRAME, "{}", wal.disk_bytes());
        assert_eq!(wal.disk_bytes(), stored(&disk).await);
    }
    wal.append_durable(record(3, 700_000)).await.unwrap();
    assert!(SEGMENT <= wal.disk_bytes());
    wal.append_durable(record(4, 2_000_000)).await.unwrap();
    wal.trim().await.unwrap();
    assert_eq!(wal.segments().len(), 2);
    assert_eq!(wal.disk_bytes(), stored(&disk).await);
    assert!(wal.disk_bytes() <= 4_800_000 + FRAME, "{}", wal.disk_bytes());
    let filled: u64 = wal.segments().iter().map(|stat| stat.filled_bytes).sum();
    assert!(filled <= wal.disk_bytes() && wal.disk_bytes() <= filled + FRAME);
    drop(wal);
    disk.crash(Crash::Drop);
    let (wal, seen) = open(&disk, config()).await;
    assert_eq!(seen.len(), 5);
    check(&wal, &seen).await;
    wal.trim().await.unwrap();
    assert_eq!(wal.disk_bytes(), stored(&disk).await);
    assert!(wal.disk_bytes() <= 4_800_000 + FRAME, "{}", wal.disk_bytes());
}

/// What was given back may be another file's by the time it is wanted again: that refuses appends,
/// it does not end the log.
#[tokio::test]
async fn room_that_is_gone_is_no_failure() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config()).await;
    wal.append_durable(record(0, 100)).await.unwrap();
    wal.trim().await.unwrap();
    disk.fail_allocate(0, io::ErrorKind::StorageFull);
    let refused = wal.append(record(1, 100)).await;
    assert!(matches!(refused, Err(AppendError::NoSpace)), "{refused:?}");
    wal.append_durable(record(2, 100)).await.unwrap();
    // Sealing needs no room.
    wal.trim().await.unwrap();
    disk.fail_allocate(0, io::ErrorKind::StorageFull);
    wal.roll().await.unwrap();
    assert!(wal.segments()[0].sealed);
    assert!(matches!(wal.append(record(3, 100)).await, Err(AppendError::NoSpace)));
    wal.append_durable(record(4, 100)).await.unwrap();
    drop(wal);
    disk.crash(Crash::Drop);
    let (wal, seen) = open(&disk, config()).await;
    assert_eq!(seen.iter().map(|(header, _)| header.position).collect::<Vec<_>>(), [0, 2, 4]);
    check(&wal, &seen).await;
}

/// A file that was made ready and given back may be there again after a crash, younger segments
/// behind it.
#[tokio::test]
async fn a_number_that_was_never_used_hides_nothing() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config()).await;
    wal.append_durable(record(0, 100)).await.unwrap();
    wal.roll().await.unwrap();
    let first = wal.segments()[0].seq;
    let second = wal.append_durable(record(1, 2_000_000)).await.unwrap().segment;
    while stored(&disk).await < 2 * SEGMENT {
        tokio::task::yield_now().await;
    }
    // Makes the names that there are durable, that of the file made ready too.
    wal.drop_segment(first).await.unwrap();
    wal.trim().await.unwrap();
    wal.roll().await.unwrap();
    let unnamed = disk.after_crash(Crash::Drop);
    assert_eq!(unnamed.list(Path::new(DIR)).await.unwrap().len(), 2, "its name is back");
    let (wal_again, seen) = open(&unnamed, config()).await;
    assert_eq!(seen.len(), 1);
    check(&wal_again, &seen).await;
    let third = wal.append(record(2, 100)).await.unwrap().segment;
    assert!(second + 1 < third);
    for crash in [Crash::Drop, Crash::Keep, Crash::Tear { seed: 3 }] {
        let copy = disk.after_crash(crash);
        let (wal, seen) = open(&copy, config()).await;
        assert!(!seen.is_empty() && seen[0].0.position == 1, "{crash:?}");
        check(&wal, &seen).await;
    }
    wal.sync().await.unwrap();
    disk.crash(Crash::Drop);
    let (wal, seen) = open(&disk, config()).await;
    assert_eq!(seen.iter().map(|(header, _)| header.position).collect::<Vec<_>>(), [1, 2]);
    check(&wal, &seen).await;
}

#[tokio::test]
async fn who_appends_or_reuses_segments_is_left_alone() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config()).await;
    wal.append_durable(record(0, 100)).await.unwrap();
    let (trimmed, appended) = tokio::join!(wal.trim(), wal.append_durable(record(1, 100)));
    trimmed.unwrap();
    appended.unwrap();
    assert!(SEGMENT <= wal.disk_bytes());
    wal.close().await.unwrap();
    assert!(matches!(wal.trim().await, Err(AppendError::Closed)));
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, WalConfig { recycle_max: 2, ..config() }).await;
    wal.append_durable(record(0, 100)).await.unwrap();
    wal.trim().await.unwrap();
    assert!(SEGMENT <= wal.disk_bytes());
}
