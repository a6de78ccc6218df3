//! Measures the log on both disk back ends, in a temporary directory: `cargo bench -p wal`.
//!
//! Small durable appends alone and 64 at a time (the Raft log's settings), 1 MiB appends written
//! and then synced (the journal's), and reads of 4 KiB that the page cache holds.
#![allow(clippy::unwrap_used, reason = "a measurement: a failed step ends it")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use env::os::{BackEnd, OsClock, Preference, open_disk};
use env::{Clock, Disk};
use wal::{Record, Wal, WalConfig};

const SMALL_BYTES: usize = 330;
const LARGE_BYTES: usize = 1 << 20;
const SECONDS: u64 = 2;

fn record(position: u64, payload: &Bytes) -> Record {
    Record { stream: 1, position, payload: vec![payload.clone()], ..Record::default() }
}

/// What one run measured.
struct Measured {
    appends: u64,
    flushes: u64,
    ns: u64,
    latencies_ns: Vec<u64>,
}

impl Measured {
    fn percentile_us(&mut self, percent: usize) -> f64 {
        self.latencies_ns.sort_unstable();
        let index = (self.latencies_ns.len() * percent / 100).min(self.latencies_ns.len() - 1);
        self.latencies_ns[index] as f64 / 1e3
    }

    fn per_second(&self) -> f64 {
        self.appends as f64 * 1e9 / self.ns as f64
    }
}

/// `committers` tasks, each appending durably one record after the other.
async fn small(wal: &Wal, clock: &OsClock, committers: u64) -> Measured {
    let payload = Bytes::from(vec![0x5a; SMALL_BYTES]);
    // The first segment is made ready (and filled with zeros) now, not while measuring.
    wal.append_durable(record(0, &payload)).await.unwrap();
    let (start, flushes) = (clock.monotonic_ns(), wal.counters().flushes);
    let end = start + SECONDS * 1_000_000_000;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..committers {
        let (wal, clock, payload) = (wal.clone(), clock.clone(), payload.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let from = clock.monotonic_ns();
                if end <= from {
                    return latencies;
                }
                wal.append_durable(record(from, &payload)).await.unwrap();
                latencies.push(clock.monotonic_ns() - from);
            }
        });
    }
    let latencies_ns: Vec<u64> = tasks.join_all().await.concat();
    let ns = clock.monotonic_ns() - start;
    let flushes = wal.counters().flushes - flushes;
    Measured { appends: latencies_ns.len() as u64, flushes, ns, latencies_ns }
}

/// 1 MiB records, eight under way; latencies are those of "written", the time includes the last
/// sync.
async fn large(wal: &Wal, clock: &OsClock, records: u64) -> (Measured, f64) {
    let payload = Bytes::from(vec![0xa5; LARGE_BYTES]);
    wal.append(record(0, &payload)).await.unwrap();
    let (start, flushes) = (clock.monotonic_ns(), wal.counters().flushes);
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let (wal, clock, payload) = (wal.clone(), clock.clone(), payload.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for index in 0..records / 8 {
                let from = clock.monotonic_ns();
                wal.append(record(8 * index + lane, &payload)).await.unwrap();
                latencies.push(clock.monotonic_ns() - from);
            }
            latencies
        });
    }
    let latencies_ns: Vec<u64> = tasks.join_all().await.concat();
    let written_ns = clock.monotonic_ns() - start;
    wal.sync().await.unwrap();
    let ns = clock.monotonic_ns() - start;
    let flushes = wal.counters().flushes - flushes;
    let appends = latencies_ns.len() as u64;
    let written_gb = appends as f64 * LARGE_BYTES as f64 / written_ns as f64;
    (Measured { appends, flushes, ns, latencies_ns }, written_gb)
}

/// Reads of 4 KiB out of one cached 1 MiB record.
async fn cached_reads(wal: &Wal, clock: &OsClock) -> f64 {
    let location = wal.append(record(0, &Bytes::from(vec![1; LARGE_BYTES]))).await.unwrap();
    let (start, reads) = (clock.monotonic_ns(), 100_000_u32);
    for index in 0..reads {
        let from = index % 255 * 4096;
        wal.read(location, from..from + 4096).await.unwrap();
    }
    (clock.monotonic_ns() - start) as f64 / f64::from(reads) / 1e3
}

async fn open(disk: &Arc<dyn Disk>, dir: &Path, config: WalConfig) -> Wal {
    Wal::open(Arc::clone(disk), dir, config, &mut |_, _| {}).await.unwrap().0
}

async fn run(disk: Arc<dyn Disk>, back_end: BackEnd, dir: &Path) {
    let clock = OsClock::new();
    let log = WalConfig { segment_bytes: 16 << 20, recycle_max: 2, ..WalConfig::new([1; 16]) };
    // `cargo bench -p wal -- large` leaves the small ones out.
    let only_large = std::env::args().any(|argument| argument == "large");
    for committers in [1, 64].into_iter().filter(|_| !only_large) {
        let wal = open(&disk, &dir.join(format!("log-{committers}")), log).await;
        let mut measured = small(&wal, &clock, committers).await;
        println!(
            "{back_end:?}\t330 B durable b={committers}\t{:.0}/s\tp50 {:.0} us\tp99 {:.0} us\t{:.1} appends a flush",
            measured.per_second(),
            measured.percentile_us(50),
            measured.percentile_us(99),
            measured.appends as f64 / measured.flushes as f64,
        );
        wal.close().await.unwrap();
    }
    let wal = open(&disk, &dir.join("journal"), WalConfig::new([1; 16])).await;
    let (mut measured, written_gb) = large(&wal, &clock, 1024).await;
    println!(
        "{back_end:?}\t1 MiB written+synced\t{:.2} GB/s (written {written_gb:.2})\tp50 {:.0} us\tp99 {:.0} us\t{} flushes",
        measured.per_second() * LARGE_BYTES as f64 / 1e9,
        measured.percentile_us(50),
        measured.percentile_us(99),
        measured.flushes,
    );
    println!("{back_end:?}\t4 KiB cached read\t{:.1} us", cached_reads(&wal, &clock).await);
    wal.close().await.unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for preference in [Preference::Blocking, Preference::Uring] {
        let dir = tempfile::tempdir().unwrap();
        match open_disk("bench", preference) {
            Ok((disk, back_end)) => runtime.block_on(run(disk, back_end, dir.path())),
            Err(error) => println!("{preference:?}\tSKIPPED: the kernel refuses: {error}"),
        }
    }
}
