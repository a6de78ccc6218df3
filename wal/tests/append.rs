//! Appending, reading, group commit, segments: on a disk in memory that counts.
#![allow(clippy::unwrap_used, reason = "a test: a failed step is a failed test")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::Disk;
use env::memory::{Crash, MemoryDisk};
use wal::{
    AppendError, DropError, Durability, Location, OpenError, ReadError, Record, RecordHeader, Wal, WalConfig,
};

const DIR: &str = "/log";

fn config(segment_bytes: u64) -> WalConfig {
    WalConfig { segment_bytes, ..WalConfig::new([7; 16]) }
}

fn record(position: u64, len: usize) -> Record {
    let seed = position.wrapping_mul(0x9e37_79b9);
    let payload = (0..len).map(|index| (seed.wrapping_add(index as u64 * 13) >> 3) as u8).collect::<Bytes>();
    Record { kind: 1, role: 2, stream: 3, sub: 4, epoch: 5, position, payload: vec![payload] }
}

async fn open(disk: &MemoryDisk, config: WalConfig) -> (Wal, Vec<(RecordHeader, Location)>) {
    let mut seen = Vec::new();
    let mut visitor = |header: &RecordHeader, location: Location| seen.push((*header, location));
    let disk: Arc<dyn Disk> = Arc::new(disk.mount());
    let (wal, report) = Wal::open(disk, Path::new(DIR), config, &mut visitor).await.unwrap();
    assert_eq!(report.corrupt, []);
    assert_eq!(report.records, seen.len() as u64);
    (wal, seen)
}

async fn check(wal: &Wal, location: Location, record: &Record) {
    let (header, payload) = wal.read_record(location).await.unwrap();
    assert_eq!((header.kind, header.role, header.stream), (record.kind, record.role, record.stream));
    assert_eq!((header.sub, header.epoch, header.position), (record.sub, record.epoch, record.position));
    assert_eq!(payload, record.payload.concat());
}

#[tokio::test]
async fn reads_back_whole_and_in_parts() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config(8 << 20)).await;
    for len in [0, 1, 63, 1000, 1025, 4096, 4097, 32_767, 32_768, 100_000, 3 << 20] {
        let record = record(len as u64, len);
        let location = wal.append(record.clone()).await.unwrap();
        assert_eq!(location.payload_len as usize, len);
        check(&wal, location, &record).await;
        let whole = record.payload.concat();
        for (start, end) in [(0, len), (len / 2, len), (len / 3, len / 2), (len, len), (0, 0)] {
            let part = wal.read(location, start as u32..end as u32).await.unwrap();
            assert_eq!(part, whole[start..end], "{start}..{end} of {len}");
        }
        let past = wal.read(location, 0..len as u32 + 1).await;
        assert!(matches!(past, Err(ReadError::Range { .. })));
    }
}

#[tokio::test]
async fn a_small_read_of_a_large_record_reads_little() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config(8 << 20)).await;
    let record = record(1, 1 << 20);
    let location = wal.append(record.clone()).await.unwrap();
    let before = disk.counts().read_bytes;
    let part = wal.read(location, 900_000..900_100).await.unwrap();
    assert_eq!(part, record.payload[0][900_000..900_100]);
    assert!(disk.counts().read_bytes - before <= 64 + 1024 + 4096);
}

#[tokio::test]
async fn payload_of_many_buffers() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config(8 << 20)).await;
    let mut many = record(1, 0);
    many.payload = (0..3000).map(|index| record(index, index as usize % 1500).payload[0].clone()).collect();
    let location = wal.append_durable(many.clone()).await.unwrap();
    check(&wal, location, &many).await;
}

#[tokio::test]
async fn too_large_is_refused_and_the_largest_is_not() {
    for segment_bytes in [32 << 10, 1 << 20, 64 << 20] {
        let disk = MemoryDisk::new();
        let (wal, _) = open(&disk, config(segment_bytes)).await;
        let largest = usize::try_from(wal.payload_bytes_max()).unwrap();
        let (ok, bad) = (record(1, largest), record(2, largest + 1));
        assert!(matches!(wal.append(bad).await, Err(AppendError::TooLarge { .. })));
        check(&wal, wal.append(ok.clone()).await.unwrap(), &ok).await;
        check(&wal, wal.append_durable(ok.clone()).await.unwrap(), &ok).await;
    }
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let refused = Wal::open(disk, Path::new(DIR), config(5000), &mut |_, _| {}).await;
    assert!(matches!(refused, Err(OpenError::Config)));
}

#[tokio::test]
async fn concurrent_committers_share_flushes() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config(8 << 20)).await;
    wal.append_durable(record(0, 10)).await.unwrap();
    let (flushes, syncs) = (wal.counters().flushes, disk.counts().syncs);
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..64 {
        let wal = wal.clone();
        tasks.spawn(async move { (index, wal.append_durable(record(index, 330)).await.unwrap()) });
    }
    while let Some(done) = tasks.join_next().await {
        let (index, location) = done.unwrap();
        check(&wal, location, &record(index, 330)).await;
    }
    assert!(wal.counters().flushes - flushes <= 3, "{}", wal.counters().flushes - flushes);
    assert!(disk.counts().syncs - syncs <= 3);
}

/// A sync that was under way when a record was written does not make it durable.
#[tokio::test]
async fn a_sync_covers_only_what_was_written_when_it_started() {
    for turns in [(5, 20), (20, 5), (10, 10), (1, 40)] {
        let disk = MemoryDisk::new();
        let (wal, _) = open(&disk, config(1 << 20)).await;
        wal.append_durable(record(0, 10)).await.unwrap();
        disk.set_turns(turns.0, turns.1);
        let mut waiting = Vec::new();
        for position in (1..40).step_by(2) {
            let written = wal.enqueue(vec![record(position, 10)], Durability::Written).await.unwrap();
            waiting.push(wal.enqueue(vec![record(position + 1, 10)], Durability::Synced).await.unwrap());
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            if position % 5 == 0 {
                written.await.unwrap();
            }
        }
        let mut locations = Vec::new();
        for synced in waiting {
            locations.extend(synced.await.unwrap());
            // No more than what was promised so far.
            let copy = disk.after_crash(Crash::Drop);
            let (wal, seen) = open(&copy, config(1 << 20)).await;
            assert!(locations.len() <= seen.len() / 2, "{turns:?}: {} of {}", seen.len(), locations.len());
            drop(wal);
        }
    }
}

#[tokio::test]
async fn order_is_the_order_of_enqueueing() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config(64 << 10)).await;
    let mut waiting = Vec::new();
    for index in 0..200_u64 {
        let durability = if index.is_multiple_of(3) { Durability::Synced } else { Durability::Written };
        let records = vec![record(2 * index, 700), record(2 * index + 1, 5)];
        waiting.push(wal.enqueue(records, durability).await.unwrap());
    }
    let mut all = Vec::new();
    for appended in waiting {
        all.extend(appended.await.unwrap());
    }
    assert!(all.is_sorted() && all.len() == 400);
    assert!(wal.segments().len() > 3);
    wal.close().await.unwrap();
    assert!(matches!(wal.append(record(1, 1)).await, Err(AppendError::Closed)));
    let (wal, seen) = open(&disk, config(64 << 10)).await;
    let positions: Vec<u64> = seen.iter().map(|(header, _)| header.position).collect();
    assert_eq!(positions, (0..400).collect::<Vec<u64>>());
    for (header, location) in &seen {
        check(&wal, *location, &record(header.position, header.payload_len as usize)).await;
    }
}

#[tokio::test]
async fn back_pressure_bounds_what_waits() {
    let disk = MemoryDisk::new();
    let small = WalConfig { queue_bytes_max: 10_000, ..config(8 << 20) };
    let (wal, _) = open(&disk, small).await;
    let first = wal.enqueue(vec![record(1, 6000)], Durability::Written).await.unwrap();
    // No task has run since, so the first still holds its room.
    let second = wal.enqueue(vec![record(2, 6000)], Durability::Written);
    let mut second = std::pin::pin!(second);
    assert!(futures_poll_once(second.as_mut()).await.is_none());
    first.await.unwrap();
    second.await.unwrap().await.unwrap();
    // Larger than the queue: gets all of it.
    wal.append(record(3, 50_000)).await.unwrap();
}

async fn futures_poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn segments_count_live_bytes_and_are_dropped() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config(64 << 10)).await;
    let mut locations = Vec::new();
    for index in 0..40 {
        locations.push(wal.append(record(index, 4000)).await.unwrap());
    }
    wal.sync().await.unwrap();
    let first = wal.segments()[0];
    assert!(first.sealed && first.live_bytes == first.bytes && first.bytes > 0);
    let dead: Vec<Location> = locations.iter().copied().filter(|at| at.segment == first.seq).collect();
    for location in &dead {
        wal.mark_dead(*location);
    }
    assert_eq!(wal.segments()[0].live_bytes, 0);
    assert!(wal.read_record(dead[0]).await.is_ok());
    let active = wal.segments().last().unwrap().seq;
    assert!(matches!(wal.drop_segment(active).await, Err(DropError::NotSealed { .. })));
    let bytes = wal.disk_bytes();
    wal.drop_segment(first.seq).await.unwrap();
    assert!(wal.disk_bytes() < bytes);
    assert!(matches!(wal.drop_segment(first.seq).await, Err(DropError::NoSegment { .. })));
    assert!(matches!(wal.read_record(dead[0]).await, Err(ReadError::NoSegment { .. })));
    wal.close().await.unwrap();
    disk.crash(Crash::Drop);
    let (_, seen) = open(&disk, config(64 << 10)).await;
    assert_eq!(seen.len(), 40 - dead.len());
}

#[tokio::test]
async fn roll_seals() {
    let disk = MemoryDisk::new();
    let (wal, _) = open(&disk, config(64 << 10)).await;
    wal.roll().await.unwrap();
    assert_eq!(wal.segments(), []);
    let one = wal.append(record(1, 10)).await.unwrap();
    wal.roll().await.unwrap();
    assert!(wal.segments()[0].sealed);
    let two = wal.append(record(2, 10)).await.unwrap();
    assert!(one.segment < two.segment);
}

#[tokio::test]
async fn failures_poison() {
    for (write, durability) in
        [(true, Durability::Written), (true, Durability::Synced), (false, Durability::Synced)]
    {
        let disk = MemoryDisk::new();
        let (wal, _) = open(&disk, config(1 << 20)).await;
        let kept = wal.append_durable(record(1, 100)).await.unwrap();
        if write {
            disk.fail_write(0, io::ErrorKind::Other);
        } else {
            disk.fail_sync(0, io::ErrorKind::Other);
        }
        let failed = wal.append_batch(vec![record(2, 100)], durability).await;
        assert!(matches!(failed, Err(AppendError::Failed(_))));
        assert!(matches!(wal.append(record(3, 100)).await, Err(AppendError::Failed(_))));
        assert!(matches!(wal.sync().await, Err(AppendError::Failed(_))));
        check(&wal, kept, &record(1, 100)).await;
        drop(wal);
        disk.crash(Crash::Drop);
        let (wal, seen) = open(&disk, config(1 << 20)).await;
        assert_eq!(seen.len(), 1);
        wal.append_durable(record(4, 100)).await.unwrap();
    }
}

#[tokio::test]
async fn out_of_space_is_an_error_and_no_more() {
    let disk = MemoryDisk::with_capacity(200 << 10);
    let (wal, _) = open(&disk, config(64 << 10)).await;
    let mut locations = Vec::new();
    let full = loop {
        match wal.append_durable(record(locations.len() as u64, 6000)).await {
            Ok(location) => locations.push(location),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::NoSpace));
    assert!(matches!(wal.append(record(0, 1)).await, Err(AppendError::NoSpace)));
    wal.sync().await.unwrap();
    for (index, location) in locations.iter().enumerate() {
        check(&wal, *location, &record(index as u64, 6000)).await;
    }
    wal.drop_segment(locations[0].segment).await.unwrap();
    let count = locations.iter().filter(|at| at.segment != locations[0].segment).count();
    wal.append_durable(record(99, 6000)).await.unwrap();
    drop(wal);
    disk.crash(Crash::Drop);
    let (_, seen) = open(&disk, config(64 << 10)).await;
    assert_eq!(seen.len(), count + 1);
}

/// What is appended aside finds no room, and others of its stream follow when there is room again.
#[tokio::test]
async fn what_is_aside_may_find_no_room() {
    let disk = MemoryDisk::with_capacity(200 << 10);
    let (wal, _) = open(&disk, WalConfig { keeps_order: true, ..config(64 << 10) }).await;
    let aside = async |position| {
        let records = vec![record(position, 6000)];
        wal.enqueue_aside(records, Durability::Synced).await.unwrap().await
    };
    let mut last = 0;
    while aside(last).await.is_ok() {
        last += 1;
    }
    assert!(matches!(aside(last).await, Err(AppendError::NoSpace)));
    disk.set_capacity(1 << 20);
    wal.append_durable(record(last + 1, 6000)).await.unwrap();
    assert_eq!(aside(last).await.unwrap().len(), 1);
}

/// Of a stream of which a record found no room there is nothing behind it, though there is room
/// again; others go on.
#[tokio::test]
async fn what_is_on_disk_of_a_stream_is_its_beginning() {
    let disk = MemoryDisk::with_capacity(200 << 10);
    let ordered = WalConfig { keeps_order: true, ..config(64 << 10) };
    let (wal, _) = open(&disk, ordered).await;
    let mut last = 0;
    let full = loop {
        match wal.append_durable(record(last, 6000)).await {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::NoSpace));
    disk.set_capacity(1 << 20);
    assert!(matches!(wal.append(record(last + 1, 1)).await, Err(AppendError::NoSpace)));
    let other = Record { stream: 4, ..record(7, 100) };
    wal.append_durable(other).await.unwrap();
    assert!(matches!(wal.append(record(last + 2, 1)).await, Err(AppendError::NoSpace)));
    drop(wal);
    disk.crash(Crash::Drop);
    let (wal, seen) = open(&disk, ordered).await;
    let own = seen.iter().filter(|(header, _)| header.stream == 3).map(|(header, _)| header.position);
    assert_eq!(own.collect::<Vec<_>>(), (0..last).collect::<Vec<_>>());
    assert_eq!(seen.len() as u64, last + 1);
    wal.append_durable(record(last, 6000)).await.unwrap();
}
