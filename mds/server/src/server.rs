//! The metadata server as operations see it: the shard, sessions, exports, data servers and what drives them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use client::DataPath;
use env::Env;
use layout::ec::Profile;
use layout::{DataServerId, EXTENT_BYTES, ExtentId, HandleKey};
use mds_namespace::{Caller, Content, ExtentRecord, Ino, Inode, Kind, WorkItem, op};
use mds_shard::command::data::{Measured, Written};
use mds_shard::{Command, Outcome, StateView};
use parking_lot::Mutex;
use wire_nfs::control::Refusal;
use wire_nfs::v4::attr::{Fsid, numbers};
use wire_nfs::v4::{Bitmap, Filehandle, Nfsstat4, Verifier};

use crate::addresses::drive::Service;
use crate::attr::{self, FileSystemFacts};
use crate::balance::Balancing;
use crate::cluster_exports::ClusterExports;
use crate::copies::Copies;
use crate::courtesy::Courtesy;
use crate::data_servers::DataServers;
use crate::front::Front;
use crate::handle::{ExportId, FileHandle, HandleMaker};
use crate::limits::{BALANCE_CALM_MS, COMMITTED_END_MS_MAX, COURTESY_MS, SIZE_QUERIES_MAX, USED_EXTENTS_MAX};
use crate::metrics::Metrics;
use crate::pin::Pins;
use crate::read_room::ReadRoom;
use crate::recall::Recalls;
use crate::report::mount_addresses;
use crate::seal::Sealing;
use crate::shards::Shards;
use crate::slow::{self, Wait};
use crate::status;
use crate::work::{self, Work};

/// Times and sizes of a metadata server.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Client lease.
    pub lease_ms: u64,
    /// Data servers' lease.
    pub data_server_lease_ms: u64,
    /// Files up to this size stay inline.
    pub inline_bytes: u64,
    /// How long a client may take to return a recalled layout.
    pub recall_ms: u64,
    /// Layouts one client may hold before it is asked to give back those for reading that it does not use.
    pub layouts_kept: u32,
    /// How long I/O in band waits for a data server that is away, before it answers IO.
    pub data_server_wait_ms: u64,
    /// Copies of extents, the home's included, where there are enough data servers.
    pub hot_copies: u32,
    /// Extents that rest are sealed and put into groups.
    pub seal: bool,
    /// How long an extent rests before it is sealed.
    pub seal_idle_ms: u64,
    /// The code of new groups; `None` for the widest that there are data servers for.
    pub erasure_code: Option<Profile>,
    /// How long an image waits for others before it makes a short group.
    pub group_wait_ms: u64,
    /// How long a data server may be dead before its images are made again elsewhere.
    pub repair_grace_ms: u64,
    /// Data move by themselves until each data server has its share.
    pub rebalance: bool,
    /// How long nothing begins to move for that after data servers came or went.
    pub rebalance_calm_ms: u64,
    /// How long the state of a client whose lease ran out is kept, if nobody wants it; 0: not at all.
    pub courtesy_ms: u64,
    /// Shards of the cluster, fixed when it is made; 0: as many as it was made with, and one if it is new.
    pub shards: u32,
    /// After this time without anything to do a shard hibernates; 0: never.
    pub hibernate_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ms: 60_000,
            data_server_lease_ms: 3_000,
            inline_bytes: mds_namespace::INLINE_BYTES_MAX,
            recall_ms: 30_000,
            layouts_kept: 16_384,
            data_server_wait_ms: 20_000,
            hot_copies: 2,
            seal: false,
            seal_idle_ms: 30_000,
            erasure_code: None,
            group_wait_ms: 30_000,
            repair_grace_ms: 60_000,
            rebalance: true,
            rebalance_calm_ms: BALANCE_CALM_MS,
            courtesy_ms: COURTESY_MS,
            shards: 0,
            hibernate_ms: mds_shard::limits::HIBERNATE_MS_DEFAULT,
        }
    }
}

/// The metadata server.
pub(crate) struct Server {
    /// Clock, entropy, network.
    pub(crate) env: Env,
    /// Replicated state.
    pub(crate) shards: Shards,
    /// What may be mounted.
    pub(crate) exports: ClusterExports,
    /// Times and sizes.
    pub(crate) config: Settings,
    /// Makes and checks filehandles.
    pub(crate) handles: HandleMaker,
    /// Key of data-server handles.
    pub(crate) handle_key: HandleKey,
    /// Identity of the file system.
    pub(crate) file_system: [u8; 16],
    /// Sessions and leases.
    pub(crate) front: Front,
    /// Data servers.
    pub(crate) data_servers: DataServers,
    /// Reads and writes on data servers.
    pub(crate) data_path: DataPath,
    /// Clients whose lease ran out and whose state is kept.
    pub(crate) courtesy: Courtesy,
    /// Recalls under way.
    pub(crate) recalls: Recalls,
    /// Modification times set by hand.
    pub(crate) pins: Pins,
    /// Room for what READs answer.
    pub(crate) read_room: ReadRoom,
    /// Work for data servers.
    pub(crate) work: Work,
    /// Who keeps extents, and what is to be done about it.
    pub(crate) copies: Copies,
    /// Images that wait for groups, and what is under way with them.
    pub(crate) sealing: Sealing,
    /// What moves so that data servers hold their shares.
    pub(crate) balancing: Balancing,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Verifier of WRITE and COMMIT in band: one value for ever, since nothing is ever unstable here.
    pub(crate) write_verifier: Verifier,
    /// Files whose content is being moved.
    pub(crate) movers: Movers,
    /// Service addresses, if there are any.
    pub(crate) service: Option<Service>,
    /// Control addresses of replicas, as far as they are known.
    pub(crate) controls: BTreeMap<u64, String>,
    /// Where clients mount, once that is known.
    pub(crate) mounts: OnceLock<Vec<SocketAddr>>,
}

impl Server {
    /// Milliseconds by the monotonic clock.
    #[must_use]
    pub(crate) fn now_ms(&self) -> u64 {
        self.env.clock.monotonic_ms()
    }

    /// NFS listens here now.
    pub(crate) fn set_mounts(&self, listens: SocketAddr) {
        let places = self.service.as_ref().map(Service::places).unwrap_or_default();
        let service: Vec<IpAddr> = places.iter().map(|(address, _)| address.ip).collect();
        let control = self.controls.get(&self.shards.status().id).and_then(|address| address.parse().ok());
        let mut mounts = mount_addresses(&service, listens, control);
        if mounts.is_empty() {
            mounts.push(listens);
        }
        // It listens once.
        let _ = self.mounts.set(mounts);
    }

    /// Where clients mount, the best address first.
    pub(crate) fn mounts(&self) -> Vec<SocketAddr> {
        let unknown = || vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)];
        self.mounts.get().cloned().unwrap_or_else(unknown)
    }

    /// A consistent snapshot of the store.
    ///
    /// # Errors
    /// DELAY if this node cannot read now.
    pub(crate) fn view(&self) -> Result<StateView, Nfsstat4> {
        self.shards.view().map_err(|e| status::of_propose(&e))
    }

    /// Refuses what only the leader may do. Members know each other by the addresses of their log; nobody else is to be sent there.
    ///
    /// Spec: docs/protocol/admin.md §1.
    pub(crate) fn not_leader(&self, leader: Option<(u64, String)>) -> Refusal {
        let control = leader.and_then(|(id, _)| self.controls.get(&id).cloned());
        Refusal::NotLeader { leader: control.unwrap_or_default() }
    }

    /// Puts a command of the server's own through the log.
    ///
    /// # Errors
    /// The status of a refusal, or DELAY.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, Nfsstat4> {
        let proposed = self.shards.propose(None, command);
        match slow::waited(self, Wait::new("a majority of the metadata replicas"), proposed).await {
            Ok(Outcome::Refused(refusal)) => Err(status::of_refusal(&refusal)),
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(status::of_propose(&error)),
        }
    }

    /// The wire form of a handle.
    #[must_use]
    pub(crate) fn wire_handle(&self, handle: FileHandle) -> Filehandle {
        Filehandle::new(Bytes::copy_from_slice(&self.handles.seal(handle)))
            .expect("24 bytes are below the limit")
    }

    /// Facts of the file system, as an export shows them; those that must be gathered, only if they are requested.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn facts(
        &self,
        handle: FileHandle,
        view: &StateView,
        requested: &Bitmap,
    ) -> Result<FileSystemFacts, Nfsstat4> {
        let (mut space_total_bytes, mut space_free_bytes, mut files_used) = (0, 0, 0);
        if !requested.intersect(&attr::OF_ALL_SERVERS).is_empty() {
            // Of what the servers hold, clients can use one copy's share.
            let (total, free) = self.data_servers.space(self.now_ms());
            let servers = u64::try_from(self.data_servers.all().len()).unwrap_or(u64::MAX);
            let copies = u64::from(self.config.hot_copies).min(servers).max(1);
            (space_total_bytes, space_free_bytes) = (total / copies, free / copies);
        }
        // A look into every shard: for `df`, not for each `stat`.
        if requested.contains(numbers::FILES_TOTAL) {
            files_used = self.shards.inodes(view).map_err(|e| status::of_propose(&e))?;
        }
        let half = |at: usize| u64::from_be_bytes(*self.file_system[at..].first_chunk().expect("16 bytes"));
        Ok(FileSystemFacts {
            fsid: Fsid { major: half(0), minor: half(8) },
            lease_seconds: u32::try_from(self.config.lease_ms / 1000).unwrap_or(u32::MAX),
            inline_bytes: self.config.inline_bytes,
            pnfs: handle.export == ExportId::PSEUDO
                || self.exports().option(handle.export).is_some_and(|export| export.pnfs),
            space_total_bytes,
            space_free_bytes,
            files_used,
        })
    }

    /// Bytes a file uses: all of it, or for a file with holes at most its extents that are there.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn used_bytes(&self, view: &StateView, inode: &Inode) -> Result<u64, Nfsstat4> {
        if inode.content != Content::Extents || inode.size_bytes <= EXTENT_BYTES {
            return Ok(inode.size_bytes);
        }
        let extents = op::extent::extents(view.namespace(), inode.ino, 0, USED_EXTENTS_MAX)
            .map_err(|e| status::of_namespace(&e))?;
        if extents.len() == USED_EXTENTS_MAX {
            return Ok(inode.size_bytes);
        }
        Ok(inode.size_bytes.min(extents.len() as u64 * EXTENT_BYTES))
    }

    /// What I/O answers when a data server is away: wait, and after a while an error.
    #[must_use]
    pub(crate) fn away(&self, id: DataServerId) -> Nfsstat4 {
        let last_ms = self
            .data_servers
            .one(id)
            .and_then(|known| known.renewed_ms)
            .unwrap_or_else(|| self.data_servers.since_ms());
        let away_ms = self.now_ms().saturating_sub(last_ms);
        if away_ms < self.config.data_server_lease_ms + self.config.data_server_wait_ms {
            Nfsstat4::Delay
        } else {
            Nfsstat4::Io
        }
    }

    /// Asks the data servers how long a file is, if other clients may be writing it through layouts.
    ///
    /// # Errors
    /// The shard's. A data server that does not answer is passed over: the size known so far is answered.
    pub(crate) async fn refresh_size(&self, inode: Inode, asker: u64) -> Result<Inode, Nfsstat4> {
        if inode.kind != Kind::Regular || inode.content != Content::Extents {
            return Ok(inode);
        }
        let written_by_others = {
            let layouts = self.view()?.layouts_of(inode.ino).map_err(|e| status::of_refusal(&e))?;
            layouts.iter().any(|(client, layout)| *client != asker && layout.read_write)
        };
        if written_by_others { self.size_from_homes(inode).await } else { Ok(inode) }
    }

    /// Asks the data servers how long a file is, as far as one answer may take, and writes it down if it grew.
    ///
    /// # Errors
    /// The shard's.
    async fn size_from_homes(&self, inode: Inode) -> Result<Inode, Nfsstat4> {
        let records = self.extents_from(inode.ino, last_index(&inode))?;
        let settled = records.iter().filter(|record| record.pending_work.is_none());
        let measured = self.measure(settled).await.last;
        let Some(measured) = measured.filter(|it| inode.size_bytes < it.end_bytes) else {
            return Ok(inode);
        };
        match self.propose(Command::Measured(measured)).await {
            Ok(Outcome::Inode(inode)) => Ok(*inode),
            Ok(_) => Err(Nfsstat4::Serverfault),
            // It was cut meanwhile, or that cannot be told, which the view says.
            Err(Nfsstat4::Delay) => self.view()?.inode(inode.ino).map_err(|e| status::of_refusal(&e)),
            Err(status) => Err(status),
        }
    }

    /// Asks the data servers how long a file is, to its last extent, and writes it down if it grew. What somebody writes meanwhile may count.
    ///
    /// # Errors
    /// DELAY while data servers have still to do something to one of the extents and are not there, or if it was cut meanwhile. The shard's.
    pub(crate) async fn whole_size_from_homes(&self, inode: Inode) -> Result<(), Nfsstat4> {
        match self.measure_settled(&inode).await?.last.filter(|last| inode.size_bytes < last.end_bytes) {
            Some(last) => self.propose(Command::Measured(last)).await.map(drop),
            None => Ok(()),
        }
    }

    /// What homes have of a file from its end on, once they did what they have to do to it.
    async fn measure_settled(&self, inode: &Inode) -> Result<Whole, Nfsstat4> {
        self.settle_cuts(inode.ino, inode.size_bytes).await?;
        let (mut next, mut whole) = (last_index(inode), Whole::default());
        loop {
            let records = self.extents_from(inode.ino, next)?;
            if records.iter().any(|record| record.pending_work.is_some()) {
                return Err(Nfsstat4::Delay);
            }
            let page = self.measure(records.iter()).await;
            // Whatever a later extent has is behind what an earlier one has.
            whole = Whole { last: page.last.or(whole.last), silent: whole.silent + page.silent };
            match records.last().and_then(|record| record.extent.index.checked_add(1)) {
                Some(index) if records.len() == SIZE_QUERIES_MAX => next = index,
                Some(_) | None => return Ok(whole),
            }
        }
    }

    /// A client whose layout is being recalled says that it wrote up to `end_bytes`. If the file was cut since, what its homes have says how far
    /// that counts. If they do not say so soon, the client's word counts: what was committed is not lost because a data server is away.
    ///
    /// # Errors
    /// The shard's.
    pub(crate) async fn committed_end(
        &self,
        inode: Inode,
        end_bytes: u64,
        caller: Caller,
    ) -> Result<Inode, Nfsstat4> {
        let ino = inode.ino;
        let late = self.env.clock.sleep_ms(COMMITTED_END_MS_MAX);
        let measured = tokio::select! {
            biased;
            measured = self.measure_settled(&inode) => measured,
            () = late => Err(Nfsstat4::Delay),
        };
        let command = match measured {
            Ok(Whole { last, silent: 0 }) => match last.filter(|last| inode.size_bytes < last.end_bytes) {
                Some(last) => Command::Measured(last),
                None => return Ok(inode),
            },
            Ok(_) | Err(_) => Command::Written(Written { ino, end_bytes, caller: Some(caller) }),
        };
        match self.propose(command).await? {
            Outcome::Inode(inode) => Ok(*inode),
            _ => Err(Nfsstat4::Serverfault),
        }
    }

    /// Some extents of a file, from one on.
    fn extents_from(&self, ino: Ino, first: u32) -> Result<Vec<ExtentRecord>, Nfsstat4> {
        op::extent::extents(self.view()?.namespace(), ino, first, SIZE_QUERIES_MAX)
            .map_err(|e| status::of_namespace(&e))
    }

    /// Asks the homes of these extents, which ascend, where what they have ends.
    async fn measure(&self, records: impl Iterator<Item = &ExtentRecord>) -> Whole {
        let mut whole = Whole::default();
        for record in records {
            let Some(known) = self.data_servers.one(record.home) else {
                whole.silent += 1;
                continue;
            };
            match known.control.size(&[record.extent]).await {
                Ok(sizes) => {
                    if let Some(size) = sizes.first().filter(|size| 0 < size.end_bytes) {
                        let (extent, epoch) = (record.extent, record.epoch);
                        let end_bytes = extent.first_byte() + u64::from(size.end_bytes);
                        whole.last = Some(Measured { extent, epoch, end_bytes });
                    }
                }
                Err(error) => {
                    whole.silent += 1;
                    tracing::warn!(server = record.home.0, %error, "data server did not tell a size")
                }
            }
        }
        whole
    }

    /// Carries a truncation to the data servers before it is answered: a client may write on through the layouts it has,
    /// and what it writes then must not be cut.
    ///
    /// A data server whose lease has run out is passed over: it is cut when it registers, before it serves again.
    ///
    /// # Errors
    /// DELAY if a data server that serves clients could not be told; the client asks again.
    pub(crate) async fn settle_cuts(&self, ino: Ino, size_bytes: u64) -> Result<(), Nfsstat4> {
        // Once more where a home gave way first: the cut is the next one's work.
        for _ in 0..2 {
            let items = self.cuts(ino, size_bytes)?;
            let more = items.iter().any(|(_, item)| matches!(item, WorkItem::Yield { .. }));
            if !items.is_empty() {
                work::settle(self, items).await?;
            }
            if !more {
                return Ok(());
            }
        }
        Err(Nfsstat4::Delay)
    }

    /// What homes must do before a truncation is answered.
    fn cuts(&self, ino: Ino, size_bytes: u64) -> Result<Vec<(u64, WorkItem)>, Nfsstat4> {
        let first = ExtentId::of(ino, size_bytes).map_or(u32::MAX, |extent| extent.index);
        let mut items = Vec::new();
        let view = self.view()?;
        let records = op::extent::extents(view.namespace(), ino, first, usize::MAX)
            .map_err(|e| status::of_namespace(&e))?;
        for number in records.iter().filter_map(|record| record.pending_work) {
            let item = op::extent::item(view.namespace(), number).map_err(|e| status::of_namespace(&e))?;
            items.extend(item.map(|item| (number, item)));
        }
        Ok(items)
    }
}

/// What homes of extents say.
#[derive(Default)]
struct Whole {
    /// Of the last extent that has anything.
    last: Option<Measured>,
    /// How many did not answer.
    silent: usize,
}

/// Of the extent that a file ends in.
fn last_index(inode: &Inode) -> u32 {
    ExtentId::of(inode.ino, inode.size_bytes).map_or(0, |extent| extent.index)
}

/// One async lock for each file whose content is being moved.
#[derive(Default)]
pub(crate) struct Movers {
    locks: Mutex<HashMap<Ino, Arc<tokio::sync::Mutex<()>>>>,
}

impl Movers {
    /// Waits until nobody else moves this file's content.
    pub(crate) async fn lock(&self, ino: Ino) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock();
            locks.retain(|_, lock| 1 < Arc::strong_count(lock));
            Arc::clone(locks.entry(ino).or_default())
        };
        lock.lock_owned().await
    }
}
