//! Registers with a metadata server and keeps the lease alive.
//!
//! The registrar goes round the known metadata servers until one says yes; it follows NOT_LEADER.
//! It runs until it is dropped. On a runtime of several threads it has one of its own, and its
//! calls a connection of their own: however much work there is with data, and however long the
//! other calls to a metadata server are, the lease is renewed in time.
//!
//! INVARIANT: one call at a time, so an answer is never counted for another call's sending time.
//! Spec: docs/protocol/control.md §1, §2.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ds_store::{LogEnd, Store};
use env::Env;
use env_transport::LogRate;
use layout::copies::Domain;
use layout::{DataServerId, HandleKey};
use tokio::runtime::{Builder, Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire_nfs::control::handles::{Admitted, HandleKeys, NumberedKey};
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Renewed};
use wire_nfs::control::limits::WORDS_BYTES_MAX;
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::{Keyring, NodeKind, Nothing, Procedure, Refusal};

use crate::access::{Admits, Permits};
use crate::directory::Directory;
use crate::judgement::StoreJudgement;
use crate::lease::{Serving, used_ms};
use crate::limits::{
    CONTROL_CALL_MS_MAX, DURABLE_TOLD_MS, FAILURE_REPORT_MS, HEARTBEAT_PARTS, LEASE_MS_MAX, LEASE_MS_MIN,
    REGISTER_PAUSE_MS,
};
use crate::link::{AskError, Link};
use crate::seal::RestTime;
use crate::usage::UsageReport;

/// What a data server says about itself when it registers.
#[derive(Clone, Debug)]
pub(crate) struct SelfPortrait {
    /// Universal addresses of the data port.
    pub(crate) addresses: Vec<String>,
    /// Address of the control port.
    pub(crate) control: String,
    /// The failure domain that it is in.
    pub(crate) domain: Domain,
    /// The name that administrators gave it.
    pub(crate) name: String,
}

/// Keeps the registrar at work as long as this lives.
pub(crate) enum Keeper {
    /// A thread of its own, which ends when this is dropped.
    Thread { _end: oneshot::Sender<()> },
    /// A task: tests and simulations have one thread.
    Task(JoinHandle<()>),
}

impl Keeper {
    /// Starts the registrar.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn start(registrar: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(Self::Task(tokio::spawn(registrar)));
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("lease".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = registrar => {}
                    // An error is the drop of the other end, which is the only message there is.
                    _ = ended => {}
                }
            });
        })?;
        Ok(Self::Thread { _end: end })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Self::Task(task) = self {
            task.abort();
        }
    }
}

/// Registers this server, and keeps it registered.
pub(crate) struct Registrar {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) judgement: Arc<StoreJudgement>,
    pub(crate) rest: Arc<RestTime>,
    pub(crate) usage: Arc<UsageReport>,
    pub(crate) portrait: SelfPortrait,
}

/// What the registrar keeps in mind while it goes round the metadata servers.
struct Round {
    /// There is no other metadata server to go to.
    is_alone: bool,
    /// The log says already that there is no lease.
    complained: bool,
}

impl Registrar {
    /// Keeps this server registered, for ever.
    pub(crate) async fn keep_registered(self, metadata_servers: Vec<SocketAddr>, keys: Keyring) {
        let mut round = Round { is_alone: metadata_servers.len() == 1, complained: false };
        let mut turn = metadata_servers.iter().copied().cycle();
        let mut next = turn.next();
        while let Some(address) = next {
            let link = Link::new(&self.env, address, &keys, NodeKind::Metadata);
            // All other calls go there: they may be many, and take long.
            let others = Arc::new(Link::new(&self.env, address, &keys, NodeKind::Metadata));
            let ended = self.keep_lease((&link, &others), &mut round).await;
            next = match &ended {
                AskError::Refused(Refusal::NotLeader { leader }) => leader.parse().ok(),
                _ => None,
            };
            if !round.complained {
                tracing::warn!(%address, error = %ended, "no lease from this metadata server");
                round.complained = true;
            }
            if next.is_none() {
                next = turn.next();
            }
            self.env.clock.sleep_ms(REGISTER_PAUSE_MS).await;
        }
    }

    /// Registers and renews until something goes wrong.
    async fn keep_lease(&self, (link, others): (&Link, &Arc<Link>), round: &mut Round) -> AskError {
        loop {
            if self.serving.failure().is_some() {
                match self.report_failure(link).await {
                    Err(error) => return error,
                    // The disk has answered after all.
                    Ok(()) => continue,
                }
            }
            let lease_ms = match self.register(link).await {
                Ok(lease_ms) => lease_ms,
                Err(error) => return error,
            };
            self.directory.use_metadata(others);
            let Some(lease_ms) = lease_ms else {
                if !round.complained {
                    tracing::warn!("no lease yet: missed work has still to be done, or is not noted");
                    round.complained = true;
                }
                self.env.clock.sleep_ms(REGISTER_PAUSE_MS).await;
                continue;
            };
            round.complained = false;
            match self.renew_lease(link, lease_ms, round.is_alone).await {
                AskError::Refused(Refusal::RegisterAgain) => self.serving.revoke_lease(),
                // This metadata server knows this data server: it is told first.
                AskError::Failed => {}
                error if self.serving.failure().is_none() => return error,
                _ => {}
            }
        }
    }

    /// Reports that the disk has failed or hangs, again and again: a metadata server that begins to
    /// lead does not know it yet. Returns when the disk does not hang any more.
    ///
    /// INVARIANT: the lease has ended here before the first report is sent, and this start never
    /// registers again; or, after a hang, as another one ([`Serving::instance`]). So a metadata
    /// server may have replicas take over as soon as it has the report.
    async fn report_failure(&self, link: &Link) -> Result<(), AskError> {
        while self.serving.failure().is_some() {
            let renewed: Renewed = link.ask(Procedure::Heartbeat, &self.heartbeat()).await?;
            if let Some(directory) = renewed.directory {
                self.directory.replace(directory);
            }
            self.env.clock.sleep_ms(FAILURE_REPORT_MS).await;
        }
        Ok(())
    }

    fn heartbeat(&self) -> Heartbeat {
        let failure = self.serving.failure().unwrap_or_default();
        assert!(failure.len() <= WORDS_BYTES_MAX, "a heartbeat has room for the reason");
        Heartbeat {
            server: self.directory.own().map_or(0, |server| server.0),
            uuid: self.store.uuid(),
            usage: self.usage.gather(),
            directory: self.directory.version(),
            instance: self.serving.instance(),
            failure,
            durable: journal_end(self.store.durable_end()),
            keys: self.permits.handle_keys_version(),
        }
    }

    /// Registers; how long the lease lasts, if a metadata server gives one.
    async fn register(&self, link: &Link) -> Result<Option<u32>, AskError> {
        let (usage, claim) = (self.usage.gather(), self.store.claim().await);
        let portrait = &self.portrait;
        let register = Register {
            found: journal_end(claim.found),
            is_loss_accepted: claim.is_loss_accepted,
            uuid: self.store.uuid(),
            instance: self.serving.instance(),
            addresses: portrait.addresses.clone(),
            control: portrait.control.clone(),
            capacity_bytes: usage.capacity_bytes,
            used_bytes: usage.used_bytes,
            zone: portrait.domain.zone.clone(),
            rack: portrait.domain.rack.clone(),
            host: portrait.domain.host.clone(),
            name: portrait.name.clone(),
        };
        let sent_ms = self.serving.now_ms();
        let registered: Registered = link.ask(Procedure::Register, &register).await?;
        let keys = open_keys(link, &registered.keys)?;
        let server = DataServerId(registered.server);
        self.directory.identify(server);
        self.permits.identify(server, keys, registered.keys.version);
        self.permits.handle_clock.set(registered.clock_ms, sent_ms);
        self.rest.set_ms(registered.seal_idle_ms);
        self.directory.replace(registered.directory);
        if let Some(acknowledged) = registered.behind {
            self.judgement.set_behind(journal_end(claim.found), acknowledged);
            return Ok(None);
        }
        if !self.note_judgement().await || registered.lease_ms == 0 {
            return Ok(None);
        }
        self.learn_exports(link, registered.exports, sent_ms, CONTROL_CALL_MS_MAX).await?;
        let lease_ms = registered.lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX);
        assert!(self.permits.identity().is_some(), "a server that serves can judge handles");
        self.serving.renew_lease(sent_ms, lease_ms);
        tracing::info!(server = registered.server, lease_ms, "registered");
        Ok(Some(lease_ms))
    }

    /// Notes that nothing is missing in the store; `false` if that is not on stable storage.
    ///
    /// Without that no lease is used: what a client writes under one raises the mark of the store,
    /// and the next start would still say that it found as little as this one, and seem to lack it.
    async fn note_judgement(&self) -> bool {
        match self.store.judged().await {
            Ok(()) => self.judgement.set_complete(),
            // Room may come back.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::debug!(%error, "no room to note that nothing is missing in the store");
                return false;
            }
            Err(error) => {
                self.serving.fail_disk(&format!("cannot note that nothing is missing in the store: {error}"));
                return false;
            }
        }
        true
    }

    /// Learns the exports if they are of another version than those here; they are the cluster's as
    /// of `asked_ms`.
    async fn learn_exports(
        &self,
        link: &Link,
        version: u64,
        asked_ms: u64,
        ms_max: u64,
    ) -> Result<(), AskError> {
        let currency = &self.permits.currency;
        if self.permits.exports_version() != Some(version) {
            currency.doubt(asked_ms);
            let told: Admitted = link.ask_within(Procedure::Admitted, &Nothing, ms_max).await?;
            self.permits.set_admits(Admits::from_told(&told).map_err(|_| AskError::Exports)?);
        }
        currency.confirm(asked_ms);
        Ok(())
    }

    /// Learns what a renewal brought beside the lease. The metadata server must answer a question
    /// that it leads to within `ms_max`, as the renewal itself: the next renewal waits for that.
    async fn learn_news(
        &self,
        link: &Link,
        renewed: Renewed,
        asked_ms: u64,
        ms_max: u64,
    ) -> Result<(), AskError> {
        self.rest.set_ms(renewed.seal_idle_ms);
        self.permits.handle_clock.set(renewed.clock_ms, asked_ms);
        if let Some(directory) = renewed.directory {
            self.directory.replace(directory);
        }
        let keys = renewed.keys.map_or(Ok(()), |told| {
            open_keys(link, &told).map(|keys| self.permits.set_handle_keys(keys, told.version))
        });
        // Also after keys that cannot be opened: a list of exports that is out of force is to be
        // known as such.
        self.learn_exports(link, renewed.exports, asked_ms, ms_max).await?;
        keys
    }

    /// Returns when a heartbeat is due: after `pause_ms`; soon after more of the journal than was
    /// `told` is on stable storage; or when the disk has failed.
    async fn wait_for_heartbeat(&self, pause_ms: u64, told: JournalEnd) {
        let until_ms = self.env.clock.monotonic_ms() + pause_ms;
        loop {
            let left_ms = until_ms.saturating_sub(self.env.clock.monotonic_ms());
            tokio::select! {
                () = self.env.clock.sleep_ms(left_ms.min(DURABLE_TOLD_MS)) => {}
                () = self.serving.wait_for_failure() => return,
            }
            let is_news = journal_end(self.store.durable_end()) != told;
            if is_news || until_ms <= self.env.clock.monotonic_ms() {
                return;
            }
        }
    }

    /// Sends heartbeats until one fails for good. One that the metadata server refused for now, or
    /// did not answer where it is the only one, is sent again while the lease holds: to register
    /// would take longer.
    async fn renew_lease(&self, link: &Link, mut lease_ms: u32, is_alone: bool) -> AskError {
        let serving = &self.serving;
        let mut told = JournalEnd::default();
        loop {
            self.wait_for_heartbeat(used_ms(lease_ms) / HEARTBEAT_PARTS, told).await;
            if serving.failure().is_some() {
                return AskError::Failed;
            }
            let heartbeat = self.heartbeat();
            told = heartbeat.durable;
            let sent_ms = serving.now_ms();
            // A metadata server that is silent must leave time to ask another one before the lease
            // is over.
            let ms_max = (used_ms(lease_ms) / 3).min(CONTROL_CALL_MS_MAX);
            match link.ask_within::<Renewed>(Procedure::Heartbeat, &heartbeat, ms_max).await {
                Ok(renewed) => {
                    lease_ms = renewed.lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX);
                    serving.renew_lease(sent_ms, lease_ms);
                    if let Err(error) = self.learn_news(link, renewed, sent_ms, ms_max).await {
                        self.log_unlearnt(&error);
                    }
                }
                Err(error) => {
                    let may_pass = match &error {
                        AskError::Refused(Refusal::Busy) => true,
                        AskError::Call(_) => is_alone,
                        AskError::Refused(_) | AskError::Seal | AskError::Failed | AskError::Exports => false,
                    };
                    if !may_pass || !serving.holds_lease() {
                        return error;
                    }
                    tracing::debug!(%error, "a lease is not renewed yet");
                }
            }
        }
    }

    fn log_unlearnt(&self, error: &AskError) {
        static RATE: LogRate = LogRate::new();
        if let Some(suppressed) = RATE.admit(self.env.clock.monotonic_ms()) {
            tracing::warn!(
                %error, suppressed,
                "new handle keys or exports not learnt: asked again with the next heartbeat"
            );
        }
    }
}

fn journal_end(end: LogEnd) -> JournalEnd {
    JournalEnd { segment: end.segment, offset: end.offset }
}

/// Opens the handle keys of an answer.
fn open_keys(link: &Link, told: &HandleKeys) -> Result<Vec<HandleKey>, AskError> {
    let peer = link.peer().ok_or(AskError::Seal)?;
    let open = |one: &NumberedKey| {
        let number = u8::try_from(one.number).map_err(|_| AskError::Seal)?;
        let bytes = one.key.open(&peer.secret).map_err(|_| AskError::Seal)?;
        Ok(HandleKey::numbered(number, bytes))
    };
    told.keys.iter().map(open).collect()
}
