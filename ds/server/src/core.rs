//! What all requests of a data server share: the store, the lease, what handles are judged by, the
//! counters.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ds_store::{ChangeError, Store};
use env::Env;
use layout::handle::{self, HandleError};
use layout::reserve::{Purpose, kept_from};
use layout::{DataServerId, DsHandle, HandleKey};
use parking_lot::RwLock;
use tokio::sync::{Notify, Semaphore};
use wire_nfs::control::Refusal;
use wire_nfs::control::heartbeat::{JournalEnd, Usage};
use wire_nfs::control::limits::WORDS_BYTES_MAX;
use wire_nfs::v3::Nfsstat3;

use crate::admission::{Admission, Admits, Currency};
use crate::copies::CopyTable;
use crate::directory::Directory;
use crate::handle_clock::HandleClock;
use crate::holding::queue::Holding;
use crate::images::Images;
use crate::lease::Lease;
use crate::limits::{
    CLIENT_LINGERS_MS, LEASE_WAIT_MS_MAX, PRESSED_PARTS, READ_BYTES_IN_FLIGHT_MAX, REST_CALLS_MAX,
    RESTORES_MAX, SEAL_BUSY_PARTS, WATCH_LOOK_MS,
};
use crate::metrics::Metrics;
use crate::scrub::{ScrubMetrics, Wanted};
use crate::seal::known::Shown;
use crate::thaw::Thaws;
use crate::throttle::Throttle;
use crate::watch::DiskWatch;
use crate::watch::table::Change;

/// Shared by the services and the registrar.
pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) lease: Lease,
    pub(crate) metrics: Metrics,
    /// Bytes of READ_DATA replies to primaries that may still be gathered.
    pub(crate) read_room: Semaphore,
    /// Other data servers, and the way to a metadata server.
    pub(crate) directory: Arc<Directory>,
    /// The images here, and the way to those elsewhere.
    pub(crate) images: Arc<Images>,
    /// What metadata servers were shown of them.
    pub(crate) shown: Shown,
    /// How far the scrub is.
    pub(crate) scrub: ScrubMetrics,
    /// Bytes of extents that are sealed and of parity that is made.
    seal_pace: Throttle,
    /// What it is to look at next.
    pub(crate) wanted: Wanted,
    /// How long an extent rests before it is sealed; 0: sealing is off.
    seal_idle_ms: AtomicU32,
    /// Requests of clients under way.
    clients: AtomicU32,
    /// A client counts as waiting until then, by the monotonic clock.
    client_until_ms: AtomicU64,
    /// Copies of extents that we are home of.
    pub(crate) copies: CopyTable,
    /// What metadata servers are being told of extents that clients come back to.
    pub(crate) thaws: Thaws,
    /// Questions that are under way about extents that we read for clients and are not home of.
    pub(crate) rest_calls: Semaphore,
    /// READs that have bad bytes fetched from replicas.
    pub(crate) restores: Semaphore,
    /// Wall clock of the start, nanoseconds since 1970.
    pub(crate) started_unix_ns: u64,
    /// What was said of layouts, and what is to be asked.
    pub(crate) holding: Holding,
    /// Until when the exports here are known to be the cluster's.
    pub(crate) currency: Currency,
    /// The clock by which handles are made.
    pub(crate) handle_clock: HandleClock,
    identity: RwLock<Option<Arc<Identity>>>,
    /// Why nothing is served until a restart, once the disk has failed.
    failure: OnceLock<String>,
    /// Told when it has, or hangs.
    failed: Notify,
    /// Whether the disk answers.
    pub(crate) watch: DiskWatch,
    judgement: RwLock<Judgement>,
}

/// What a metadata server said of the store that this start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Nothing yet, or it is not on stable storage here.
    Unknown,
    /// It lacks nothing that was acknowledged.
    Complete,
    /// It lacks something: nothing of it counts.
    Behind,
}

/// Who we are, and what handles are judged by. Never changed: another one takes its place.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) server: DataServerId,
    /// At most `wire_nfs::control::limits::HANDLE_KEYS_MAX`.
    keys: Vec<HandleKey>,
    keys_version: u64,
    /// `None` until a metadata server has told.
    admits: Option<Arc<Admits>>,
}

impl Identity {
    /// A server that was told of no exports.
    #[cfg(test)]
    pub(crate) fn of(server: DataServerId, keys: Vec<HandleKey>) -> Self {
        Self { server, keys, keys_version: 1, admits: None }
    }

    /// Opens a handle under the key that it names.
    ///
    /// # Errors
    /// [`HandleError`].
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<DsHandle, HandleError> {
        let number = handle::key_number(bytes).unwrap_or_default();
        let key = self.keys.iter().find(|key| key.number() == number);
        match key.or_else(|| self.keys.first()) {
            Some(key) => handle::open(key, bytes),
            None => Err(HandleError::Key { number }),
        }
    }

    /// Whether a client's handle may be shown from an address.
    pub(crate) fn admission(&self, export: u16, from: IpAddr) -> Admission {
        self.admits.as_ref().map_or(Admission::NoExport, |admits| admits.admission(export, from))
    }
}

impl Core {
    pub(crate) fn new(
        (env, watch): (Env, DiskWatch),
        store: Store,
        metrics: Metrics,
        directory: Arc<Directory>,
        images: Arc<Images>,
        scrub: ScrubMetrics,
        seal_pace: Throttle,
    ) -> Self {
        store.keep_reserve();
        Self {
            seal_pace,
            scrub,
            wanted: Wanted::default(),
            directory,
            images,
            shown: Shown::default(),
            seal_idle_ms: AtomicU32::new(0),
            clients: AtomicU32::new(0),
            client_until_ms: AtomicU64::new(0),
            copies: CopyTable::default(),
            thaws: Thaws::default(),
            rest_calls: Semaphore::new(REST_CALLS_MAX),
            restores: Semaphore::new(RESTORES_MAX),
            started_unix_ns: env.clock.wall_ns(),
            holding: Holding::new(&*env.entropy),
            env,
            store,
            lease: Lease::default(),
            metrics,
            read_room: Semaphore::new(READ_BYTES_IN_FLIGHT_MAX as usize),
            currency: Currency::default(),
            handle_clock: HandleClock::default(),
            identity: RwLock::new(None),
            failure: OnceLock::new(),
            failed: Notify::new(),
            watch,
            judgement: RwLock::new(Judgement::Unknown),
        }
    }

    /// A metadata server has told who we are.
    pub(crate) fn identify(&self, server: DataServerId, keys: Vec<HandleKey>, keys_version: u64) {
        self.directory.identify(server);
        let mut identity = self.identity.write();
        let admits = identity.as_ref().and_then(|before| before.admits.clone());
        *identity = Some(Arc::new(Identity { server, keys, keys_version, admits }));
    }

    /// A metadata server has told which handle keys are good.
    pub(crate) fn set_handle_keys(&self, keys: Vec<HandleKey>, keys_version: u64) {
        self.change_identity(|before| Identity { keys, keys_version, ..before });
    }

    /// A metadata server has told from where exports admit clients.
    pub(crate) fn set_admits(&self, admits: Admits) {
        self.change_identity(|before| Identity { admits: Some(Arc::new(admits)), ..before });
    }

    fn change_identity(&self, change: impl FnOnce(Identity) -> Identity) {
        let mut identity = self.identity.write();
        if let Some(before) = identity.as_deref() {
            *identity = Some(Arc::new(change(before.clone())));
        }
    }

    /// Which version of the handle keys is here; 0 for none.
    pub(crate) fn handle_keys_version(&self) -> u64 {
        self.identity.read().as_ref().map_or(0, |identity| identity.keys_version)
    }

    /// Which version of the exports is here.
    pub(crate) fn exports_version(&self) -> Option<u64> {
        self.identity.read().as_ref()?.admits.as_ref().map(|admits| admits.version())
    }

    /// A metadata server has told how long an extent rests before it is sealed; 0: never.
    pub(crate) fn set_seal_idle_ms(&self, ms: u32) {
        self.seal_idle_ms.store(ms, Ordering::Relaxed);
    }

    /// How long an extent rests before it is sealed, if any is.
    pub(crate) fn seal_idle_ms(&self) -> Option<u64> {
        Some(u64::from(self.seal_idle_ms.load(Ordering::Relaxed))).filter(|ms| *ms != 0)
    }

    /// A request of a client is under way as long as what this answers is there.
    pub(crate) fn client(&self) -> UnderWay<'_> {
        self.clients.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Whether clients wait for something, or did a moment ago: between two requests of a busy
    /// client there is nothing.
    pub(crate) fn is_busy(&self) -> bool {
        let now_ms = self.env.clock.monotonic_ms();
        self.clients.load(Ordering::Relaxed) != 0 || now_ms < self.client_until_ms.load(Ordering::Relaxed)
    }

    /// Waits for what sealing has made, or taken from journals, to be paid for: more dearly while
    /// clients have work, so that it stands back. A store that runs out of room does not wait.
    pub(crate) async fn seal_pass(&self, bytes: u64) {
        if self.is_pressed() {
            return;
        }
        let parts = if self.is_busy() { SEAL_BUSY_PARTS } else { 1 };
        self.seal_pace.pass(&*self.env.clock, bytes.saturating_mul(parts)).await;
    }

    /// Whether the journal needs what sealing gives back more than clients need the disk.
    pub(crate) fn is_pressed(&self) -> bool {
        let usage = self.store.usage();
        usage.capacity_bytes - usage.capacity_bytes / PRESSED_PARTS < usage.used_bytes
    }

    /// Whether there is room for an image file.
    ///
    /// # Errors
    /// NO_SPACE.
    pub(crate) fn has_room(&self, bytes: u64, purpose: Purpose) -> Result<(), Refusal> {
        let usage = self.store.usage();
        let kept_bytes = kept_from(purpose, usage.capacity_bytes);
        if usage.used_bytes.saturating_add(bytes).saturating_add(kept_bytes) <= usage.capacity_bytes {
            Ok(())
        } else {
            Err(Refusal::NoSpace)
        }
    }

    /// Image files have come or gone.
    pub(crate) fn note_images(&self) {
        let usage = self.images.dir.usage();
        self.images.metrics.images.set(usage.images);
        self.images.metrics.image_bytes.set(usage.bytes);
        self.store.set_images_bytes(usage.bytes);
        self.shown.look_again();
    }

    /// Who we are.
    pub(crate) fn server(&self) -> Option<DataServerId> {
        self.identity.read().as_ref().map(|identity| identity.server)
    }

    /// Now, as leases count: they go on while this machine is suspended.
    ///
    /// # Units
    /// Milliseconds, monotonic.
    pub(crate) fn lease_now_ms(&self) -> u64 {
        // In this order: a suspension between the two ends a lease.
        let now_ms = self.env.clock.monotonic_ms();
        now_ms + self.env.clock.suspended_ms()
    }

    /// Whether requests may be served now.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving_at(self.lease_now_ms()).is_ok()
    }

    /// Who we are, if a request may be served.
    ///
    /// # Errors
    /// JUKEBOX without a lease: the client asks again, and by then either the lease is back or its
    /// layout is not. STALE once the disk has failed, and while it hangs: the client comes back for
    /// another layout at once.
    fn serving_at(&self, now_ms: u64) -> Result<Arc<Identity>, Nfsstat3> {
        if self.has_failed() {
            return Err(Nfsstat3::Stale);
        }
        if !self.lease.holds(now_ms) {
            return Err(Nfsstat3::Jukebox);
        }
        self.identity.read().clone().ok_or(Nfsstat3::Jukebox)
    }

    /// Who we are, and the time (as [`lease_now_ms`](Self::lease_now_ms)) at which we may serve a
    /// client's request. One that comes while there is no lease waits a while for it: a client that
    /// was told to ask again would sit for five seconds first.
    ///
    /// # Errors
    /// JUKEBOX if there is none for too long.
    pub(crate) async fn serving(&self) -> Result<(Arc<Identity>, u64), Nfsstat3> {
        let look = || {
            let now_ms = self.lease_now_ms();
            self.serving_at(now_ms).map(|identity| (identity, now_ms))
        };
        match look() {
            Err(Nfsstat3::Jukebox) => {}
            found => return found,
        }
        let again = async {
            loop {
                let renewed = self.lease.renewed();
                tokio::pin!(renewed);
                renewed.as_mut().enable();
                match look() {
                    Err(Nfsstat3::Jukebox) => renewed.await,
                    found => return found,
                }
            }
        };
        tokio::select! {
            biased;
            found = again => found,
            () = self.env.clock.sleep_ms(LEASE_WAIT_MS_MAX) => Err(Nfsstat3::Jukebox),
        }
    }

    /// The write verifier: another one after each start, and after each time without a lease.
    pub(crate) fn verifier(&self) -> [u8; 8] {
        self.store.instance().wrapping_add(self.lease.term()).to_be_bytes()
    }

    /// Looks at an error for what it says about the store. After a failed write or flush nobody
    /// knows what the disk holds: this server ends its lease at once, so that replicas become
    /// primary of its extents, and serves nothing until a restart.
    pub(crate) fn note(&self, error: &ChangeError) {
        if let ChangeError::Failed(reason) = error {
            self.fail(&reason.to_string());
        }
    }

    /// The disk has failed: see [`note`](Self::note).
    pub(crate) fn fail(&self, reason: &str) {
        let words = &reason[..reason.floor_char_boundary(WORDS_BYTES_MAX)];
        if self.failure.set(words.to_owned()).is_ok() {
            self.lease.end();
            tracing::error!(reason, "the disk failed: this data server serves nothing until a restart");
            self.failed.notify_one();
        }
    }

    /// Gives the lease up while the disk hangs, for ever. On the thread of the lease: a runtime
    /// whose threads all wait for the disk must not keep this from looking.
    pub(crate) async fn watch_disk(&self) {
        loop {
            self.env.clock.sleep_ms(WATCH_LOOK_MS).await;
            match self.watch.look(self.env.clock.monotonic_ms()) {
                Change::None => {}
                Change::Hangs(_) => {
                    self.lease.suspend();
                    self.failed.notify_one();
                    let reason = self.watch.reason().unwrap_or_default();
                    tracing::error!("{reason}: this data server serves nothing until it answers");
                }
                Change::Answers => {
                    self.lease.resume();
                    tracing::warn!("the disk answers again: this data server registers again");
                }
            }
        }
    }

    /// Why nothing is served, if the disk has failed or hangs.
    pub(crate) fn failure(&self) -> Option<String> {
        // The journal also fails where no request waits for it: under compaction.
        if let (None, Some(error)) = (self.failure.get(), self.store.failure()) {
            self.note(&error);
        }
        self.failure.get().cloned().or_else(|| self.watch.reason())
    }

    /// A metadata server has judged what this start found, and nothing is missing. That is on
    /// stable storage.
    pub(crate) fn set_complete(&self) {
        *self.judgement.write() = Judgement::Complete;
    }

    /// A metadata server knows of more than what this start found: nothing of the store counts.
    pub(crate) fn set_behind(&self, found: JournalEnd, acknowledged: JournalEnd) {
        let before = std::mem::replace(&mut *self.judgement.write(), Judgement::Behind);
        if before == Judgement::Behind {
            return;
        }
        tracing::error!(
            dir = %self.store.dir().display(),
            found = %format_args!("{}:{}", found.segment, found.offset),
            acknowledged = %format_args!("{}:{}", acknowledged.segment, acknowledged.offset),
            "the journal lacks what this data server had acknowledged: the directory was put back from an older copy, or lost files. \
             It serves nothing"
        );
    }

    /// Whether the store has what it had acknowledged, as far as a metadata server has judged.
    pub(crate) fn judgement(&self) -> Judgement {
        *self.judgement.read()
    }

    /// Whether the disk is known to have failed, or hangs.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some() || self.watch.hangs()
    }

    /// What metadata servers know this start by. Another one after each time that the disk hung: a
    /// report of that which was long on its way must not end a lease that was given since.
    pub(crate) fn instance(&self) -> u64 {
        self.store.instance().wrapping_add(self.watch.survived())
    }

    /// Returns once the disk has failed or hangs, if that was not told before.
    pub(crate) async fn fails(&self) {
        self.failed.notified().await;
    }

    /// How full and how busy we are. A server whose disk failed reports that it is full.
    pub(crate) fn usage(&self) -> Usage {
        let store = self.store.usage();
        self.metrics.set_usage(&store);
        let (reads, writes, read_bytes, written_bytes) = self.metrics.counts();
        let failed = self.has_failed();
        let mut usage = Usage {
            capacity_bytes: store.capacity_bytes,
            used_bytes: if failed { store.capacity_bytes } else { store.used_bytes },
            journal_bytes: store.journal_bytes,
            live_bytes: store.live_bytes,
            extents: store.extents,
            reads,
            writes,
            read_bytes,
            written_bytes,
            flushes: store.flushes,
            bad_blocks: store.bad_blocks,
            ..Usage::default()
        };
        self.scrub.tell(&mut usage);
        usage
    }
}

/// Counts a client's request.
pub(crate) struct UnderWay<'a>(&'a Core);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let until_ms = self.0.env.clock.monotonic_ms().saturating_add(CLIENT_LINGERS_MS);
        self.0.client_until_ms.store(until_ms, Ordering::Relaxed);
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
