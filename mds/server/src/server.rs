//! The metadata server as operations see it: the shard, sessions, exports, data servers and their
//! drivers.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use client::DataPath;
use env::{Clock, Env};
use layout::DataServerId;
use layout::ec::Profile;
use mds_namespace::Ino;
use mds_raft::ProposeError;
use mds_state::{Command, Outcome, StateView};
use parking_lot::Mutex;
use wire_nfs::control::Refusal;
use wire_nfs::v4::attr::{Fsid, numbers};
use wire_nfs::v4::{Bitmap, Filehandle, Nfsstat4, Verifier};

use crate::access_time::Accesses;
use crate::addresses::service::Service;
use crate::answer_room::AnswerRoom;
use crate::attr::{self, FileSystemFacts};
use crate::balance::Balancing;
use crate::cluster_exports::ClusterExports;
use crate::copies::Copies;
use crate::courtesy::Courtesy;
use crate::data_servers::DataServers;
use crate::export_fence::ExportFence;
use crate::front::Front;
use crate::handle::{ExportId, FileHandle, HandleMaker};
use crate::handle_keys::HandleKeyring;
use crate::limits::{BALANCE_CALM_MS, COURTESY_MS};
use crate::metrics::Metrics;
use crate::opening::Opening;
use crate::recall::Recalls;
use crate::report::mount_addresses;
use crate::revoked::Revoked;
use crate::room::Room;
use crate::seal::Sealing;
use crate::shards::Shards;
use crate::size::settle::Settling;
use crate::slow::{self, Wait};
use crate::status;
use crate::work::Work;

/// Times and sizes of a metadata server.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Client lease.
    pub lease_ms: u64,
    /// Data servers' lease.
    pub data_server_lease_ms: u64,
    /// Files up to this size stay inline.
    pub inline_bytes: u64,
    /// Reads move access times, by the rules of relatime.
    pub relatime: bool,
    /// How long a client may take to return a recalled layout.
    pub recall_ms: u64,
    /// Layouts one client may hold before a CB_RECALL_ANY asks it to return those for reading that
    /// it does not use.
    pub layouts_kept: u32,
    /// How long I/O in band waits for an unreachable data server before it answers IO.
    pub data_server_wait_ms: u64,
    /// Copies of extents, the home's included, where there are enough data servers.
    pub hot_copies: u32,
    /// Extents at rest are sealed and put into groups.
    pub seal: bool,
    /// How long an extent rests before it is sealed.
    pub seal_idle_ms: u64,
    /// The code of new groups; `None` for the widest one that the data servers allow.
    pub erasure_code: Option<Profile>,
    /// How long an image waits for others before it makes a short group.
    pub group_wait_ms: u64,
    /// How long a data server may be dead before its images are recreated elsewhere.
    pub repair_grace_ms: u64,
    /// Rebalances automatically.
    pub rebalance: bool,
    /// How long no move begins after data servers came or went.
    pub rebalance_calm_ms: u64,
    /// How long the state of a client whose lease ran out is kept, if no other client wants it; 0:
    /// not at all.
    pub courtesy_ms: u64,
    /// Shards of the cluster, fixed at its creation; 0: as many as at its creation, and one if it
    /// is new.
    pub shards: u32,
    /// After this time without work a shard hibernates; 0: never.
    pub hibernate_ms: u64,
    /// Starts without its log, if it is gone, where the file system has this identity; otherwise
    /// that is refused.
    pub accept_log_loss: Option<[u8; 16]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ms: 60_000,
            data_server_lease_ms: 3_000,
            inline_bytes: mds_namespace::INLINE_BYTES_MAX,
            relatime: true,
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
            hibernate_ms: mds_raft::limits::HIBERNATE_MS_DEFAULT,
            accept_log_loss: None,
        }
    }
}

/// The metadata server.
pub(crate) struct Server {
    /// Entropy, network, and a clock that stands still while this process is paused: others cannot
    /// meet a deadline here meanwhile.
    pub(crate) env: Env,
    /// Free space on this server's disk.
    pub(crate) room: Room,
    /// The machine's clock: for deadlines that pass also while this process is paused.
    pub(crate) machine_clock: Arc<dyn Clock>,
    /// Replicated state.
    pub(crate) shards: Shards,
    /// The cluster's exports.
    pub(crate) exports: ClusterExports,
    /// Times and sizes.
    pub(crate) config: Settings,
    /// Makes and checks filehandles.
    pub(crate) handles: HandleMaker,
    /// Keys of data-server handles.
    pub(crate) keyring: HandleKeyring,
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
    /// Fencing of restricted exports.
    pub(crate) fencing: ExportFence,
    /// Files whose size is to be settled.
    pub(crate) settling: Settling,
    /// Revoked layouts.
    pub(crate) revoked: Revoked,
    /// Memory for the replies of READ and READDIR.
    pub(crate) answer_room: AnswerRoom,
    /// Work for data servers.
    pub(crate) work: Work,
    /// Copies of extents, and their repair.
    pub(crate) copies: Copies,
    /// Images that wait for groups, and work under way with them.
    pub(crate) sealing: Sealing,
    /// Rebalancing.
    pub(crate) balancing: Balancing,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Verifier of WRITE and COMMIT in band: one permanent value, since no write is ever unstable
    /// here.
    pub(crate) write_verifier: Verifier,
    /// Files whose content is being moved.
    pub(crate) movers: Movers,
    /// Access times that are being recorded.
    pub(crate) accesses: Accesses,
    /// OPENs under way.
    pub(crate) opening: Opening,
    /// Service addresses, if any.
    pub(crate) service: Option<Service>,
    /// Known control addresses of replicas.
    pub(crate) controls: BTreeMap<u64, String>,
    /// Addresses for mounts, once known.
    pub(crate) mounts: OnceLock<Vec<SocketAddr>>,
}

impl Server {
    /// Milliseconds by the monotonic clock, without the pauses of this process.
    #[must_use]
    pub(crate) fn now_ms(&self) -> u64 {
        self.env.clock.monotonic_ms()
    }

    /// Sets the addresses for mounts, once NFS listens.
    pub(crate) fn set_mounts(&self, listens: SocketAddr) {
        let places = self.service.as_ref().map(Service::places).unwrap_or_default();
        let service: Vec<IpAddr> = places.iter().map(|(address, _)| address.ip).collect();
        let control = self.controls.get(&self.shards.status().id).and_then(|address| address.parse().ok());
        let mut mounts = mount_addresses(&service, listens, control);
        if mounts.is_empty() {
            mounts.push(listens);
        }
        // Set once: NFS listens once.
        let _ = self.mounts.set(mounts);
    }

    /// Addresses for mounts, the best one first.
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

    /// The refusal of requests that only the leader serves. Members know each other by the
    /// addresses of their log, which are of no use to other callers.
    ///
    /// Spec: docs/protocol/admin.md §1.
    pub(crate) fn not_leader(&self, leader: Option<(u64, String)>) -> Refusal {
        let control = leader.and_then(|(id, _)| self.controls.get(&id).cloned());
        Refusal::NotLeader { leader: control.unwrap_or_default() }
    }

    /// Refuses what only the leader may do, where this node does not lead.
    ///
    /// # Errors
    /// `NotLeader`.
    pub(crate) fn check_leading(&self) -> Result<(), Refusal> {
        if self.shards.is_leader() { Ok(()) } else { Err(self.not_leader(self.shards.leader())) }
    }

    /// The refusal for a caller whose command has no outcome.
    pub(crate) fn refusal_of(&self, error: ProposeError) -> Refusal {
        match error {
            ProposeError::NotLeader { leader } => self.not_leader(leader),
            _ => Refusal::Busy,
        }
    }

    /// Proposes a command of the server's own.
    ///
    /// # Errors
    /// The status of a refusal, or DELAY.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, Nfsstat4> {
        let proposed = self.shards.propose(None, command);
        match slow::waited(&*self.env.clock, Wait::new("a majority of the metadata replicas"), proposed).await
        {
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

    /// Identity of the file system of an export. Each has its own, so that a client that reaches
    /// one file through two of them has two files: handles, rights and options differ. That of the
    /// first is the file system's.
    ///
    /// Spec: RFC 8881 §5.8.1.9, §7.3.
    pub(crate) fn fsid(&self, export: ExportId) -> Fsid {
        let half = |at: usize| u64::from_be_bytes(*self.file_system[at..].first_chunk().expect("16 bytes"));
        Fsid { major: half(0), minor: half(8) ^ u64::from(export.0) }
    }

    /// Facts of the file system, as an export shows them; expensive ones only if requested.
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
            // Of the servers' space, clients can use the share of one copy.
            let (total, free) = self.data_servers.space(self.now_ms());
            let servers = u64::try_from(self.data_servers.all().len()).unwrap_or(u64::MAX);
            let copies = u64::from(self.config.hot_copies).min(servers).max(1);
            (space_total_bytes, space_free_bytes) = (total / copies, free / copies);
        }
        // Reads every shard: for `df`, not for each `stat`.
        if requested.contains(numbers::FILES_TOTAL) {
            files_used = self.shards.inodes(view).map_err(|e| status::of_propose(&e))?;
        }
        Ok(FileSystemFacts {
            fsid: self.fsid(handle.export),
            lease_seconds: u32::try_from(self.config.lease_ms / 1000).unwrap_or(u32::MAX),
            inline_bytes: self.config.inline_bytes,
            pnfs: handle.export == ExportId::PSEUDO
                || self.exports().option(handle.export).is_some_and(|export| export.pnfs),
            space_total_bytes,
            space_free_bytes,
            files_used,
        })
    }

    /// Status of I/O while a data server is unreachable: DELAY, and after a while IO.
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
}

/// One async lock for each file whose content is being moved.
#[derive(Default)]
pub(crate) struct Movers {
    locks: Mutex<HashMap<Ino, Arc<tokio::sync::Mutex<()>>>>,
}

impl Movers {
    /// Waits until no other task moves this file's content.
    pub(crate) async fn lock(&self, ino: Ino) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock();
            locks.retain(|_, lock| 1 < Arc::strong_count(lock));
            Arc::clone(locks.entry(ino).or_default())
        };
        lock.lock_owned().await
    }
}
