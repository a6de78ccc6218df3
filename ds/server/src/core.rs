//! What all requests of a data server share: the store, the lease, the handle key, the counters.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ds_store::{ChangeError, Store};
use env::Env;
use layout::reserve::{Purpose, kept_from};
use layout::{DataServerId, HandleKey};
use parking_lot::RwLock;
use tokio::sync::{Notify, Semaphore};
use wire_nfs::control::Refusal;
use wire_nfs::control::heartbeat::{JournalEnd, Usage};
use wire_nfs::control::limits::WORDS_BYTES_MAX;
use wire_nfs::v3::Nfsstat3;

use crate::copies::CopyTable;
use crate::directory::Directory;
use crate::images::Images;
use crate::lease::Lease;
use crate::limits::{
    CLIENT_LINGERS_MS, LEASE_WAIT_MS_MAX, PRESSED_PARTS, READ_BYTES_IN_FLIGHT_MAX, REST_CALLS_MAX,
    RESTORES_MAX, SEAL_BUSY_PARTS,
};
use crate::metrics::Metrics;
use crate::scrub::{ScrubMetrics, Wanted};
use crate::seal::shown::Shown;
use crate::thaw::Thaws;
use crate::throttle::Throttle;

/// Shared by the services and the registrar.
pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) lease: Lease,
    pub(crate) metrics: Metrics,
    /// Bytes of READ replies that may still be gathered.
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
    identity: RwLock<Option<Identity>>,
    /// Why nothing is served until a restart, once the disk has failed.
    failure: OnceLock<String>,
    /// Told when it has.
    failed: Notify,
    /// A metadata server knows of more than the store has.
    behind: AtomicBool,
}

#[derive(Clone)]
struct Identity {
    server: DataServerId,
    key: HandleKey,
}

impl Core {
    pub(crate) fn new(
        env: Env,
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
            env,
            store,
            lease: Lease::default(),
            metrics,
            read_room: Semaphore::new(READ_BYTES_IN_FLIGHT_MAX as usize),
            identity: RwLock::new(None),
            failure: OnceLock::new(),
            failed: Notify::new(),
            behind: AtomicBool::new(false),
        }
    }

    /// A metadata server has told who we are, and with which key it seals handles.
    pub(crate) fn identify(&self, server: DataServerId, key: HandleKey) {
        self.directory.identify(server);
        *self.identity.write() = Some(Identity { server, key });
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

    /// Whether clients wait for something, or did a moment ago: between two requests of a busy client there is nothing.
    pub(crate) fn is_busy(&self) -> bool {
        let now_ms = self.env.clock.monotonic_ms();
        self.clients.load(Ordering::Relaxed) != 0 || now_ms < self.client_until_ms.load(Ordering::Relaxed)
    }

    /// Waits for what sealing has made, or taken from journals, to be paid for: more dearly while clients have work, so that it stands
    /// back. A store that runs out of room does not wait.
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

    /// The handle key and who we are, if a request may be served now.
    ///
    /// # Errors
    /// JUKEBOX without a lease: the client asks again, and by then either the lease is back or its layout is not. STALE once the disk
    /// has failed: the client comes back for another layout at once.
    pub(crate) fn serving_key(&self) -> Result<(HandleKey, DataServerId), Nfsstat3> {
        if self.has_failed() {
            return Err(Nfsstat3::Stale);
        }
        if !self.lease.holds(self.lease_now_ms()) {
            return Err(Nfsstat3::Jukebox);
        }
        let identity = self.identity.read();
        identity.as_ref().map(|one| (one.key.clone(), one.server)).ok_or(Nfsstat3::Jukebox)
    }

    /// As [`serving_key`](Self::serving_key), for a client's request: one that comes while there is no lease waits a while for it. A client
    /// that was told to ask again would sit for five seconds first.
    ///
    /// # Errors
    /// JUKEBOX if there is none for too long.
    pub(crate) async fn serving(&self) -> Result<(HandleKey, DataServerId), Nfsstat3> {
        match self.serving_key() {
            Err(Nfsstat3::Jukebox) => {}
            found => return found,
        }
        let again = async {
            loop {
                let renewed = self.lease.renewed();
                tokio::pin!(renewed);
                renewed.as_mut().enable();
                match self.serving_key() {
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

    /// Looks at an error for what it says about the store. After a failed write or flush nobody knows what the disk holds: this
    /// server ends its lease at once, so that replicas become primary of its extents, and serves nothing until a restart.
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

    /// Why nothing is served any more, if the disk has failed.
    pub(crate) fn failure(&self) -> Option<&str> {
        // The journal also fails where no request waits for it: under compaction.
        if let (None, Some(error)) = (self.failure.get(), self.store.failure()) {
            self.note(&error);
        }
        self.failure.get().map(String::as_str)
    }

    /// A metadata server has judged what was found in the store: if it lacks something acknowledged, nothing of it counts.
    pub(crate) fn set_behind(&self, found: JournalEnd, acknowledged: Option<JournalEnd>) {
        let was_behind = self.behind.swap(acknowledged.is_some(), Ordering::Relaxed);
        let Some(acknowledged) = acknowledged.filter(|_| !was_behind) else { return };
        tracing::error!(
            dir = %self.store.dir().display(),
            found = %format_args!("{}:{}", found.segment, found.offset),
            acknowledged = %format_args!("{}:{}", acknowledged.segment, acknowledged.offset),
            "the journal lacks what this data server had acknowledged: the directory was put back from an older copy, or lost files. \
             It serves nothing"
        );
    }

    /// Whether the store lacks something that it had acknowledged.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Whether the disk is known to have failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Returns once the disk has failed, if that was not told before.
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
