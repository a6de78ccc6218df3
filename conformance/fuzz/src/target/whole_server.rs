//! A whole metadata server with a data server behind it, and a client that sends both whatever it
//! likes.
//!
//! Everything between the record and the store takes part: sessions, every operation, replication,
//! layouts, content in band and straight to the data server under the handles that layouts bring.
//! Each call gets an answer that a client can read to its end; nothing panics; afterwards the
//! server still serves.
//!
//! Handles and stateids are sealed or counted, so a fuzzer cannot guess them: where the input has a
//! placeholder, one of those that the server gave is put in. The server lives on from input to
//! input, as starting it takes longer than a hundred runs, and is restarted now and then; each
//! input begins with a restarted client, whose older state is gone.
//!
//! Input: calls, each a word (how to send it, its number of operations or procedure, its length in
//! words) and what follows.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ds_server::{DataServer, DsConfig};
use env::Env;
use env::memory::net::MemoryNet;
use env::memory::{MemoryDisk, SeededEntropy};
use env::os::OsClock;
use env_transport::{Limits, RpcClient};
use mds_server::export::Export;
use mds_server::server::Settings;
use mds_server::{MdsConfig, MetadataServer};
use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Runtime};
use wire_nfs::control::ClusterKey;

use super::row::{MemoryBound, Shape, Target};
use super::whole_client::Client;
use super::whole_seeds::seeds;
use crate::allocation::uncounted;

pub(super) const TARGET: Target = Target {
    name: "whole_server",
    about: "arbitrary compounds to a running metadata server, and NFSv3 calls to its data server",
    run,
    seeds,
    shape: Shape::Words,
    bound: MemoryBound {
        // What the servers keep grows with all inputs that they served (the log's tail, the disks
        // in memory, the metadata engine's cache), and a buffer that doubles is a single
        // allocation. A length believed unchecked is above this still.
        single_bytes: 16 << 20,
        live_bytes: 128 << 20,
        ..MemoryBound::DECODER
    },
    input_bytes_max: 2048,
};

/// Inputs that one server serves.
const RUNS_PER_SERVER: usize = 500;
const ANSWER_MS_MAX: u64 = 8_000;

thread_local! {
    // Never dropped with its thread: a runtime cannot end there.
    static BED: RefCell<Option<ManuallyDrop<Bed>>> = const { RefCell::new(None) };
}

fn run(input: &[u8]) -> usize {
    let mut bed = match BED.take() {
        Some(bed) if bed.runs < RUNS_PER_SERVER => bed,
        worn => uncounted(|| {
            if let Some(bed) = worn {
                ManuallyDrop::into_inner(bed).stop();
            }
            ManuallyDrop::new(Bed::start())
        }),
    };
    bed.runs += 1;
    let valid = bed.runtime.block_on(async {
        let mut client = Client::new(
            bed.connect(bed.metadata.nfs_address()),
            bed.connect(bed.data.address()),
            ANSWER_MS_MAX,
        );
        client.begin(bed.runs as u64).await;
        client.send_all(input).await;
        client.check_alive().await
    });
    BED.set(Some(bed));
    valid
}

/// Servers on a network and disks in memory; only the metadata store is in a folder, as its engine
/// wants files.
struct Bed {
    runtime: Runtime,
    env: Env,
    metadata: MetadataServer,
    data: DataServer,
    runs: usize,
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

impl Bed {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
        let env = Env {
            clock: Arc::new(OsClock::new()),
            entropy: Arc::new(SeededEntropy::new(7)),
            disk: Arc::new(MemoryDisk::new()),
            net: Arc::new(MemoryNet::new()),
        };
        let folder = temporary_folder();
        let (metadata, data) = runtime.block_on(start_servers(&env, &folder));
        // The store's file is open and lives on without its name, until this process ends however
        // it ends.
        std::fs::remove_dir_all(&folder).expect("what was just made can be removed");
        Self { runtime, env, metadata, data, runs: 0 }
    }

    fn stop(self) {
        self.runtime.block_on(self.metadata.stop());
    }

    fn connect(&self, address: SocketAddr) -> RpcClient {
        let (net, clock) = (self.env.net.clone(), self.env.clock.clone());
        RpcClient::new(net, clock, address, Limits::default())
    }
}

fn temporary_folder() -> PathBuf {
    static SERIAL: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = parent.join(format!("shoal-fuzz-{}-{serial}", std::process::id()));
    std::fs::create_dir_all(folder.join("mds")).expect("a temporary folder can be made");
    folder
}

async fn start_servers(env: &Env, folder: &std::path::Path) -> (MetadataServer, DataServer) {
    let cluster_key = ClusterKey::new([3; 32]);
    let settings = Settings {
        // Small files reach the data server; no request waits long for a silent data server.
        inline_bytes: 64,
        recall_ms: 50,
        data_server_wait_ms: 50,
        ..Settings::default()
    };
    let config = MdsConfig {
        dir: folder.join("mds"),
        listen: address(1, 2049),
        control: address(1, 2050),
        exports: vec![Export::any_port()],
        settings,
        cluster_keys: cluster_key.clone().into(),
        node: 1,
        members: Vec::new(),
        join: Vec::new(),
        controls: Vec::new(),
        service: None,
    };
    let metadata = MetadataServer::start(env.clone(), config, &mut Registry::default()).await;
    let metadata = metadata.expect("the metadata server starts");
    let config = DsConfig {
        dir: "/data".into(),
        listen: address(2, 3049),
        control: address(2, 3050),
        advertise: None,
        metadata_servers: vec![metadata.control_address()],
        cluster_keys: cluster_key.into(),
        capacity_bytes: 1 << 30,
        seal_bytes_per_s: ds_server::limits::SEAL_BYTES_PER_S,
        repair_bytes_per_s: 0,
        scrub_period_ms: 0,
        scrub_bytes_per_s: ds_server::limits::SCRUB_BYTES_PER_S,
        accept_damage: false,
        hang_ms: 0,
        domain: ds_server::Domain::default(),
        name: String::new(),
    };
    let data = DataServer::start(env.clone(), config, &mut Registry::default()).await;
    let data = data.expect("the data server starts");
    while !data.is_serving() {
        env.clock.sleep_ms(1).await;
    }
    (metadata, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds go deep: nearly everything in them is done.
    #[test]
    fn seeds_are_carried_out() {
        let valid: Vec<usize> = seeds().iter().map(|seed| run(seed)).collect();
        // SEQUENCE and PUTROOTFH of each compound count, as does beginning a session.
        assert!(valid.iter().all(|valid| 5 <= *valid), "{valid:?}");
        assert!(180 < valid.iter().sum::<usize>(), "{valid:?}");
    }
}
