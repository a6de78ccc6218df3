//! A data server as its clients see it, over TCP on one machine: client and server share the cores.
//!
//! `cargo bench -p ds-server [-- DIR]`. Prints one line per measure.

#![allow(clippy::disallowed_methods, reason = "a bench measures wall-clock time")]
#![allow(clippy::unwrap_used, reason = "a failed bench has nothing better to do")]

#[path = "../tests/bed/metadata.rs"]
#[allow(dead_code, reason = "the bench only wants a lease")]
mod metadata;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{DataPath, Route};
use ds_server::{DataServer, DsConfig};
use env::Env;
use env::os::tokio_net::TokioNet;
use env::os::{OsClock, OsEntropy, Preference, open_disk};
use layout::{DsHandle, Epoch, ExtentId, HandleKey, Holder, Iomode, Issued, handle};
use prometheus_client::registry::Registry;
use wire_nfs::control::ClusterKey;
use wire_nfs::v3::StableHow;

const MIB: u64 = 1 << 20;
const STREAM_MIB: u64 = 1024;
const RUN: Duration = Duration::from_secs(3);

fn any_address() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn main() {
    let argument = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let dir = tempfile::tempdir_in(argument.unwrap_or_else(|| ".".into())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(dir.path()));
}

struct Bench {
    path: Arc<DataPath>,
    address: SocketAddr,
}

impl Bench {
    fn route(&self, ino: u64, mib: u64) -> Route {
        let extent = ExtentId { ino, index: u32::try_from(mib / 64).unwrap() };
        let open = DsHandle {
            extent,
            epoch: Epoch(1),
            mode: Iomode::ReadWrite,
            holder: Holder::Client { tag: 0, export: 0, reads: true },
            issued: Issued::at_ms(0),
            size_hint_bytes: 0,
            role: layout::Role::Home,
            home: layout::DataServerId(metadata::SERVER),
            backups: [None; 2],
        };
        Route::new(self.address, handle::seal(&HandleKey::new(metadata::HANDLE_KEY), &open))
    }
}

async fn run(dir: &std::path::Path) {
    let (disk, back_end) = open_disk("bench", Preference::Auto).unwrap();
    let net = Arc::new(TokioNet::new());
    let env = Env { clock: Arc::new(OsClock::new()), entropy: Arc::new(OsEntropy::new()), disk, net };
    let key = ClusterKey::new([1; 32]);
    let leases = metadata::Metadata::start(&env, key.clone()).await;
    let config = DsConfig {
        dir: dir.into(),
        listen: any_address(),
        control: any_address(),
        advertise: None,
        metadata_servers: vec![leases.address()],
        cluster_keys: key.into(),
        capacity_bytes: 16 << 30,
        seal_bytes_per_s: ds_server::limits::SEAL_BYTES_PER_S,
        repair_bytes_per_s: 0,
        scrub_period_ms: 0,
        scrub_bytes_per_s: ds_server::limits::SCRUB_BYTES_PER_S,
        hang_ms: ds_server::limits::HANG_MS,
        accept_damage: false,
        domain: ds_server::Domain::default(),
        name: String::new(),
    };
    let server = DataServer::start(env.clone(), config, &mut Registry::default()).await.unwrap();
    while !server.is_serving() {
        env.clock.sleep_ms(10).await;
    }
    println!("back end {back_end:?}");
    let bench = Bench { path: Arc::new(DataPath::new(&env)), address: server.address() };
    for depth in [1, 16] {
        stream_write(&bench, depth).await;
        stream_read(&bench, depth).await;
    }
    for depth in [1, 32] {
        small(&bench, depth, "4 KiB random reads", false).await;
        small(&bench, depth, "4 KiB FILE_SYNC writes", true).await;
    }
    server.stop().await.unwrap();
}

fn report(what: &str, depth: u64, value: f64, unit: &str) {
    println!("{what:<36} {depth:>3} at a time {value:>12.2} {unit}");
}

async fn stream_write(bench: &Bench, depth: u64) {
    let block = Bytes::from(vec![7; MIB as usize]);
    let began = Instant::now();
    for first in (0..STREAM_MIB).step_by(64) {
        let route = bench.route(1, first);
        let tasks: Vec<_> = (0..depth)
            .map(|task| {
                let (path, route, block) = (Arc::clone(&bench.path), route.clone(), block.clone());
                tokio::spawn(async move {
                    for mib in (first + task..first + 64).step_by(depth as usize) {
                        path.write(&route, mib * MIB, block.clone(), StableHow::Unstable).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        bench.path.commit(&route).await.unwrap();
    }
    report("1 MiB UNSTABLE writes + COMMIT", depth, 1.0 / began.elapsed().as_secs_f64(), "GiB/s");
}

async fn stream_read(bench: &Bench, depth: u64) {
    let began = Instant::now();
    let tasks: Vec<_> = (0..depth)
        .map(|task| {
            let path = Arc::clone(&bench.path);
            let routes: Vec<_> = (0..STREAM_MIB).step_by(64).map(|mib| bench.route(1, mib)).collect();
            tokio::spawn(async move {
                for mib in (task..STREAM_MIB).step_by(depth as usize) {
                    let (data, _) = path.read(&routes[mib as usize / 64], mib * MIB, MIB).await.unwrap();
                    assert!(data.iter().map(Bytes::len).sum::<usize>() == MIB as usize);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    report("1 MiB reads", depth, 1.0 / began.elapsed().as_secs_f64(), "GiB/s");
}

async fn small(bench: &Bench, depth: u64, what: &str, write: bool) {
    let block = Bytes::from(vec![9; 4096]);
    let began = Instant::now();
    let tasks: Vec<_> = (0..depth)
        .map(|task| {
            let (path, block) = (Arc::clone(&bench.path), block.clone());
            let reads: Vec<_> = (0..STREAM_MIB).step_by(64).map(|mib| bench.route(1, mib)).collect();
            let own = bench.route(100 + task, 0);
            tokio::spawn(async move {
                let (mut at, mut count) = (task + 1, 0u64);
                while began.elapsed() < RUN {
                    at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let offset = (at >> 33) % (STREAM_MIB * 256) * 4096;
                    if write {
                        let offset = count % 16384 * 4096;
                        path.write(&own, offset, block.clone(), StableHow::FileSync).await.unwrap();
                    } else {
                        path.read(&reads[(offset / MIB) as usize / 64], offset, 4096).await.unwrap();
                    }
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    report(what, depth, count as f64 / began.elapsed().as_secs_f64(), "/s");
}
