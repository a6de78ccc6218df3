//! A data server over a network, a disk and a clock in memory, and a metadata server that only
//! gives leases.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

pub(crate) mod life;
pub(crate) mod metadata;
pub(crate) mod roster;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use client::Route;
use client::control::DsControl;
use ds_server::{DataServer, DsConfig};
use env::Env;
use env::memory::net::MemoryNet;
use env::memory::{ManualClock, MemoryDisk, SeededEntropy};
use env_transport::{CallError, Limits, RpcClient};
use layout::{DataServerId, DsHandle, Epoch, ExtentId, HandleKey, Holder, Iomode, Issued, Role, handle};
use prometheus_client::registry::Registry;
use wire_nfs::control::ClusterKey;
use wire_nfs::v3::{self, Fh3, Nfsstat3, Procedure, StableHow, commit, read, write};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Reader, Writer};

#[allow(unused_imports, reason = "each test binary uses its own part")]
pub(crate) use metadata::{Behaviour, LEASE_MS, Metadata};

pub(crate) const CALL_MS: u64 = 60_000;
pub(crate) const EXTENT: ExtentId = ExtentId { ino: 7, index: 2 };
pub(crate) const START: u64 = 2 * layout::EXTENT_BYTES;

pub(crate) fn cluster_key() -> ClusterKey {
    ClusterKey::new([5; 32])
}

pub(crate) fn handle_key() -> HandleKey {
    HandleKey::new(metadata::HANDLE_KEY)
}

/// What a node stands on.
pub(crate) fn env_of(clock: &ManualClock, disk: &MemoryDisk, net: &MemoryNet, seed: u64) -> Env {
    Env {
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SeededEntropy::new(seed)),
        disk: Arc::new(disk.clone()),
        net: Arc::new(net.clone()),
    }
}

/// Lets time pass while everybody waits: 10 ms for every so many turns.
pub(crate) fn tick(clock: &ManualClock, turns: u32) -> tokio::task::JoinHandle<()> {
    let ticking = clock.clone();
    tokio::spawn(async move {
        loop {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            ticking.advance_ms(10);
        }
    })
}

pub(crate) struct Bed {
    pub(crate) clock: ManualClock,
    pub(crate) disk: MemoryDisk,
    pub(crate) net: MemoryNet,
    pub(crate) env: Env,
    pub(crate) metadata: Metadata,
    pub(crate) server: DataServer,
    pub(crate) registry: Registry,
    pub(crate) client: RpcClient,
}

pub(crate) fn any_address() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn config(metadata_servers: Vec<SocketAddr>) -> DsConfig {
    DsConfig {
        dir: "/ds".into(),
        listen: any_address(),
        control: any_address(),
        advertise: None,
        metadata_servers,
        cluster_keys: cluster_key().into(),
        capacity_bytes: 256 << 20,
        seal_bytes_per_s: ds_server::limits::SEAL_BYTES_PER_S,
        repair_bytes_per_s: 0,
        scrub_period_ms: 0,
        scrub_bytes_per_s: ds_server::limits::SCRUB_BYTES_PER_S,
        hang_ms: ds_server::limits::HANG_MS,
        accept_damage: false,
        domain: ds_server::Domain::default(),
        name: String::new(),
    }
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let (clock, disk, net) = (ManualClock::new(1_000_000), MemoryDisk::new(), MemoryNet::new());
        Self::on(clock, disk, net, 1).await
    }

    pub(crate) async fn on(clock: ManualClock, disk: MemoryDisk, net: MemoryNet, seed: u64) -> Self {
        let env = env_of(&clock, &disk, &net, seed);
        let metadata = Metadata::start(&env, cluster_key()).await;
        let mut registry = Registry::default();
        let config = config(vec![metadata.address()]);
        let server = DataServer::start(env.clone(), config, &mut registry).await.unwrap();
        settle(|| server.is_serving()).await;
        let client = connect(&env, server.address());
        Self { clock, disk, net, env, metadata, server, registry, client }
    }

    /// Cuts the power, and starts again.
    pub(crate) async fn crashed(self, crash: env::memory::Crash) -> Self {
        let Self { clock, disk, net, server, metadata, client, .. } = self;
        drop((server, metadata, client));
        disk.crash(crash);
        Self::on(clock, disk, net, 2).await
    }

    pub(crate) fn control(&self) -> DsControl {
        DsControl::new(&self.env, self.server.control_address(), cluster_key(), self.server.uuid(), "")
    }

    pub(crate) async fn raw(&self, procedure: Procedure, args: &impl Encode) -> Result<Reader, CallError> {
        call(&self.client, v3::PROGRAM, v3::VERSION, procedure.as_u32(), args).await
    }

    pub(crate) async fn read(&self, file: Fh3, offset: u64, count: u32) -> Result<read::ResOk, Nfsstat3> {
        let args = read::Args { file, offset, count };
        result::<read::ResOk, Option<v3::Fattr3>>(self.raw(Procedure::Read, &args).await)
    }

    pub(crate) async fn write(
        &self,
        file: Fh3,
        offset: u64,
        data: &[u8],
        stable: StableHow,
    ) -> Result<write::ResOk, Nfsstat3> {
        let args = write::Args { file, offset, stable, data: Bytes::copy_from_slice(data) };
        result::<write::ResOk, v3::WccData>(self.raw(Procedure::Write, &args).await)
    }

    pub(crate) async fn commit(&self, file: Fh3) -> Result<commit::ResOk, Nfsstat3> {
        let args = commit::Args { file, offset: 0, count: 0 };
        result::<commit::ResOk, v3::WccData>(self.raw(Procedure::Commit, &args).await)
    }

    pub(crate) fn metrics(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page
    }
}

pub(crate) fn connect(env: &Env, address: SocketAddr) -> RpcClient {
    RpcClient::new(env.net.clone(), env.clock.clone(), address, Limits::default())
}

pub(crate) async fn call(
    client: &RpcClient,
    program: u32,
    version: u32,
    procedure: u32,
    args: &impl Encode,
) -> Result<Reader, CallError> {
    let mut w = Writer::new();
    args.encode(&mut w);
    client.call(program, version, procedure, &Credential::None, w, CALL_MS).await
}

fn result<O: Decode, F: Decode>(reply: Result<Reader, CallError>) -> Result<O, Nfsstat3> {
    let mut reader = reply.expect("a reply");
    let result = v3::Res::<O, F>::decode(&mut reader).expect("a result of this shape");
    reader.finish().expect("nothing behind the result");
    match result {
        v3::Res::Ok(good) => Ok(good),
        v3::Res::Fail(status, _) => Err(status),
    }
}

/// A handle as a metadata server would seal it.
pub(crate) fn handle_of(extent: ExtentId, epoch: u64, mode: Iomode, size_hint_bytes: u64) -> Fh3 {
    let (home, backups) = (DataServerId(metadata::SERVER), [None; 2]);
    let epoch = Epoch(epoch);
    let role = Role::Home;
    let open = DsHandle {
        extent,
        epoch,
        mode,
        holder: Holder::Client { tag: 1, export: 0, reads: true },
        issued: Issued::at_ms(0),
        size_hint_bytes,
        role,
        home,
        backups,
    };
    Fh3::new(Bytes::copy_from_slice(&handle::seal(&handle_key(), &open).0)).unwrap()
}

pub(crate) fn rw(epoch: u64) -> Fh3 {
    handle_of(EXTENT, epoch, Iomode::ReadWrite, 0)
}

pub(crate) fn route(server: &DataServer, epoch: u64) -> Route {
    let open = DsHandle {
        extent: EXTENT,
        epoch: Epoch(epoch),
        mode: Iomode::ReadWrite,
        holder: Holder::Client { tag: 1, export: 0, reads: true },
        issued: Issued::at_ms(0),
        size_hint_bytes: 0,
        role: Role::Home,
        home: DataServerId(metadata::SERVER),
        backups: [None; 2],
    };
    Route::new(server.address(), handle::seal(&handle_key(), &open))
}

/// Lets all tasks run until `done`; the clock stands still meanwhile.
pub(crate) async fn settle(done: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to that");
}
