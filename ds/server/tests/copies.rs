//! A primary and its replicas over disks in memory that lose power at every point: what was
//! acknowledged as stable is there on the data server that is primary afterwards.
//!
//! The metadata server here keeps one set and decides by `layout::copies`, as the real one does;
//! leases are not its matter.
//! Spec: docs/protocol/replicate.md.

#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod bed;
#[path = "copies/metadata.rs"]
mod metadata;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bed::roster::Roster;
use bed::{EXTENT, START, any_address, cluster_key, connect, env_of, handle_key, settle, tick};
use bytes::Bytes;
use client::control::DsControl;
use ds_server::{DataServer, DsConfig};
use env::memory::net::MemoryNet;
use env::memory::{Crash, ManualClock, MemoryDisk};
use env_transport::{Limits, RpcClient, Server, serve};
use layout::{
    Backup, DataServerId, DsHandle, Epoch, ExtentId, Holder, Iomode, Issued, NamedBackup, Role, handle,
};
use metadata::{Log, Metadata};
use prometheus_client::registry::Registry;
use wire_nfs::v3::{self, Fh3, StableHow, commit, read, write};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

const BLOCK: usize = 4096;
const BLOCKS: usize = 12;

struct Node {
    disk: MemoryDisk,
    server: Option<DataServer>,
    client: RpcClient,
}

struct Cluster {
    clock: ManualClock,
    net: MemoryNet,
    metadata: Server,
    log: Arc<Mutex<Log>>,
    nodes: Vec<Node>,
    starts: u64,
    ticker: tokio::task::JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

impl Cluster {
    async fn new(count: u32) -> Self {
        let (clock, net) = (ManualClock::new(1_000_000), MemoryNet::new());
        let log = Arc::new(Mutex::new(Log {
            home: DataServerId(1),
            backups: vec![Backup { server: DataServerId(2), since: Epoch::FIRST, filling: false }],
            epoch: Epoch::FIRST,
            alive: (1..=count).collect(),
            roster: Roster::default(),
        }));
        let ticker = tick(&clock, 300);
        let env = env_of(&clock, &MemoryDisk::new(), &net, 99);
        let service = Arc::new(Metadata { log: Arc::clone(&log) });
        let (net_of, clock_of) = (env.net.clone(), env.clock.clone());
        let metadata = serve(net_of, clock_of, any_address(), service, Limits::default()).await.unwrap();
        let mut cluster = Self { clock, net, metadata, log, nodes: Vec::new(), starts: 0, ticker };
        for number in 0..count as usize {
            let node = cluster.start(number, MemoryDisk::new()).await;
            cluster.nodes.push(node);
        }
        // All are in the directory of all.
        for number in 0..cluster.nodes.len() {
            cluster.restart(number).await;
        }
        cluster
    }

    async fn start(&mut self, number: usize, disk: MemoryDisk) -> Node {
        self.starts += 1;
        let env = env_of(&self.clock, &disk, &self.net, self.starts);
        let port = u16::try_from(number).unwrap();
        let config = DsConfig {
            // A server that is started again is where it was.
            listen: SocketAddr::from(([127, 0, 0, 1], 4_001 + port)),
            control: SocketAddr::from(([127, 0, 0, 1], 5_001 + port)),
            ..bed::config(vec![self.metadata.local_addr()])
        };
        let server = DataServer::start(env.clone(), config, &mut Registry::default()).await.unwrap();
        settle(|| server.is_serving()).await;
        let client = connect(&env, server.address());
        Node { disk, server: Some(server), client }
    }

    /// Stops it without a word, and starts it on what its disk still has.
    async fn crash(&mut self, number: usize, crash: Crash) {
        let disk = self.nodes[number].disk.clone();
        drop(self.nodes[number].server.take());
        disk.crash(crash);
        self.nodes[number] = self.start(number, disk).await;
    }

    async fn restart(&mut self, number: usize) {
        let server = self.nodes[number].server.take().unwrap();
        server.stop().await.unwrap();
        let disk = self.nodes[number].disk.clone();
        self.nodes[number] = self.start(number, disk).await;
    }

    /// The server is gone for good, and its lease over.
    fn lose(&mut self, id: DataServerId) {
        let number = id.0 as usize - 1;
        let control = self.nodes[number].server.as_ref().map(DataServer::control_address);
        drop(self.nodes[number].server.take());
        control.into_iter().for_each(|address| self.net.cut(address));
        let mut log = self.log.lock().unwrap();
        log.alive.remove(&id.0);
        if log.home == id {
            log.replan(2, None);
            assert_ne!(log.home, id, "a backup takes its place");
        }
    }

    fn home(&self) -> DataServerId {
        self.log.lock().unwrap().home
    }

    fn handle(&self) -> Fh3 {
        let log = self.log.lock().unwrap();
        let mut backups = [None; 2];
        for (place, one) in backups.iter_mut().zip(&log.backups) {
            *place = Some(NamedBackup { server: one.server, filling: one.filling });
        }
        let open = DsHandle { home: log.home, backups, ..open_handle(log.epoch) };
        Fh3::new(Bytes::copy_from_slice(&handle::seal(&handle_key(), &open).0)).unwrap()
    }

    fn at_home(&self) -> &Node {
        &self.nodes[self.home().0 as usize - 1]
    }

    async fn ask<O: Decode, F: Decode>(&self, procedure: v3::Procedure, args: &impl Encode) -> Option<O> {
        ask_of::<O, F>(&self.at_home().client, procedure, args).await
    }

    async fn write(&self, block: usize, value: u8, stable: StableHow) -> Option<[u8; 8]> {
        let data = Bytes::from(vec![value; BLOCK]);
        let offset = START + (block * BLOCK) as u64;
        let args = write::Args { file: self.handle(), offset, stable, data };
        self.ask::<write::ResOk, v3::WccData>(v3::Procedure::Write, &args).await.map(|done| done.verf)
    }

    async fn commit(&self) -> Option<[u8; 8]> {
        let args = commit::Args { file: self.handle(), offset: 0, count: 0 };
        self.ask::<commit::ResOk, v3::WccData>(v3::Procedure::Commit, &args).await.map(|done| done.verf)
    }

    async fn read(&self) -> Vec<u8> {
        let count = u32::try_from(BLOCK * BLOCKS).unwrap();
        let args = read::Args { file: self.handle(), offset: START, count };
        let read = self.ask::<read::ResOk, Option<v3::Fattr3>>(v3::Procedure::Read, &args).await.unwrap();
        let mut bytes = read.data.to_vec();
        bytes.resize(BLOCK * BLOCKS, 0);
        bytes
    }
}

/// A handle of the extent that names server 1 alone.
fn open_handle(epoch: Epoch) -> DsHandle {
    DsHandle {
        extent: EXTENT,
        epoch,
        mode: Iomode::ReadWrite,
        holder: Holder::Client { tag: 1, export: 0, reads: true },
        issued: Issued::at_ms(0),
        size_hint_bytes: 0,
        role: Role::Home,
        home: DataServerId(1),
        backups: [None; 2],
    }
}

async fn ask_of<O: Decode, F: Decode>(
    client: &RpcClient,
    procedure: v3::Procedure,
    args: &impl Encode,
) -> Option<O> {
    let mut w = Writer::new();
    args.encode(&mut w);
    let (number, anonymous) = (procedure.as_u32(), Credential::None);
    let reply = client.call(v3::PROGRAM, v3::VERSION, number, &anonymous, w, 60_000).await;
    match v3::Res::<O, F>::decode(&mut reply.ok()?).unwrap() {
        v3::Res::Ok(good) => Some(good),
        v3::Res::Fail(..) => None,
    }
}

/// What a client knows of its bytes: a block has the value that was acknowledged last, or one that
/// was tried since.
struct Client {
    may_be: Vec<BTreeSet<u8>>,
    /// Written and not committed: verifier, block, value.
    unstable: Vec<([u8; 8], usize, u8)>,
    next: u8,
    turn: usize,
}

impl Client {
    fn new() -> Self {
        Self { may_be: vec![BTreeSet::from([0]); BLOCKS], unstable: Vec::new(), next: 1, turn: 0 }
    }

    /// One act of a fixed script. False if the server did not do it.
    async fn step(&mut self, cluster: &Cluster) -> bool {
        self.turn += 1;
        let (block, value) = (self.turn * 7 % BLOCKS, self.next);
        self.next = self.next % 250 + 1;
        if self.turn.is_multiple_of(4) {
            return self.commit(cluster).await;
        }
        self.may_be[block].insert(value);
        // What was written there before and not committed is overwritten, whatever becomes of this.
        self.unstable.retain(|(_, other, _)| *other != block);
        if self.turn % 4 == 3 {
            let done = cluster.write(block, value, StableHow::FileSync).await.is_some();
            if done {
                self.may_be[block] = BTreeSet::from([value]);
            }
            return done;
        }
        match cluster.write(block, value, StableHow::Unstable).await {
            Some(verifier) => {
                self.unstable.push((verifier, block, value));
                true
            }
            None => false,
        }
    }

    async fn commit(&mut self, cluster: &Cluster) -> bool {
        let Some(verifier) = cluster.commit().await else { return false };
        for (written, block, value) in std::mem::take(&mut self.unstable) {
            if written == verifier {
                self.may_be[block] = BTreeSet::from([value]);
            }
        }
        true
    }

    async fn check(&mut self, cluster: &Cluster, what: &str) {
        let bytes = cluster.read().await;
        for (block, may_be) in self.may_be.iter().enumerate() {
            let found = &bytes[block * BLOCK..(block + 1) * BLOCK];
            assert!(found.iter().all(|byte| *byte == found[0]), "{what}: block {block} is torn");
            assert!(may_be.contains(&found[0]), "{what}: block {block} is {}, may be {may_be:?}", found[0]);
        }
    }
}

const STEPS: usize = 40;

/// The primary's disk loses power after each of its writes and flushes; then its replica is
/// primary, and after that the third.
#[tokio::test]
async fn the_primary_dies_at_every_point() {
    for after in (0..60).step_by(3) {
        let mut cluster = Cluster::new(3).await;
        let mut client = Client::new();
        cluster.nodes[0].disk.cut_power_after(after);
        for _ in 0..STEPS {
            if !client.step(&cluster).await {
                break;
            }
        }
        cluster.lose(DataServerId(1));
        client.check(&cluster, &format!("after {after} acts, at the backup")).await;
        for _ in 0..STEPS {
            assert!(client.step(&cluster).await, "after {after} acts the backup serves");
        }
        assert!(client.commit(&cluster).await);
        let second = cluster.home();
        cluster.lose(second);
        client.check(&cluster, &format!("after {after} acts, at the third")).await;
    }
}

/// The replica's disk loses power after each of its writes and flushes; the primary goes on with
/// another one.
#[tokio::test]
async fn the_replica_dies_at_every_point() {
    for after in (0..60).step_by(3) {
        let mut cluster = Cluster::new(3).await;
        let mut client = Client::new();
        cluster.nodes[1].disk.cut_power_after(after);
        for _ in 0..STEPS {
            assert!(client.step(&cluster).await, "after {after} acts of the backup the home serves");
        }
        assert!(client.commit(&cluster).await);
        client.check(&cluster, "at the home").await;
        cluster.lose(DataServerId(1));
        client.check(&cluster, &format!("after {after} acts of the backup, at its successor")).await;
    }
}

/// The power of primary and replica is cut at the same time, again and again, with what was not
/// flushed lost or torn; both come back on what their disks kept. Then the primary is lost.
#[tokio::test]
async fn both_restart_and_the_primary_dies() {
    for seed in 0..12_u64 {
        let mut cluster = Cluster::new(3).await;
        let mut client = Client::new();
        for round in 0..4 {
            for _ in 0..5 + seed {
                assert!(client.step(&cluster).await, "seed {seed}, round {round}");
            }
            let crash = || if seed % 2 == 0 { Crash::Drop } else { Crash::Tear { seed: seed * 8 + round } };
            if (seed + round) % 3 != 0 {
                cluster.crash(0, crash()).await;
            }
            if (seed + round) % 3 != 1 {
                cluster.crash(1, crash()).await;
            }
            client.check(&cluster, &format!("seed {seed}, round {round}, at the home")).await;
        }
        for _ in 0..8 {
            assert!(client.step(&cluster).await, "seed {seed}");
        }
        assert!(client.commit(&cluster).await);
        cluster.lose(DataServerId(1));
        client.check(&cluster, &format!("seed {seed}, at the backup")).await;
    }
}

/// One that comes back after it was replaced is not believed, and is filled again when it joins
/// again.
#[tokio::test]
async fn a_replica_from_the_dead_is_filled_again() {
    let mut cluster = Cluster::new(2).await;
    let mut client = Client::new();
    for _ in 0..STEPS {
        assert!(client.step(&cluster).await);
    }
    assert!(client.commit(&cluster).await);
    let old = cluster.nodes[1].disk.after_crash(Crash::Keep);
    cluster.lose(DataServerId(2));
    // With no other server left the set shrinks, and writes go on.
    for _ in 0..STEPS {
        assert!(client.step(&cluster).await);
    }
    assert!(client.commit(&cluster).await);
    assert!(cluster.log.lock().unwrap().backups.is_empty(), "the set has shrunk");
    // It comes back with old bytes.
    cluster.nodes[1] = cluster.start(1, old).await;
    {
        let mut log = cluster.log.lock().unwrap();
        log.alive.insert(2);
        log.replan(2, None);
        assert!(log.backups[0].filling);
    }
    cluster.restart(0).await;
    let env = env_of(&cluster.clock, &MemoryDisk::new(), &cluster.net, 77);
    let server = cluster.nodes[0].server.as_ref().unwrap();
    let (control, uuid): (SocketAddr, _) = (server.control_address(), server.uuid());
    let set = cluster.log.lock().unwrap().set();
    DsControl::new(&env, control, cluster_key(), uuid, "").keep(&set).await.unwrap();
    settle_slowly(|| !cluster.log.lock().unwrap().backups[0].filling).await;
    cluster.lose(DataServerId(1));
    client.check(&cluster, "at the one that came back").await;
}

/// A CUT that was answered is done on the replica, too, and takes nothing that was written later.
#[tokio::test]
async fn a_cut_reaches_the_replica() {
    let mut cluster = Cluster::new(2).await;
    assert!(cluster.write(3, 9, StableHow::FileSync).await.is_some());
    let server = cluster.nodes[0].server.as_ref().unwrap();
    let (control, uuid) = (server.control_address(), server.uuid());
    let env = env_of(&cluster.clock, &MemoryDisk::new(), &cluster.net, 77);
    let control = DsControl::new(&env, control, cluster_key(), uuid, "");
    let set = {
        let mut log = cluster.log.lock().unwrap();
        log.epoch = log.epoch.next();
        log.set()
    };
    control.cut(EXTENT, Epoch(set.epoch), 0, Some(set)).await.unwrap();
    assert!(cluster.write(1, 5, StableHow::FileSync).await.is_some());
    cluster.lose(DataServerId(1));
    let bytes = cluster.read().await;
    assert!(bytes[3 * BLOCK..4 * BLOCK].iter().all(|byte| *byte == 0), "cut");
    assert!(bytes[BLOCK..2 * BLOCK].iter().all(|byte| *byte == 5), "written after the cut");
}

/// A client goes on after a restart of the primary with the handle it has, from before a CUT; which
/// copies are in force the primary asks, since that handle names one that was replaced meanwhile.
#[tokio::test]
async fn a_handle_from_before_a_cut_writes_to_the_copies_of_now() {
    let mut cluster = Cluster::new(3).await;
    assert!(cluster.write(3, 9, StableHow::FileSync).await.is_some());
    let file = cluster.handle();
    // The second server leaves without a word of it, and lives on; the third takes its place.
    let env = env_of(&cluster.clock, &MemoryDisk::new(), &cluster.net, 77);
    let server = cluster.nodes[0].server.as_ref().unwrap();
    let control = DsControl::new(&env, server.control_address(), cluster_key(), server.uuid(), "");
    let set = {
        let mut log = cluster.log.lock().unwrap();
        log.epoch = log.epoch.next();
        log.backups = vec![Backup { server: DataServerId(3), since: log.epoch, filling: true }];
        log.set()
    };
    control.keep(&set).await.unwrap();
    settle_slowly(|| !cluster.log.lock().unwrap().backups[0].filling).await;
    let set = {
        let mut log = cluster.log.lock().unwrap();
        log.epoch = log.epoch.next();
        log.set()
    };
    control.cut(EXTENT, Epoch(set.epoch), 0, Some(set)).await.unwrap();
    cluster.restart(0).await;
    let data = Bytes::from(vec![5; BLOCK]);
    let offset = START + BLOCK as u64;
    let args = write::Args { file, offset, stable: StableHow::FileSync, data };
    let done = cluster.ask::<write::ResOk, v3::WccData>(v3::Procedure::Write, &args).await;
    assert!(done.is_some(), "STALE would have Linux retry later what an O_DIRECT request does not wait for");
    cluster.lose(DataServerId(1));
    assert_eq!(cluster.home(), DataServerId(3));
    let bytes = cluster.read().await;
    assert!(bytes[3 * BLOCK..4 * BLOCK].iter().all(|byte| *byte == 0), "cut");
    assert!(bytes[BLOCK..2 * BLOCK].iter().all(|byte| *byte == 5), "written by the old handle");
}

/// The replica cuts while the primary's journal takes its CUT, not after it.
#[tokio::test]
async fn a_replica_cuts_beside_its_primary() {
    let cluster = Cluster::new(2).await;
    assert!(cluster.write(3, 9, StableHow::FileSync).await.is_some());
    let env = env_of(&cluster.clock, &MemoryDisk::new(), &cluster.net, 77);
    let [home, backup] = [0, 1].map(|number: usize| {
        let server = cluster.nodes[number].server.as_ref().unwrap();
        DsControl::new(&env, server.control_address(), cluster_key(), server.uuid(), "")
    });
    let set = {
        let mut log = cluster.log.lock().unwrap();
        log.epoch = log.epoch.next();
        log.set()
    };
    cluster.nodes[0].disk.set_turns(1, 20_000);
    let cut = home.cut(EXTENT, Epoch(set.epoch), 0, Some(set));
    let seen_apart = async {
        loop {
            let [here, there] = [home.size(&[EXTENT]).await, backup.size(&[EXTENT]).await];
            let ends = (here.unwrap()[0].end_bytes, there.unwrap()[0].end_bytes);
            match ends {
                (0, _) => return false,
                (_, 0) => return true,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let (done, seen_apart) = tokio::join!(cut, seen_apart);
    done.unwrap();
    assert!(seen_apart, "the backup had its CUT only when the home's was durable");
}

/// A primary that was replaced lost nothing but its lease, was told to forget the extent, and has a
/// lease again: a handle from before moves it to nothing, least of all to tell the next primary,
/// which no client has shown the new epoch, that it has nothing.
#[tokio::test]
async fn a_primary_of_before_leaves_the_next_one_alone() {
    let cluster = Cluster::new(2).await;
    assert!(cluster.write(3, 9, StableHow::FileSync).await.is_some());
    let file = cluster.handle();
    {
        let mut log = cluster.log.lock().unwrap();
        (log.home, log.backups, log.epoch) = (DataServerId(2), vec![], log.epoch.next());
    }
    let env = env_of(&cluster.clock, &MemoryDisk::new(), &cluster.net, 77);
    let server = cluster.nodes[0].server.as_ref().unwrap();
    let (control, uuid) = (server.control_address(), server.uuid());
    let control = DsControl::new(&env, control, cluster_key(), uuid, "");
    control.drop_extent(EXTENT, Epoch(2)).await.unwrap();
    for stable in [StableHow::Unstable, StableHow::FileSync] {
        let mut w = Writer::new();
        write::Args { file: file.clone(), offset: START, stable, data: Bytes::from(vec![5; BLOCK]) }
            .encode(&mut w);
        let (number, anonymous) = (v3::Procedure::Write.as_u32(), Credential::None);
        let client = &cluster.nodes[0].client;
        let mut reply = client.call(v3::PROGRAM, v3::VERSION, number, &anonymous, w, 60_000).await.unwrap();
        match v3::Res::<write::ResOk, v3::WccData>::decode(&mut reply).unwrap() {
            v3::Res::Fail(status, _) => assert_eq!(status, v3::Nfsstat3::Stale),
            v3::Res::Ok(done) => panic!("{done:?}"),
        }
    }
    cluster.clock.advance_ms(5_000);
    let bytes = cluster.read().await;
    assert!(bytes[3 * BLOCK..4 * BLOCK].iter().all(|byte| *byte == 9), "what was promised");
}

/// A writer is told that a replica has no room, and may never write again: what the primary has and
/// the replica has not is said to it once it has room, so that what was read before is read after
/// the primary's death.
#[tokio::test]
async fn a_replica_that_had_no_room_is_told_later() {
    let mut cluster = Cluster::new(2).await;
    assert!(cluster.write(3, 9, StableHow::FileSync).await.is_some());
    let filler = |turn: u64| ExtentId { ino: EXTENT.ino + 1 + turn / 48, index: 0 };
    let backup = &cluster.nodes[1];
    let (mut len, mut turn) = (1 << 20, 0);
    while BLOCK / 2 <= len {
        let home = DataServerId(2);
        let open = DsHandle { extent: filler(turn), home, ..open_handle(Epoch::FIRST) };
        let file = Fh3::new(Bytes::copy_from_slice(&handle::seal(&handle_key(), &open).0)).unwrap();
        let (offset, data) = ((turn % 48) << 20, Bytes::from(vec![1; len]));
        let args = write::Args { file, offset, stable: StableHow::Unstable, data };
        match ask_of::<write::ResOk, v3::WccData>(&backup.client, v3::Procedure::Write, &args).await {
            Some(_) => turn += 1,
            None => len /= 2,
        }
    }
    assert!(cluster.write(5, 7, StableHow::FileSync).await.is_none(), "no room");
    let env = env_of(&cluster.clock, &MemoryDisk::new(), &cluster.net, 77);
    let server = backup.server.as_ref().unwrap();
    let control = DsControl::new(&env, server.control_address(), cluster_key(), server.uuid(), "");
    for number in (0..=turn).step_by(48) {
        control.drop_extent(filler(number), Epoch(2)).await.unwrap();
    }
    let seen = cluster.read().await;
    assert_eq!(seen[5 * BLOCK], 7, "the home has it");
    settle_slowly(|| cluster.nodes[1].server.as_ref().unwrap().usage().live_bytes >= 2 * BLOCK as u64).await;
    cluster.lose(DataServerId(1));
    assert!(cluster.read().await == seen, "what was seen is what is there");
}

async fn settle_slowly(done: impl Fn() -> bool) {
    for _ in 0..2_000_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to that");
}
