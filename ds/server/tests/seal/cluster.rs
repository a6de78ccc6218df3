//! Some data servers over disks in memory, and a metadata server that knows extents, sets, images
//! and groups, and answers as docs/protocol/seal.md §2 says. Groups are made, and servers lost,
//! when a test says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use client::control::greeting;
use ds_server::{DataServer, DsConfig, StartError};
use env::memory::net::MemoryNet;
use env::memory::{Crash, ManualClock, MemoryDisk};
use env_transport::{CallError, Limits, RpcClient, Server, serve};
use layout::ec::ImageId;
use layout::{DataServerId, DsHandle, Epoch, ExtentId, Holder, Iomode, Issued, NamedBackup, Role, handle};
use prometheus_client::registry::Registry;
use wire_nfs::control::copies::{CopySet, KeptBy};
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentName, KnownEpoch};
use wire_nfs::control::groups::GroupSlot;
use wire_nfs::control::images::Adopt;
use wire_nfs::control::{NodeKind, Nothing, PROGRAM, Procedure, Refusal, VERSION, decode_reply};
use wire_nfs::v3::{self, Fh3, StableHow, commit, read, write};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

use crate::bed::{self, any_address, cluster_key, connect, env_of, handle_key, settle, tick};

#[path = "groups.rs"]
mod groups;
#[path = "looks.rs"]
mod looks;
#[path = "metadata.rs"]
mod metadata;

use metadata::Metadata;
#[allow(unused_imports, reason = "not every test that shares this bed names them")]
pub(crate) use metadata::{Log, Record, Refusing, Thaws, id};

/// How long extents rest here before they are sealed.
pub(crate) const IDLE_MS: u32 = 2_000;

pub(crate) struct Node {
    pub(crate) disk: MemoryDisk,
    pub(crate) server: Option<DataServer>,
    client: RpcClient,
    control: RpcClient,
    registry: Registry,
}

pub(crate) struct Cluster {
    pub(crate) clock: ManualClock,
    net: MemoryNet,
    metadata: Server,
    pub(crate) log: Arc<Mutex<Log>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) seal_bytes_per_s: u64,
    capacity_bytes: u64,
    /// Of a server that is started; 0: as fast as it goes.
    pub(crate) repair_bytes_per_s: u64,
    /// A server that is started scrubs in so long, and so fast at most; 0: not at all.
    pub(crate) scrub_period_ms: u64,
    pub(crate) scrub_bytes_per_s: u64,
    starts: u64,
    groups: u64,
    ticker: tokio::task::JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

pub(crate) fn extent(index: u32) -> ExtentId {
    ExtentId { ino: 7, index }
}

impl Cluster {
    pub(crate) async fn new(count: u32) -> Self {
        Self::with_capacity(count, 256 << 20).await
    }

    pub(crate) async fn with_capacity(count: u32, capacity_bytes: u64) -> Self {
        let (clock, net) = (ManualClock::new(1_000_000), MemoryNet::new());
        let log = Arc::new(Mutex::new(Log::default()));
        log.lock().unwrap().roster.seal_idle_ms = IDLE_MS;
        let ticker = tick(&clock, 200);
        let env = env_of(&clock, &MemoryDisk::new(), &net, 99);
        let service = Arc::new(Metadata::new(Arc::clone(&log)));
        let (net_of, clock_of) = (env.net.clone(), env.clock.clone());
        let metadata = serve(net_of, clock_of, any_address(), service, Limits::default()).await.unwrap();
        let (nodes, seal_bytes_per_s) = (Vec::new(), 1 << 30);
        let mut cluster = Self {
            clock,
            net,
            metadata,
            log,
            nodes,
            seal_bytes_per_s,
            capacity_bytes,
            repair_bytes_per_s: 0,
            scrub_period_ms: 0,
            scrub_bytes_per_s: 1 << 30,
            starts: 0,
            groups: 0,
            ticker,
        };
        for number in 0..count as usize {
            let node = cluster.start(number, MemoryDisk::new()).await;
            cluster.nodes.push(node);
        }
        // All are in the directory of all.
        for number in 1..=count {
            cluster.restart(number).await;
        }
        cluster
    }

    async fn start(&mut self, number: usize, disk: MemoryDisk) -> Node {
        let node = self.try_start_on(number, disk).await.unwrap();
        settle(|| node.server.as_ref().is_some_and(DataServer::is_serving)).await;
        node
    }

    /// A server without a disk of before: it gets the next id.
    pub(crate) async fn join(&mut self) -> u32 {
        let node = self.start(self.nodes.len(), MemoryDisk::new()).await;
        self.nodes.push(node);
        u32::try_from(self.nodes.len()).unwrap()
    }

    pub(crate) async fn stop(&mut self, id: u32) {
        self.nodes[id as usize - 1].server.take().unwrap().stop().await.unwrap();
    }

    /// Starts one that was stopped, on whatever its disk has.
    pub(crate) async fn try_start(&mut self, id: u32) -> Result<(), StartError> {
        let number = id as usize - 1;
        let disk = self.nodes[number].disk.clone();
        self.nodes[number] = self.try_start_on(number, disk).await?;
        let server = self.nodes[number].server.as_ref();
        settle(|| server.is_some_and(DataServer::is_serving)).await;
        Ok(())
    }

    async fn try_start_on(&mut self, number: usize, disk: MemoryDisk) -> Result<Node, StartError> {
        self.starts += 1;
        let env = env_of(&self.clock, &disk, &self.net, self.starts);
        let port = u16::try_from(number).unwrap();
        let config = DsConfig {
            // A server that is started again is where it was.
            listen: SocketAddr::from(([127, 0, 0, 1], 4_001 + port)),
            control: SocketAddr::from(([127, 0, 0, 1], 5_001 + port)),
            seal_bytes_per_s: self.seal_bytes_per_s,
            capacity_bytes: self.capacity_bytes,
            repair_bytes_per_s: self.repair_bytes_per_s,
            scrub_period_ms: self.scrub_period_ms,
            scrub_bytes_per_s: self.scrub_bytes_per_s,
            ..bed::config(vec![self.metadata.local_addr()])
        };
        let mut registry = Registry::default();
        let server = DataServer::start(env.clone(), config, &mut registry).await?;
        let client = connect(&env, server.address());
        let control = connect(&env, server.control_address());
        let hello =
            greeting(cluster_key(), PROGRAM, (NodeKind::Metadata, NodeKind::Data), env.entropy.clone());
        Ok(Node { disk, server: Some(server), client, control: control.with_hello(hello), registry })
    }

    /// Stops it without a word, and starts it on what its disk still has.
    pub(crate) async fn crash(&mut self, id: u32, crash: Crash) {
        let number = id as usize - 1;
        let disk = self.nodes[number].disk.clone();
        drop(self.nodes[number].server.take());
        // Its tasks, and its ports, go when they are looked at next.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        disk.crash(crash);
        self.nodes[number] = self.start(number, disk).await;
    }

    pub(crate) async fn restart(&mut self, id: u32) {
        let number = id as usize - 1;
        let server = self.nodes[number].server.take().unwrap();
        server.stop().await.unwrap();
        let disk = self.nodes[number].disk.clone();
        self.nodes[number] = self.start(number, disk).await;
    }

    /// The server is gone; replicas of what it was primary of are primary now.
    pub(crate) fn lose(&mut self, id: u32) {
        let control = self.nodes[id as usize - 1].server.as_ref().map(DataServer::control_address);
        drop(self.nodes[id as usize - 1].server.take());
        control.into_iter().for_each(|address| self.net.cut(address));
        for record in self.log.lock().unwrap().extents.values_mut() {
            let backup = record.backups.iter().position(|one| one.server == id);
            if let Some(backup) = backup {
                record.backups.remove(backup);
                record.epoch += 1;
            }
            if record.home == id && !record.backups.is_empty() {
                record.home = record.backups.remove(0).server;
                record.epoch += 1;
            }
        }
    }

    /// A new extent on these servers.
    pub(crate) fn place(&self, extent: ExtentId, home: u32, backups: &[u32]) {
        let backup = |server: &u32| KeptBy { server: *server, since: 1, filling: false };
        let backups = backups.iter().map(backup).collect();
        let record = Record { home, backups, epoch: 1, images: BTreeMap::new(), thawed: 0, cut: 0 };
        self.log.lock().unwrap().extents.insert(extent, record);
    }

    /// Whom to ask for an extent, and with what.
    pub(crate) fn handle(&self, extent: ExtentId) -> (u32, Fh3) {
        let log = self.log.lock().unwrap();
        let record = &log.extents[&extent];
        let mut backups = [None; 2];
        for (place, one) in backups.iter_mut().zip(&record.backups) {
            *place = Some(NamedBackup { server: DataServerId(one.server), filling: one.filling });
        }
        let open = DsHandle {
            extent,
            epoch: Epoch(record.epoch),
            mode: Iomode::ReadWrite,
            holder: Holder::Client { tag: 1, export: 0, reads: true },
            issued: Issued::at_ms(0),
            size_hint_bytes: 0,
            role: Role::Home,
            home: DataServerId(record.home),
            backups,
        };
        let sealed = handle::seal(&handle_key(), &open);
        (record.home, Fh3::new(Bytes::copy_from_slice(&sealed.0)).unwrap())
    }

    async fn ask<O: Decode, F: Decode>(
        &self,
        home: u32,
        procedure: v3::Procedure,
        args: &impl Encode,
    ) -> Result<O, v3::Nfsstat3> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let (number, anonymous) = (procedure.as_u32(), Credential::None);
        let client = &self.nodes[home as usize - 1].client;
        let reply = client.call(v3::PROGRAM, v3::VERSION, number, &anonymous, w, 60_000).await;
        match v3::Res::<O, F>::decode(&mut reply.unwrap()).unwrap() {
            v3::Res::Ok(good) => Ok(good),
            v3::Res::Fail(status, _) => Err(status),
        }
    }

    pub(crate) async fn write(&self, extent: ExtentId, at: usize, data: &[u8]) {
        self.try_write(extent, at, data).await.unwrap();
    }

    pub(crate) async fn try_write(
        &self,
        extent: ExtentId,
        at: usize,
        data: &[u8],
    ) -> Result<(), v3::Nfsstat3> {
        for (number, piece) in data.chunks(1 << 20).enumerate() {
            let (home, file) = self.handle(extent);
            let offset = extent.first_byte() + (at + (number << 20)) as u64;
            let (stable, data) = (StableHow::FileSync, Bytes::copy_from_slice(piece));
            let args = write::Args { file, offset, stable, data };
            self.ask::<write::ResOk, v3::WccData>(home, v3::Procedure::Write, &args).await?;
        }
        Ok(())
    }

    /// A WRITE with a handle from before, which may be refused.
    pub(crate) async fn write_with(
        &self,
        (home, file): (u32, Fh3),
        extent: ExtentId,
        data: &[u8],
    ) -> Result<(), v3::Nfsstat3> {
        let (stable, data) = (StableHow::FileSync, Bytes::copy_from_slice(data));
        let args = write::Args { file, offset: extent.first_byte(), stable, data };
        self.ask::<write::ResOk, v3::WccData>(home, v3::Procedure::Write, &args).await.map(drop)
    }

    pub(crate) async fn commit(&self, extent: ExtentId) {
        let (home, file) = self.handle(extent);
        let args = commit::Args { file, offset: 0, count: 0 };
        self.ask::<commit::ResOk, v3::WccData>(home, v3::Procedure::Commit, &args).await.unwrap();
    }

    /// Bytes as a client reads them; behind the end they are zeros.
    pub(crate) async fn read(
        &self,
        extent: ExtentId,
        at: usize,
        length: usize,
    ) -> Result<Vec<u8>, v3::Nfsstat3> {
        let mut all = Vec::new();
        while all.len() < length {
            let (home, file) = self.handle(extent);
            let count = u32::try_from((length - all.len()).min(1 << 20)).unwrap();
            let args = read::Args { file, offset: extent.first_byte() + (at + all.len()) as u64, count };
            let read = self.ask::<read::ResOk, Option<v3::Fattr3>>(home, v3::Procedure::Read, &args).await?;
            all.extend_from_slice(&read.data);
            if read.eof {
                all.resize(length, 0);
            }
        }
        Ok(all)
    }

    /// What a client shows a data server that is not the extent's primary.
    pub(crate) fn reader_handle(&self, extent: ExtentId, reader: u32) -> (u32, Fh3) {
        let epoch = Epoch(self.log.lock().unwrap().extents[&extent].epoch);
        let open = DsHandle {
            extent,
            epoch,
            mode: Iomode::Read,
            holder: Holder::Client { tag: 1, export: 0, reads: true },
            issued: Issued::at_ms(0),
            size_hint_bytes: 0,
            role: Role::Reader,
            home: DataServerId(reader),
            backups: [None; 2],
        };
        let sealed = handle::seal(&handle_key(), &open);
        (reader, Fh3::new(Bytes::copy_from_slice(&sealed.0)).unwrap())
    }

    /// One READ with a handle; the bytes, and whether the file ends there.
    pub(crate) async fn read_with(
        &self,
        (server, file): (u32, Fh3),
        offset: u64,
        count: u32,
    ) -> Result<(Vec<u8>, bool), v3::Nfsstat3> {
        let args = read::Args { file, offset, count };
        let read = self.ask::<read::ResOk, Option<v3::Fattr3>>(server, v3::Procedure::Read, &args).await?;
        Ok((read.data.to_vec(), read.eof))
    }

    /// A COMMIT with a handle.
    pub(crate) async fn commit_with(&self, (server, file): (u32, Fh3)) -> Result<(), v3::Nfsstat3> {
        let args = commit::Args { file, offset: 0, count: 0 };
        self.ask::<commit::ResOk, v3::WccData>(server, v3::Procedure::Commit, &args).await.map(drop)
    }

    /// A call to a data server, as a metadata server makes it.
    pub(crate) async fn control<R: Decode>(
        &self,
        server: u32,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<R, Refusal> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let client = &self.nodes[server as usize - 1].control;
        let (number, anonymous) = (procedure.number(), Credential::None);
        let reply: Result<_, CallError> = client.call(PROGRAM, VERSION, number, &anonymous, w, 120_000).await;
        decode_reply::<R>(reply.unwrap().rest()).unwrap()
    }

    pub(crate) async fn cut(&self, extent: ExtentId, keep_bytes: u32) {
        let set = {
            let mut log = self.log.lock().unwrap();
            let record = log.extents.get_mut(&extent).unwrap();
            record.epoch += 1;
            record.cut = record.epoch;
            log.set(extent)
        };
        let cut = Cut { extent: set.extent, epoch: set.epoch, keep_bytes, copies: Some(set.clone()) };
        self.control::<KnownEpoch>(set.home, Procedure::Cut, &cut).await.unwrap();
    }

    /// The entry of the log that makes another server the primary of an extent at rest, and what it
    /// is told.
    pub(crate) fn adoption(&self, extent: ExtentId, server: u32, keep_bytes: u32) -> Adopt {
        let mut log = self.log.lock().unwrap();
        let (sequence, image) = log.at_rest(extent).expect("it is at rest");
        let record = log.extents.get_mut(&extent).unwrap();
        record.epoch += 1;
        (record.home, record.backups) = (server, Vec::new());
        let (epoch, image) = (record.epoch, image.encode());
        let extent = ExtentName { ino: extent.ino, index: extent.index };
        Adopt { extent, epoch, sequence, keep_bytes, image }
    }

    pub(crate) async fn adopt(&self, server: u32, adopt: &Adopt) -> Result<u64, Refusal> {
        self.control::<KnownEpoch>(server, Procedure::Adopt, adopt).await.map(|known| known.epoch)
    }

    /// A FENCE at an epoch that is known: nothing is refused that was not before.
    pub(crate) async fn fence(&self, server: u32, extent: ExtentId, epoch: u64) {
        let extent = ExtentName { ino: extent.ino, index: extent.index };
        self.control::<KnownEpoch>(server, Procedure::Fence, &AtEpoch { extent, epoch }).await.unwrap();
    }

    /// Lets everybody have their turns, for less than a call may take.
    pub(crate) async fn turns(&self) {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until there is something in the log.
    pub(crate) async fn until<T>(&self, what: &str, look: impl Fn(&Log) -> Option<T>) -> T {
        for _ in 0..30_000 {
            if let Some(found) = look(&self.log.lock().unwrap()) {
                return found;
            }
            // Looking may cost more than a turn of everybody.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        panic!("it never came to that: {what}");
    }

    /// Waits until something is so.
    pub(crate) async fn until_so(&self, what: &str, look: impl Fn() -> bool) {
        self.until(what, |_| look().then_some(())).await;
    }

    /// Waits until this extent has an image that waits for a group.
    pub(crate) async fn sealed(&self, extent: ExtentId) -> ImageId {
        self.until("sealed", |log| {
            let mut of_it = log.waiting.iter().filter(|(_, (_, shown))| id(shown.extent) == extent);
            of_it.next_back().map(|(image, _)| *image)
        })
        .await
    }

    /// Has an extent sealed, if that comes to something before long.
    pub(crate) async fn seal(&self, extent: ExtentId) {
        self.settle_sets().await;
        let is_ready = |log: &Log| {
            let epoch = log.extents[&extent].epoch;
            log.waiting.values().any(|(_, shown)| id(shown.extent) == extent && shown.epoch == epoch)
        };
        self.soon(is_ready).await;
    }

    /// Makes groups of what waits, and waits until the extent's newest image is used, unless that
    /// takes long.
    pub(crate) async fn put_into_use(&mut self, extent: ExtentId) {
        self.group_what_waits().await;
        let newest = self.log.lock().unwrap().extents[&extent].images.last_key_value().map(|(_, one)| *one);
        if let Some(newest) = newest {
            self.soon(|log| log.used.contains(&newest)).await;
        }
    }

    /// Lets half a minute pass, quickly, or less if something is so before.
    async fn soon(&self, is_so: impl Fn(&Log) -> bool) {
        for _ in 0..300 {
            if is_so(&self.log.lock().unwrap()) {
                return;
            }
            self.clock.advance_ms(100);
            for _ in 0..300 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until every replica is filled.
    pub(crate) async fn settle_sets(&self) {
        let sets: Vec<CopySet> = {
            let log = self.log.lock().unwrap();
            log.extents.keys().map(|extent| log.set(*extent)).collect()
        };
        for set in sets {
            self.control::<Nothing>(set.home, Procedure::Keep, &set).await.unwrap();
        }
        let is_filling = |record: &Record| record.backups.iter().any(|one| one.filling);
        self.until("filled", |log| (!log.extents.values().any(is_filling)).then_some(())).await;
    }

    /// Waits until the replicas of one extent are filled.
    pub(crate) async fn settle_sets_of(&self, extent: ExtentId) {
        let is_filling = |record: &Record| record.backups.iter().any(|one| one.filling);
        self.until("filled", |log| (!is_filling(&log.extents[&extent])).then_some(())).await;
    }

    /// The primary loses power; its replica is primary, and it is filled again as the replica when
    /// it is back.
    pub(crate) async fn fail_over(&mut self, extent: ExtentId) {
        let old = {
            let mut log = self.log.lock().unwrap();
            let record = log.extents.get_mut(&extent).unwrap();
            let Some(backup) = record.backups.pop().filter(|one| !one.filling) else { return };
            let old = record.home;
            record.epoch += 1;
            record.home = backup.server;
            record.backups = vec![KeptBy { server: old, since: record.epoch, filling: true }];
            old
        };
        self.crash(old, Crash::Drop).await;
        let set = self.log.lock().unwrap().set(extent);
        self.control::<Nothing>(set.home, Procedure::Keep, &set).await.unwrap();
    }

    /// Waits until the primary and all replicas use the image.
    pub(crate) async fn used(&self, image: ImageId) {
        self.until("used", |log| log.used.contains(&image).then_some(())).await;
    }

    /// Has an image of a group made again, and says in the log that it is there.
    pub(crate) async fn rebuild(&self, group: u64, slot: usize, server: u32) -> Result<(), Refusal> {
        let record = self.log.lock().unwrap().groups[&group].encode();
        let ask = GroupSlot { record: record.into(), slot: u32::try_from(slot).unwrap() };
        self.control::<Nothing>(server, Procedure::Rebuild, &ask).await?;
        let mut log = self.log.lock().unwrap();
        log.groups.get_mut(&group).unwrap().rehome(slot, DataServerId(server)).unwrap();
        Ok(())
    }
}
