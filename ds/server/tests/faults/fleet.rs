//! Data servers over disks in memory that can be killed at any moment, and what a client and a
//! metadata server call them with.
//!
//! A call to a server that is not there, or dies meanwhile, is an error, never a panic: who calls
//! tries again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use client::control::greeting;
use ds_server::{DataServer, DsConfig, StartError};
use env::memory::net::MemoryNet;
use env::memory::{Crash, ManualClock, MemoryDisk};
use env::{Clock, Env};
use env_transport::{Limits, RpcClient, Server, serve};
use layout::ec::Profile;
use layout::{DataServerId, DsHandle, Epoch, ExtentId, Holder, Iomode, Issued, NamedBackup, Role, handle};
use prometheus_client::registry::Registry;
use wire_nfs::control::copies::KeptBy;
use wire_nfs::control::{NodeKind, PROGRAM, Procedure, Refusal, VERSION, decode_reply};
use wire_nfs::v3::{self, Fh3, Nfsstat3, StableHow, commit, read, write};
use wire_rpc::Credential;
use wire_xdr::{Decode, Encode, Writer};

use crate::bed::life::Life;
use crate::bed::{self, any_address, cluster_key, connect, env_of, handle_key, tick};
use crate::chance::Chance;
use crate::metadata::{Log, Metadata, Record};

/// How long extents rest here before they are sealed.
const IDLE_MS: u32 = 1_000;
/// Turns of everybody in 10 ms.
const TURNS: u32 = 30;
/// How long anything may take to come right, on the clock of the fleet.
pub(crate) const PATIENCE_MS: u64 = 300_000;

/// What goes on, and may be interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doing {
    Write,
    Commit,
    Cut,
    Remove,
    Seal,
    Encode,
    Use,
    Fill,
    Rebuild,
    Adopt,
    Drop,
    Read,
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// There is no server, or none answered.
    Gone,
    Status(Nfsstat3),
    Refused(Refusal),
}

pub(crate) struct Running {
    pub(crate) server: DataServer,
    life: Life,
    client: RpcClient,
    control: RpcClient,
    _registry: Registry,
}

struct Place {
    disk: MemoryDisk,
    running: Option<Arc<Running>>,
    /// How often it was killed.
    kills: u64,
    /// Its disk is gone: it never comes back.
    is_lost: bool,
}

/// A disk that takes its time: what it does overlaps with what others do.
fn empty_disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.set_turns(2, 6);
    disk
}

/// What a fleet is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) servers: u32,
    pub(crate) profile: Profile,
    pub(crate) capacity_bytes: u64,
    pub(crate) seal_bytes_per_s: u64,
    /// 0: no scrub.
    pub(crate) scrub_period_ms: u64,
}

pub(crate) struct Fleet {
    pub(crate) shape: Shape,
    pub(crate) clock: ManualClock,
    pub(crate) log: Arc<Mutex<Log>>,
    pub(crate) chance: Mutex<Chance>,
    pub(crate) groups: AtomicU64,
    net: MemoryNet,
    env: Env,
    metadata: Server,
    places: Mutex<Vec<Place>>,
    doing: Mutex<BTreeMap<Doing, u32>>,
    starts: AtomicU64,
    inos: AtomicU64,
    ticker: tokio::task::JoinHandle<()>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

/// Something goes on as long as this is there.
pub(crate) struct Busy<'a>(&'a Fleet, Doing);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.doing.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

impl Fleet {
    /// Servers whose disks are empty; none runs yet.
    pub(crate) async fn new(shape: Shape, seed: u64) -> Arc<Self> {
        let (clock, net) = (ManualClock::new(1_000_000), MemoryNet::new());
        let log = Arc::new(Mutex::new(Log::default()));
        log.lock().unwrap().roster.seal_idle_ms = IDLE_MS;
        log.lock().unwrap().roster.lease_ms = Some(3_000);
        let ticker = tick(&clock, TURNS);
        let env = env_of(&clock, &MemoryDisk::new(), &net, seed ^ 99);
        let service = Arc::new(Metadata::new(Arc::clone(&log)));
        let served = serve(env.net.clone(), env.clock.clone(), any_address(), service, Limits::default());
        let metadata = served.await.unwrap();
        let empty = || Place { disk: empty_disk(), running: None, kills: 0, is_lost: false };
        let places = Mutex::new((0..shape.servers).map(|_| empty()).collect());
        let (chance, starts) = (Mutex::new(Chance::new(seed)), AtomicU64::new(seed << 20));
        let (doing, groups, inos) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self {
            shape,
            clock,
            log,
            chance,
            groups,
            net,
            env,
            metadata,
            places,
            doing,
            starts,
            inos,
            ticker,
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    pub(crate) async fn sleep_ms(&self, ms: u64) {
        self.clock.sleep_ms(ms).await;
    }

    pub(crate) fn below(&self, end: u64) -> u64 {
        self.chance.lock().unwrap().below(end)
    }

    pub(crate) fn busy(&self, doing: Doing) -> Busy<'_> {
        *self.doing.lock().unwrap().entry(doing).or_default() += 1;
        Busy(self, doing)
    }

    pub(crate) fn disk(&self, id: u32) -> MemoryDisk {
        self.places.lock().unwrap()[id as usize - 1].disk.clone()
    }

    pub(crate) fn set_disk(&self, id: u32, disk: MemoryDisk) {
        self.places.lock().unwrap()[id as usize - 1].disk = disk;
    }

    /// All that ever were, by their ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        (1..=u32::try_from(self.places.lock().unwrap().len()).unwrap()).collect()
    }

    pub(crate) fn running(&self, id: u32) -> Option<Arc<Running>> {
        self.places.lock().unwrap().get(id as usize - 1)?.running.clone()
    }

    fn kills(&self, id: u32) -> u64 {
        self.places.lock().unwrap()[id as usize - 1].kills
    }

    pub(crate) fn is_lost(&self, id: u32) -> bool {
        self.places.lock().unwrap()[id as usize - 1].is_lost
    }

    /// Those that run and have a lease, by the log.
    pub(crate) fn up(&self) -> Vec<u32> {
        let held = self.log.lock().unwrap().roster.held.clone();
        self.ids().into_iter().filter(|id| !held.contains(id) && self.is_serving(*id)).collect()
    }

    pub(crate) fn is_serving(&self, id: u32) -> bool {
        self.running(id).is_some_and(|running| running.server.is_serving())
    }

    /// Ends a server's life, and leaves of its disk what `crash` does.
    pub(crate) fn kill(&self, id: u32, crash: Crash) {
        let (disk, running) = {
            let mut places = self.places.lock().unwrap();
            let place = &mut places[id as usize - 1];
            place.kills += 1;
            (place.disk.clone(), place.running.take())
        };
        if let Some(running) = running {
            running.life.end();
            let addresses = [running.server.address(), running.server.control_address()];
            // The last one that has it drops it, and its ports with it.
            drop(running);
            addresses.into_iter().for_each(|address| self.net.cut(address));
        }
        disk.crash(crash);
    }

    /// A server whose disk is gone; another one, with an empty disk, takes its place under another
    /// id.
    pub(crate) fn lose(&self, id: u32) -> u32 {
        let mut places = self.places.lock().unwrap();
        let place = &mut places[id as usize - 1];
        assert!(place.running.is_none());
        (place.disk, place.is_lost) = (empty_disk(), true);
        places.push(Place { disk: empty_disk(), running: None, kills: 0, is_lost: false });
        u32::try_from(places.len()).unwrap()
    }

    /// Starts a server on what its disk has. If the power of its disk goes meanwhile, that leaves
    /// what `crash` says, and it is started again.
    pub(crate) async fn boot(&self, id: u32, crash: Crash) {
        {
            // A server that missed something has to do it before it gets a lease.
            let mut log = self.log.lock().unwrap();
            if log.owed.get(&id).is_some_and(|owed| !owed.is_empty()) {
                log.roster.held.insert(id);
            }
        }
        let kills = self.kills(id);
        for _ in 0..20 {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            // The killer that has killed it meanwhile has plans for it, and another may have
            // started it.
            if self.kills(id) != kills || self.running(id).is_some() {
                return;
            }
            let disk = self.disk(id);
            let start = self.attempt(id, &disk);
            tokio::pin!(start);
            let off = async {
                while !disk.is_off() {
                    tokio::task::yield_now().await;
                }
            };
            let started = tokio::select! {
                biased;
                started = &mut start => Some(started),
                () = off => None,
            };
            match started {
                Some(Ok(running)) if self.kills(id) != kills => return running.life.end(),
                Some(Ok(running)) => {
                    self.places.lock().unwrap()[id as usize - 1].running = Some(Arc::new(running));
                    return;
                }
                Some(Err(error)) => {
                    let text = error.to_string();
                    let is_expected = text.contains("injected") || text.contains("cannot listen");
                    assert!(is_expected, "server {id} does not start: {text}");
                    disk.crash(crash);
                }
                None => disk.crash(crash),
            }
        }
        panic!("server {id} does not start");
    }

    /// Starts a server once; says why it does not start.
    pub(crate) async fn try_boot(&self, id: u32) -> Result<(), String> {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let started = self.attempt(id, &self.disk(id)).await;
        let running = started.map_err(|error| error.to_string())?;
        self.places.lock().unwrap()[id as usize - 1].running = Some(Arc::new(running));
        Ok(())
    }

    async fn attempt(&self, id: u32, disk: &MemoryDisk) -> Result<Running, StartError> {
        let seed = self.starts.fetch_add(1, Ordering::Relaxed);
        let life = Life::default();
        let env = life.of(env_of(&self.clock, &disk.mount(), &self.net, seed));
        let port = u16::try_from(id).unwrap();
        let config = DsConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 4_001 + port)),
            control: SocketAddr::from(([127, 0, 0, 1], 5_001 + port)),
            capacity_bytes: self.shape.capacity_bytes,
            seal_bytes_per_s: self.shape.seal_bytes_per_s,
            scrub_period_ms: self.shape.scrub_period_ms,
            scrub_bytes_per_s: 1 << 30,
            hang_ms: ds_server::limits::HANG_MS,
            ..bed::config(vec![self.metadata.local_addr()])
        };
        let mut registry = Registry::default();
        let server = DataServer::start(env, config, &mut registry).await?;
        // Its number is its place here: the roster gives them as they come.
        self.log.lock().unwrap().roster.ids.insert(server.uuid(), id);
        let client = connect(&self.env, server.address());
        let control = connect(&self.env, server.control_address());
        let hello =
            greeting(cluster_key(), PROGRAM, (NodeKind::Metadata, NodeKind::Data), self.env.entropy.clone());
        Ok(Running { server, life, client, control: control.with_hello(hello), _registry: registry })
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let late_ms = self.now_ms() + PATIENCE_MS;
        while !is_so() {
            assert!(self.now_ms() < late_ms, "it never came to that: {what}\n{}", self.story());
            self.sleep_ms(20).await;
        }
    }

    /// The log, for the developer who looks for what went wrong.
    pub(crate) fn story(&self) -> String {
        let log = self.log.lock().unwrap();
        let mut text = String::new();
        for (extent, record) in &log.extents {
            text += &format!("{extent}: {record:?}, pending {:?}\n", log.pending.get(extent));
        }
        for (number, group) in &log.groups {
            text += &format!("group {number}: {:?} {:?}\n", group.homes(), group.shape().members());
        }
        let running: Vec<u32> = self.ids().into_iter().filter(|id| self.running(*id).is_some()).collect();
        text + &format!(
            "running {running:?}, held {:?}, owed {:?}, used {:?}, making {:?}, waiting {:?}\n",
            log.roster.held,
            log.owed,
            log.used,
            log.making,
            log.waiting.keys()
        )
    }

    /// A new extent on these servers.
    pub(crate) fn place(&self, home: u32, backups: &[u32]) -> ExtentId {
        let extent = ExtentId { ino: 100 + self.inos.fetch_add(1, Ordering::Relaxed), index: 1 };
        let backup = |server: &u32| KeptBy { server: *server, since: 1, filling: false };
        let backups = backups.iter().map(backup).collect();
        let record = Record { home, backups, epoch: 1, images: BTreeMap::new(), thawed: 0, cut: 0 };
        self.log.lock().unwrap().extents.insert(extent, record);
        extent
    }

    /// Whom to ask for an extent, and with what; nothing while its primary has something to do
    /// first.
    fn handle(&self, extent: ExtentId) -> Option<(RpcClient, Fh3)> {
        let log = self.log.lock().unwrap();
        let record = log.extents.get(&extent).filter(|_| !log.pending.contains_key(&extent))?;
        let mut backups = [None; 2];
        for (place, one) in backups.iter_mut().zip(&record.backups) {
            *place = Some(NamedBackup { server: DataServerId(one.server), filling: one.filling });
        }
        let (epoch, home) = (Epoch(record.epoch), DataServerId(record.home));
        let open = DsHandle {
            extent,
            epoch,
            mode: Iomode::ReadWrite,
            role: Role::Home,
            holder: Holder::Client { tag: 1, export: 0, reads: true },
            issued: Issued::at_ms(0),
            size_hint_bytes: 0,
            home,
            backups,
        };
        drop(log);
        let sealed = handle::seal(&handle_key(), &open);
        Some((self.running(home.0)?.client.clone(), Fh3::new(Bytes::copy_from_slice(&sealed.0)).unwrap()))
    }

    async fn ask<O: Decode, F: Decode>(
        &self,
        client: &RpcClient,
        procedure: v3::Procedure,
        args: &impl Encode,
    ) -> Result<O, Trouble> {
        let mut w = Writer::new();
        args.encode(&mut w);
        let (number, anonymous) = (procedure.as_u32(), Credential::None);
        let reply = client.call(v3::PROGRAM, v3::VERSION, number, &anonymous, w, 20_000).await;
        match v3::Res::<O, F>::decode(&mut reply.map_err(|_| Trouble::Gone)?).unwrap() {
            v3::Res::Ok(good) => Ok(good),
            v3::Res::Fail(status, _) => Err(Trouble::Status(status)),
        }
    }

    /// One WRITE; answers the verifier.
    pub(crate) async fn write(
        &self,
        extent: ExtentId,
        at: usize,
        data: &[u8],
        stable: StableHow,
    ) -> Result<[u8; 8], Trouble> {
        let (client, file) = self.handle(extent).ok_or(Trouble::Gone)?;
        let offset = extent.first_byte() + at as u64;
        let args = write::Args { file, offset, stable, data: Bytes::copy_from_slice(data) };
        let _busy = self.busy(Doing::Write);
        let done: write::ResOk = self.ask::<_, v3::WccData>(&client, v3::Procedure::Write, &args).await?;
        assert_eq!(done.count as usize, data.len());
        Ok(done.verf)
    }

    pub(crate) async fn commit(&self, extent: ExtentId) -> Result<[u8; 8], Trouble> {
        let (client, file) = self.handle(extent).ok_or(Trouble::Gone)?;
        let args = commit::Args { file, offset: 0, count: 0 };
        let _busy = self.busy(Doing::Commit);
        let done: commit::ResOk = self.ask::<_, v3::WccData>(&client, v3::Procedure::Commit, &args).await?;
        Ok(done.verf)
    }

    /// Bytes as a client reads them; behind the end they are zeros.
    pub(crate) async fn read(&self, extent: ExtentId, at: usize, length: usize) -> Result<Vec<u8>, Trouble> {
        let mut all = Vec::with_capacity(length);
        let _busy = self.busy(Doing::Read);
        while all.len() < length {
            let (client, file) = self.handle(extent).ok_or(Trouble::Gone)?;
            let count = u32::try_from((length - all.len()).min(1 << 20)).unwrap();
            let args = read::Args { file, offset: extent.first_byte() + (at + all.len()) as u64, count };
            let read: read::ResOk =
                self.ask::<_, Option<v3::Fattr3>>(&client, v3::Procedure::Read, &args).await?;
            all.extend_from_slice(&read.data);
            if read.eof {
                all.resize(length, 0);
            }
        }
        Ok(all)
    }

    /// A call to a data server, as a metadata server makes it.
    pub(crate) async fn control<R: Decode>(
        &self,
        server: u32,
        procedure: Procedure,
        args: &impl Encode,
        ms_max: u64,
    ) -> Result<R, Trouble> {
        let running = self.running(server).ok_or(Trouble::Gone)?;
        let mut w = Writer::new();
        args.encode(&mut w);
        let (number, anonymous) = (procedure.number(), Credential::None);
        let control = running.control.clone();
        drop(running);
        let reply = control.call(PROGRAM, VERSION, number, &anonymous, w, ms_max).await;
        let mut reply = reply.map_err(|_| Trouble::Gone)?;
        decode_reply::<R>(reply.rest()).unwrap().map_err(Trouble::Refused)
    }

    /// What goes on now.
    pub(crate) async fn under_way(&self) -> Vec<Doing> {
        let counts = self.doing.lock().unwrap().clone();
        let mut found: Vec<Doing> =
            counts.into_iter().filter(|(_, count)| 0 < *count).map(|(doing, _)| doing).collect();
        for id in self.ids() {
            let names = env::Disk::list(&self.disk(id), "/ds/images".as_ref()).await.unwrap_or_default();
            if names.iter().any(|name| name.ends_with(".new")) && !found.contains(&Doing::Encode) {
                found.push(Doing::Seal);
                break;
            }
        }
        let log = self.log.lock().unwrap();
        if log.extents.values().any(|record| record.backups.iter().any(|one| one.filling)) {
            found.push(Doing::Fill);
        }
        let mut newest = log.extents.values().filter_map(|record| record.images.last_key_value());
        if newest.any(|(_, image)| !log.used.contains(image)) {
            found.push(Doing::Use);
        }
        found
    }
}
