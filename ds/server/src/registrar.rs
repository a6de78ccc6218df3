//! Registers with a metadata server and keeps the lease alive.
//!
//! Goes round the known metadata servers until one says yes; follows NOT_LEADER. Runs until it is
//! dropped. On a runtime of several threads it has one of its own, and its calls a connection of
//! their own: whatever work there is with data, and however long the other calls to a metadata
//! server are, the lease is renewed in time.
//!
//! INVARIANT: one call at a time, so an answer is never counted for another call's sending time.
//! Spec: docs/protocol/control.md §1, §2.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ds_store::LogEnd;
use env_transport::LogRate;
use layout::copies::Domain;
use layout::{DataServerId, HandleKey};
use tokio::runtime::{Builder, Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire_nfs::control::handles::{Admitted, HandleKeys, NumberedKey};
use wire_nfs::control::heartbeat::{Heartbeat, JournalEnd, Renewed};
use wire_nfs::control::register::{Register, Registered};
use wire_nfs::control::{Keyring, NodeKind, Nothing, Procedure, Refusal};

use crate::admission::Admits;
use crate::core::Core;
use crate::lease::used_ms;
use crate::limits::{
    CONTROL_CALL_MS_MAX, DURABLE_TOLD_MS, FAILURE_REPORT_MS, HEARTBEAT_PARTS, LEASE_MS_MAX, LEASE_MS_MIN,
    REGISTER_PAUSE_MS,
};
use crate::link::{AskError, Link};

/// What a data server says about itself when it registers.
#[derive(Clone, Debug)]
pub(crate) struct SelfPortrait {
    /// Universal addresses of the data port.
    pub(crate) addresses: Vec<String>,
    /// Address of the control port.
    pub(crate) control: String,
    /// What is lost together with it.
    pub(crate) domain: Domain,
    /// What people call it.
    pub(crate) name: String,
}

/// Keeps the registrar at work as long as it is there.
pub(crate) enum Keeper {
    /// A thread of its own, which ends when this is dropped.
    Thread { _end: oneshot::Sender<()> },
    /// A task: tests and simulations have one thread.
    Task(JoinHandle<()>),
}

impl Keeper {
    /// Starts it.
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
                    // An error is the drop of the other end, which is the only news there is.
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

/// Keeps this server registered, for ever.
pub(crate) async fn run(
    core: Arc<Core>,
    metadata_servers: Vec<SocketAddr>,
    keys: Keyring,
    portrait: SelfPortrait,
) {
    let alone = metadata_servers.len() == 1;
    let mut turn = metadata_servers.iter().copied().cycle();
    let mut next = turn.next();
    let mut complained = false;
    while let Some(address) = next {
        let link = Link::new(&core.env, address, &keys, NodeKind::Metadata);
        // All else goes there: it may be much, and take long.
        let others = Arc::new(Link::new(&core.env, address, &keys, NodeKind::Metadata));
        let ended = keep(&core, (&link, &others), &portrait, alone, &mut complained).await;
        next = match &ended {
            AskError::Refused(Refusal::NotLeader { leader }) => leader.parse().ok(),
            _ => None,
        };
        if !complained {
            tracing::warn!(%address, error = %ended, "no lease from this metadata server");
            complained = true;
        }
        if next.is_none() {
            next = turn.next();
        }
        core.env.clock.sleep_ms(REGISTER_PAUSE_MS).await;
    }
}

/// Registers and renews until something goes wrong.
async fn keep(
    core: &Core,
    (link, others): (&Link, &Arc<Link>),
    portrait: &SelfPortrait,
    alone: bool,
    complained: &mut bool,
) -> AskError {
    loop {
        if core.failure().is_some() {
            match report_failure(core, link).await {
                Err(error) => return error,
                // The disk has answered after all.
                Ok(()) => continue,
            }
        }
        let lease_ms = match register(core, link, portrait).await {
            Ok(lease_ms) => lease_ms,
            Err(error) => return error,
        };
        core.directory.use_metadata(others);
        let Some(lease_ms) = lease_ms else {
            if !*complained {
                tracing::warn!("no lease yet: what was missed has still to be done, or is not noted");
                *complained = true;
            }
            core.env.clock.sleep_ms(REGISTER_PAUSE_MS).await;
            continue;
        };
        *complained = false;
        match renew(core, link, lease_ms, alone).await {
            AskError::Refused(Refusal::RegisterAgain) => core.lease.revoke(),
            // This metadata server knows us: it is told first.
            AskError::Failed => {}
            error if core.failure().is_none() => return error,
            _ => {}
        }
    }
}

/// Reports that the disk has failed or hangs, again and again: a metadata server that begins to
/// lead does not know it yet. Returns when it does not hang any more.
///
/// INVARIANT: the lease has ended here before the first report is sent, and this start never
/// registers again; or, after a hang, as another one ([`Core::instance`]). So a metadata server may
/// have replicas take over as soon as it has the report.
async fn report_failure(core: &Core, link: &Link) -> Result<(), AskError> {
    while core.failure().is_some() {
        match link.ask::<Renewed>(Procedure::Heartbeat, &heartbeat(core)).await {
            Ok(renewed) => {
                if let Some(directory) = renewed.directory {
                    core.directory.replace(directory);
                }
            }
            Err(error) => return Err(error),
        }
        core.env.clock.sleep_ms(FAILURE_REPORT_MS).await;
    }
    Ok(())
}

fn journal_end(end: LogEnd) -> JournalEnd {
    JournalEnd { segment: end.segment, offset: end.offset }
}

fn heartbeat(core: &Core) -> Heartbeat {
    let failure = core.failure().unwrap_or_default();
    Heartbeat {
        server: core.server().map_or(0, |server| server.0),
        uuid: core.store.uuid(),
        usage: core.usage(),
        directory: core.directory.version(),
        instance: core.instance(),
        failure,
        durable: journal_end(core.store.durable_end()),
        keys: core.handle_keys_version(),
    }
}

/// Registers; how long the lease lasts, if it is given one.
async fn register(core: &Core, link: &Link, portrait: &SelfPortrait) -> Result<Option<u32>, AskError> {
    let (usage, claim) = (core.usage(), core.store.claim().await);
    let register = Register {
        found: journal_end(claim.found),
        is_loss_accepted: claim.is_loss_accepted,
        uuid: core.store.uuid(),
        instance: core.instance(),
        addresses: portrait.addresses.clone(),
        control: portrait.control.clone(),
        capacity_bytes: usage.capacity_bytes,
        used_bytes: usage.used_bytes,
        zone: portrait.domain.zone.clone(),
        rack: portrait.domain.rack.clone(),
        host: portrait.domain.host.clone(),
        name: portrait.name.clone(),
    };
    let sent_ms = core.lease_now_ms();
    let registered: Registered = link.ask(Procedure::Register, &register).await?;
    let keys = opened(link, &registered.keys)?;
    core.identify(DataServerId(registered.server), keys, registered.keys.version);
    core.handle_clock.set(registered.clock_ms, sent_ms);
    core.set_seal_idle_ms(registered.seal_idle_ms);
    core.directory.replace(registered.directory);
    if let Some(acknowledged) = registered.behind {
        core.set_behind(journal_end(claim.found), acknowledged);
        return Ok(None);
    }
    if !note_judgement(core).await || registered.lease_ms == 0 {
        return Ok(None);
    }
    learn_exports(core, link, registered.exports, sent_ms, CONTROL_CALL_MS_MAX).await?;
    let lease_ms = registered.lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX);
    core.lease.renew(sent_ms, lease_ms, core.lease_now_ms());
    tracing::info!(server = registered.server, lease_ms, "registered");
    Ok(Some(lease_ms))
}

/// Notes that nothing is missing in the store; `false` if that is not on stable storage.
///
/// Without that no lease is used: what is written under one raises the mark of the store, and the
/// next start would still say that it found as little as this one, and seem to lack it.
async fn note_judgement(core: &Core) -> bool {
    match core.store.judged().await {
        Ok(()) => core.set_complete(),
        // Room may come back.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::debug!(%error, "no room to note that nothing is missing in the store");
            return false;
        }
        Err(error) => {
            core.fail(&format!("cannot note that nothing is missing in the store: {error}"));
            return false;
        }
    }
    true
}

/// The handle keys of an answer.
fn opened(link: &Link, told: &HandleKeys) -> Result<Vec<HandleKey>, AskError> {
    let peer = link.peer().ok_or(AskError::Seal)?;
    let open = |one: &NumberedKey| {
        let number = u8::try_from(one.number).map_err(|_| AskError::Seal)?;
        let bytes = one.key.open(&peer.secret).map_err(|_| AskError::Seal)?;
        Ok(HandleKey::numbered(number, bytes))
    };
    told.keys.iter().map(open).collect()
}

/// Learns the exports if they are of another version than those here; they are the cluster's as of
/// `asked_ms`.
async fn learn_exports(
    core: &Core,
    link: &Link,
    version: u64,
    asked_ms: u64,
    ms_max: u64,
) -> Result<(), AskError> {
    if core.exports_version() != Some(version) {
        core.currency.doubt(asked_ms);
        let told: Admitted = link.ask_within(Procedure::Admitted, &Nothing, ms_max).await?;
        core.set_admits(Admits::of(&told).map_err(|_| AskError::Exports)?);
    }
    core.currency.confirm(asked_ms);
    Ok(())
}

/// What a renewal brought beside the lease. A question that it leads to must be answered within
/// `ms_max`, as the renewal itself: the next one waits for that.
async fn learn(
    core: &Core,
    link: &Link,
    renewed: Renewed,
    asked_ms: u64,
    ms_max: u64,
) -> Result<(), AskError> {
    core.set_seal_idle_ms(renewed.seal_idle_ms);
    core.handle_clock.set(renewed.clock_ms, asked_ms);
    if let Some(directory) = renewed.directory {
        core.directory.replace(directory);
    }
    let keys = renewed
        .keys
        .map_or(Ok(()), |told| opened(link, &told).map(|keys| core.set_handle_keys(keys, told.version)));
    // Also after keys that cannot be opened: a list of exports that is out of force is to be known
    // as such.
    learn_exports(core, link, renewed.exports, asked_ms, ms_max).await?;
    keys
}

/// Returns when a heartbeat is due: after `pause_ms`; soon after more of the journal than was `told`
/// is on stable storage; or when the disk has failed.
async fn wait_for_heartbeat(core: &Core, pause_ms: u64, told: JournalEnd) {
    let until_ms = core.env.clock.monotonic_ms() + pause_ms;
    loop {
        let left_ms = until_ms.saturating_sub(core.env.clock.monotonic_ms());
        tokio::select! {
            () = core.env.clock.sleep_ms(left_ms.min(DURABLE_TOLD_MS)) => {}
            () = core.fails() => return,
        }
        let is_news = journal_end(core.store.durable_end()) != told;
        if is_news || until_ms <= core.env.clock.monotonic_ms() {
            return;
        }
    }
}

/// Sends heartbeats until one fails for good. One that the metadata server put off, or did not
/// answer where it is the only one, is sent again while the lease holds: to register would take
/// longer.
async fn renew(core: &Core, link: &Link, mut lease_ms: u32, alone: bool) -> AskError {
    let mut told = JournalEnd::default();
    loop {
        wait_for_heartbeat(core, used_ms(lease_ms) / HEARTBEAT_PARTS, told).await;
        if core.failure().is_some() {
            return AskError::Failed;
        }
        let heartbeat = heartbeat(core);
        told = heartbeat.durable;
        let sent_ms = core.lease_now_ms();
        // A metadata server that is silent must leave time to ask another one before the lease is
        // over.
        let ms_max = (used_ms(lease_ms) / 3).min(CONTROL_CALL_MS_MAX);
        match link.ask_within::<Renewed>(Procedure::Heartbeat, &heartbeat, ms_max).await {
            Ok(renewed) => {
                lease_ms = renewed.lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX);
                core.lease.renew(sent_ms, lease_ms, core.lease_now_ms());
                if let Err(error) = learn(core, link, renewed, sent_ms, ms_max).await {
                    static RATE: LogRate = LogRate::new();
                    if let Some(suppressed) = RATE.admit(core.env.clock.monotonic_ms()) {
                        tracing::warn!(%error, suppressed, "new handle keys or exports not learnt: asked again with the next heartbeat");
                    }
                }
            }
            Err(error) => {
                let may_pass = match &error {
                    AskError::Refused(Refusal::Busy) => true,
                    AskError::Call(_) => alone,
                    AskError::Refused(_) | AskError::Seal | AskError::Failed | AskError::Exports => false,
                };
                if !may_pass || !core.lease.holds(core.lease_now_ms()) {
                    return error;
                }
                tracing::debug!(%error, "a lease is not renewed yet");
            }
        }
    }
}
