//! Reports to a metadata server that something lies above an image, before the first WRITE that
//! does; and that bytes of an extent are promised, before the first of them are.
//!
//! A WRITE that is admitted above an image of which no metadata server was told gives its place
//! back, waits until one was, and is admitted again. It is checked after it has a place and not
//! before: an image may come into use in between. And it is not written meanwhile: WRITEs may hide
//! all of an image, and then neither this journal nor a replica's shows any more that a metadata
//! server is to be told.
//!
//! INVARIANT: no WRITE of a client that lies above an image that was in use when it was admitted is
//! in a journal, here or on a replica, before a metadata server has answered a THAW of that image.
//! No answer to a WRITE or COMMIT of an extent says stable before a metadata server has answered a
//! PROMISE of it. One THAW, and one PROMISE, of an extent is under way at a time.
//! Spec: docs/protocol/seal.md §8, §12.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ds_store::{Store, Ticket};
use layout::{Epoch, ExtentId};
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Semaphore, watch};
use wire_nfs::control::images::{Promise, Thaw};
use wire_nfs::control::{Nothing, Procedure, Refusal};

use crate::copies::{Replication, SettleError};
use crate::directory::Directory;
use crate::limits::{PROMISED_KNOWN_MAX, SETTLE_MS_MAX, THAW_CALLS_MAX, THAW_PAUSE_MS, THAWS_MAX};
use crate::link::{AskError, extent_name};

/// The outcome that requests wait for; `None` as long as there is none.
type Outcome = Option<Result<(), SettleError>>;

/// The THAWs and PROMISEs under way, and what is known to be promised.
pub(crate) struct Thaws {
    store: Store,
    directory: Arc<Directory>,
    replication: Arc<Replication>,
    under_way: Mutex<HashMap<(ExtentId, About), watch::Receiver<Outcome>>>,
    calls: Semaphore,
    /// Extents of which the log says that something may be promised. It never says otherwise again.
    /// Each WRITE and COMMIT looks here, and next to none adds to it.
    promised: RwLock<HashSet<ExtentId>>,
    thawed: Counter,
}

/// The subject of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum About {
    Thaw,
    Promise,
}

/// What a metadata server is to be told.
#[derive(Clone, Copy, Debug)]
struct Report {
    extent: ExtentId,
    what: What,
    /// The highest epoch that is known while this server still may be primary.
    epoch: Epoch,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// That an act with this sequence lies above the image with that one.
    Thaw { image: u64, sequence: u64 },
    /// That something is promised.
    Promise,
}

impl Report {
    fn key(&self) -> (ExtentId, About) {
        match self.what {
            What::Thaw { .. } => (self.extent, About::Thaw),
            What::Promise => (self.extent, About::Promise),
        }
    }
}

impl Thaws {
    /// `thawed` counts images above which something was written.
    pub(crate) fn new(
        store: Store,
        directory: Arc<Directory>,
        replication: Arc<Replication>,
        thawed: Counter,
    ) -> Self {
        let (under_way, promised) = (Mutex::default(), RwLock::default());
        let calls = Semaphore::new(THAW_CALLS_MAX);
        Self { store, directory, replication, under_way, calls, promised, thawed }
    }

    /// Starts the PROMISE of an extent, if it is still to be made: a WRITE came, and a stable
    /// answer will follow. The metadata server is told while the bytes are on their way, so that
    /// the answer waits less.
    pub(crate) fn start_promise(self: &Arc<Self>, extent: ExtentId) {
        if !self.is_promised(extent) {
            // A request that promises will ask again.
            drop(self.start_report(self.promise(extent)));
        }
    }

    /// Waits until the log says that something of the extent may be promised.
    ///
    /// # Errors
    /// Any [`SettleError`] but `NoSpace`.
    pub(crate) async fn wait_for_promise(self: &Arc<Self>, extent: ExtentId) -> Result<(), SettleError> {
        if self.is_promised(extent) {
            return Ok(());
        }
        self.wait_for_report(self.promise(extent)).await
    }

    /// Waits until a metadata server knows that something lies above an image. The WRITE whose
    /// `place` lies above it gives the place back, and may ask for another one afterwards.
    ///
    /// # Errors
    /// Any [`SettleError`] but `NoSpace`.
    pub(crate) async fn wait_for_thaw(
        self: &Arc<Self>,
        extent: ExtentId,
        image: u64,
        place: Ticket,
    ) -> Result<(), SettleError> {
        let sequence = place.sequence();
        assert!(image < sequence, "a WRITE that comes after an image lies above it");
        // FENCE, CUT and USE wait for every WRITE that has a place.
        drop(place);
        // At least the handle's: the WRITE was admitted.
        let epoch = self.store.size(extent).epoch;
        self.wait_for_report(Report { extent, what: What::Thaw { image, sequence }, epoch }).await
    }

    fn promise(&self, extent: ExtentId) -> Report {
        Report { extent, what: What::Promise, epoch: self.store.size(extent).epoch }
    }

    fn is_promised(&self, extent: ExtentId) -> bool {
        self.promised.read().contains(&extent)
    }

    fn note_promised(&self, extent: ExtentId) {
        let mut promised = self.promised.write();
        // To forget costs one PROMISE for each extent.
        if PROMISED_KNOWN_MAX <= promised.len() {
            promised.clear();
        }
        promised.insert(extent);
        assert!(promised.len() <= PROMISED_KNOWN_MAX, "what is remembered is bounded");
    }

    /// Whether a metadata server need not be told any more.
    fn is_known(&self, report: &Report) -> bool {
        match report.what {
            What::Thaw { image, .. } => self.store.frozen(report.extent) != Some(image),
            What::Promise => self.is_promised(report.extent),
        }
    }

    /// Notes that a metadata server was told.
    fn note_told(&self, report: &Report) {
        match report.what {
            What::Thaw { image, sequence } => {
                self.store.thawed(report.extent, image);
                self.thawed.inc();
                tracing::debug!(
                    extent = %report.extent, sequence,
                    "something lies above the image"
                );
            }
            What::Promise => self.note_promised(report.extent),
        }
    }

    /// Waits until a metadata server was told, for this request or another one.
    async fn wait_for_report(self: &Arc<Self>, report: Report) -> Result<(), SettleError> {
        let late = self.replication.clock.sleep_ms(SETTLE_MS_MAX);
        tokio::pin!(late);
        loop {
            let Some(mut answer) = self.start_report(report)? else { return Ok(()) };
            let answered = async { answer.wait_for(Option::is_some).await.ok().and_then(|answer| *answer) };
            tokio::select! {
                answer = answered => match answer {
                    // The task gave up for want of other requests that wait, when this one came.
                    Some(Err(SettleError::Late)) => {}
                    Some(outcome) => return outcome,
                    // The task was dropped: the process is ending.
                    None => return Err(SettleError::Late),
                },
                () = &mut late => return Err(SettleError::Late),
            }
        }
    }

    /// Starts a task that reports, unless one is at work; `None` if a metadata server was told
    /// meanwhile.
    fn start_report(
        self: &Arc<Self>,
        report: Report,
    ) -> Result<Option<watch::Receiver<Outcome>>, SettleError> {
        let mut under_way = self.under_way.lock();
        let among = under_way.len();
        assert!(among <= THAWS_MAX, "reports under way are bounded");
        match under_way.entry(report.key()) {
            Entry::Occupied(known) => Ok(Some(known.get().clone())),
            // The task that told it has noted so before it left the table.
            Entry::Vacant(_) if self.is_known(&report) => Ok(None),
            Entry::Vacant(_) if THAWS_MAX <= among => Err(SettleError::Late),
            Entry::Vacant(place) => {
                let (says, answer) = watch::channel(None);
                place.insert(answer.clone());
                // A task of its own: the request that asked first may go away, others wait for the
                // same report.
                let thaws = Arc::clone(self);
                tokio::spawn(async move {
                    let outcome = thaws.report_until_told(report, &says).await;
                    let left = thaws.under_way.lock().remove(&report.key());
                    assert!(left.is_some(), "a report stays in the table until its task ends");
                    // No request may wait any more.
                    let _ = says.send(Some(outcome));
                });
                Ok(Some(answer))
            }
        }
    }

    /// Reports until a metadata server was told, or only the table's receiver is left.
    async fn report_until_told(
        &self,
        report: Report,
        says: &watch::Sender<Outcome>,
    ) -> Result<(), SettleError> {
        let Report { extent, epoch, .. } = report;
        loop {
            match self.report_once(report).await {
                Some(Ok(_)) => {
                    self.note_told(&report);
                    return Ok(());
                }
                Some(Err(AskError::Refused(Refusal::NotHome))) => {
                    self.replication.depose_extent(extent, epoch).await;
                    return Err(SettleError::Deposed);
                }
                Some(Err(error)) => tracing::debug!(
                    %extent, %error,
                    "no metadata server hears of a WRITE"
                ),
                None => {}
            }
            if says.receiver_count() <= 1 {
                return Err(SettleError::Late);
            }
            self.replication.clock.sleep_ms(THAW_PAUSE_MS).await;
        }
    }

    /// One call; `None` if there is no metadata server to call.
    async fn report_once(&self, report: Report) -> Option<Result<Nothing, AskError>> {
        let _turn = self.calls.acquire().await.ok()?;
        let (link, server) = (self.directory.metadata()?, self.directory.own()?.0);
        let extent = extent_name(report.extent);
        Some(match report.what {
            What::Thaw { sequence, .. } => {
                link.ask::<Nothing>(Procedure::Thaw, &Thaw { server, extent, sequence }).await
            }
            What::Promise => link.ask::<Nothing>(Procedure::Promise, &Promise { server, extent }).await,
        })
    }
}
