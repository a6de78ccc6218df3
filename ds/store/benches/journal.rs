//! What the store makes of a disk, beside what the disk does without it.
//!
//! `cargo bench -p ds-store [-- DIR]`. Prints one line per measure. Reads come from the page cache
//! unless the machine is short of memory: they measure the path, not the device.

#![allow(clippy::disallowed_methods, reason = "a bench measures wall-clock time")]
#![allow(clippy::unwrap_used, reason = "a failed bench has nothing better to do")]

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ds_store::{NoImages, Stability, Store, StoreConfig};
use env::Env;
use env::os::tokio_net::TokioNet;
use env::os::{OsClock, OsEntropy, Preference, open_disk};
use layout::{Epoch, ExtentId};

const MIB: u32 = 1 << 20;
const STREAM_MIB: u32 = 1024;
const RUN: Duration = Duration::from_secs(3);
const EPOCH: Epoch = Epoch(1);

fn main() {
    let arguments = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let base = tempfile::tempdir_in(arguments.unwrap_or_else(|| ".".into())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    raw(base.path());
    for preference in [Preference::Uring, Preference::Blocking] {
        let dir = base.path().join(format!("{preference:?}"));
        runtime.block_on(run(&dir, preference));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

fn report(name: &str, what: &str, value: f64, unit: &str) {
    println!("{name:<10} {what:<36} {value:>10.2} {unit}");
}

fn gib_s(mib: u32, spent: Duration) -> f64 {
    f64::from(mib) / 1024.0 / spent.as_secs_f64()
}

/// The disk alone: a file that is allocated and written once before.
fn raw(base: &Path) {
    let path = base.join("raw");
    let mut file = std::fs::File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    let block = vec![7; MIB as usize];
    let began = Instant::now();
    for at in 0..STREAM_MIB {
        file.write_all(&block).unwrap();
        if at % 64 == 63 {
            file.sync_data().unwrap();
        }
    }
    report("raw", "1 MiB writes, sync each 64 MiB", gib_s(STREAM_MIB, began.elapsed()), "GiB/s");
    let began = Instant::now();
    let mut count = 0u64;
    while began.elapsed() < RUN {
        file.write_all_at(&block[..4096], count * 4096).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    report("raw", "4 KiB write + sync, 1 at a time", count as f64 / began.elapsed().as_secs_f64(), "/s");
    let (began, mut count, mut at) = (Instant::now(), 0u64, 1u64);
    let mut buffer = [0; 4096];
    while began.elapsed() < RUN {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        file.read_exact_at(&mut buffer, (at >> 33) % (u64::from(STREAM_MIB) * 256) * 4096).unwrap();
        count += 1;
    }
    report("raw", "4 KiB random reads, 1 at a time", count as f64 / began.elapsed().as_secs_f64(), "/s");
    std::fs::remove_file(&path).unwrap();
}

fn extent_of(mib: u32) -> (ExtentId, u32) {
    (ExtentId { ino: 1, index: mib / 64 }, mib % 64 * MIB)
}

async fn run(dir: &Path, preference: Preference) {
    let name = format!("{preference:?}");
    let (disk, back_end) = open_disk("bench", preference).unwrap();
    println!("{name:<10} back end {back_end:?}");
    let net = Arc::new(TokioNet::new());
    let env = Env { clock: Arc::new(OsClock::new()), entropy: Arc::new(OsEntropy::new()), disk, net };
    let store = Store::open(&env, &StoreConfig::new(dir, 16 << 30), Arc::new(NoImages)).await.unwrap();
    stream(&store, &name, 1).await;
    stream(&store, &name, 8).await;
    sequential_read(&store, &name).await;
    random_reads(&store, &name, 1).await;
    random_reads(&store, &name, 16).await;
    durable_writes(&store, &name, 1).await;
    durable_writes(&store, &name, 64).await;
    store.close().await.unwrap();
    drop(store);
    let began = Instant::now();
    let store = Store::open(&env, &StoreConfig::new(dir, 16 << 30), Arc::new(NoImages)).await.unwrap();
    report(&name, "opening again", began.elapsed().as_secs_f64() * 1e3, "ms");
    store.close().await.unwrap();
}

/// 1 MiB UNSTABLE writes, `depth` at a time, and a COMMIT for each 64 MiB.
async fn stream(store: &Store, name: &str, depth: u32) {
    let block = Bytes::from(vec![7; MIB as usize]);
    let began = Instant::now();
    let mut mib = 0;
    while mib < STREAM_MIB {
        let writes = (mib..mib + depth).map(|mib| {
            let (extent, offset) = extent_of(mib);
            store.write(extent, EPOCH, offset, vec![block.clone()], Stability::Unstable)
        });
        futures_util::future::try_join_all(writes).await.unwrap();
        mib += depth;
        if mib % 64 == 0 {
            store.commit(extent_of(mib - 1).0, EPOCH).await.unwrap();
        }
    }
    let what = format!("1 MiB writes, {depth} at a time, committed");
    report(name, &what, gib_s(STREAM_MIB, began.elapsed()), "GiB/s");
}

async fn sequential_read(store: &Store, name: &str) {
    let began = Instant::now();
    for mib in (0..STREAM_MIB).step_by(8) {
        let reads = (mib..mib + 8).map(|mib| {
            let (extent, offset) = extent_of(mib);
            store.read(extent, EPOCH, offset, MIB)
        });
        let all = futures_util::future::try_join_all(reads).await.unwrap();
        assert!(all.iter().all(|found| found.bytes == MIB && found.data.len() == 1));
    }
    report(name, "1 MiB reads, 8 at a time", gib_s(STREAM_MIB, began.elapsed()), "GiB/s");
}

async fn random_reads(store: &Store, name: &str, tasks: u64) {
    let began = Instant::now();
    let readers = (0..tasks).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut at, mut count) = (task + 1, 0u64);
            while began.elapsed() < RUN {
                at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let block = u32::try_from((at >> 33) % (u64::from(STREAM_MIB) * 256)).unwrap();
                let (extent, offset) = extent_of(block / 256);
                let found = store.read(extent, EPOCH, offset + block % 256 * 4096, 4096).await.unwrap();
                assert!(found.bytes == 4096);
                count += 1;
            }
            count
        })
    });
    let mut count = 0;
    for reader in readers.collect::<Vec<_>>() {
        count += reader.await.unwrap();
    }
    let what = format!("4 KiB random reads, {tasks} at a time");
    report(name, &what, count as f64 / began.elapsed().as_secs_f64(), "/s");
}

async fn durable_writes(store: &Store, name: &str, tasks: u64) {
    let block = Bytes::from(vec![9; 4096]);
    let (began, before) = (Instant::now(), store.usage().flushes);
    let writers = (0..tasks).map(|task| {
        let (store, block) = (store.clone(), block.clone());
        tokio::spawn(async move {
            let extent = ExtentId { ino: 100 + task, index: 0 };
            let mut count = 0u32;
            while began.elapsed() < RUN {
                let offset = count % 16384 * 4096;
                store.write(extent, EPOCH, offset, vec![block.clone()], Stability::Synced).await.unwrap();
                count += 1;
            }
            u64::from(count)
        })
    });
    let mut count = 0;
    for writer in writers.collect::<Vec<_>>() {
        count += writer.await.unwrap();
    }
    let flushes = store.usage().flushes - before;
    let spent = began.elapsed().as_secs_f64();
    report(name, &format!("4 KiB durable writes, {tasks} at a time"), count as f64 / spent, "/s");
    report(name, &format!("  flushes, {tasks} at a time"), flushes as f64 / spent, "/s");
}
