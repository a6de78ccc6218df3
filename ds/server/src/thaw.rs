//! Telling a metadata server that something lies above an image, before the first WRITE that does;
//! and that bytes of an extent are promised, before the first of them are.
//!
//! A WRITE that is admitted above an image of which nobody was told gives its place back, waits
//! until somebody was, and is admitted again. It is asked then and not before it had a place: an
//! image may come into use in between. And it is not written meanwhile: WRITEs may hide all of an
//! image, and then neither this journal nor a backup's shows any more that somebody is to be told.
//!
//! INVARIANT: no WRITE of a client that lies above an image that was in use when it was admitted is
//! in a journal, here or on a backup, before a metadata server has answered a THAW of that image.
//! No WRITE or COMMIT of an extent is called stable before a metadata server has answered a PROMISE
//! of it. One THAW, and one PROMISE, of an extent is under way at a time.
//! Spec: docs/protocol/seal.md §8, §12.

mod under_way;

use std::collections::hash_map::Entry;
use std::sync::Arc;

use ds_store::Ticket;
use layout::{Epoch, ExtentId};
use tokio::sync::watch;
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::images::{Promise, Thaw};
use wire_nfs::control::{Nothing, Procedure, Refusal};

use crate::copies::{self, SettleError};
use crate::core::Core;
use crate::limits::{SETTLE_MS_MAX, THAW_PAUSE_MS, THAWS_MAX};
use crate::link::AskError;
pub(crate) use under_way::Thaws;
use under_way::{About, Answer};

type Says = watch::Sender<Option<Result<(), SettleError>>>;

/// What is to be told.
#[derive(Clone, Copy, Debug)]
struct Word {
    extent: ExtentId,
    what: What,
    /// The highest epoch that is known while we still may be home.
    epoch: Epoch,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// That an act with this sequence lies above the image with that one.
    Thaw { image: u64, sequence: u64 },
    /// That something is promised.
    Promise,
}

impl Word {
    fn about(&self) -> (ExtentId, About) {
        match self.what {
            What::Thaw { .. } => (self.extent, About::Thaw),
            What::Promise => (self.extent, About::Promise),
        }
    }

    /// Whether it need not be told any more.
    fn is_known(&self, core: &Core) -> bool {
        match self.what {
            What::Thaw { image, .. } => core.store.frozen(self.extent) != Some(image),
            What::Promise => core.thaws.may_promise(self.extent),
        }
    }

    /// A metadata server was told.
    fn is_heard(&self, core: &Core) {
        match self.what {
            What::Thaw { image, sequence } => {
                core.store.thawed(self.extent, image);
                core.images.metrics.thawed.inc();
                tracing::debug!(extent = %self.extent, sequence, "something lies above the image");
            }
            What::Promise => core.thaws.promised(self.extent),
        }
    }
}

/// A WRITE came, and a stable answer will follow: the metadata server is told while the bytes are
/// on their way, so that the answer waits less.
pub(crate) fn begin_to_promise(core: &Arc<Core>, extent: ExtentId) {
    if !core.thaws.may_promise(extent) {
        // One that promises will ask again.
        drop(begin(core, promise(core, extent)));
    }
}

/// Waits until the log says that something of the extent may be promised.
///
/// # Errors
/// Any [`SettleError`] but `NoSpace`.
pub(crate) async fn may_promise(core: &Arc<Core>, extent: ExtentId) -> Result<(), SettleError> {
    if core.thaws.may_promise(extent) { Ok(()) } else { told(core, promise(core, extent)).await }
}

fn promise(core: &Core, extent: ExtentId) -> Word {
    Word { extent, what: What::Promise, epoch: core.store.size(extent).epoch }
}

/// A WRITE has its place above this image, and gives it back: waits until it may ask for another
/// one.
///
/// # Errors
/// Any [`SettleError`] but `NoSpace`.
pub(crate) async fn wait(
    core: &Arc<Core>,
    extent: ExtentId,
    image: u64,
    place: Ticket,
) -> Result<(), SettleError> {
    let sequence = place.sequence();
    // FENCE, CUT and USE wait for whoever has a place.
    drop(place);
    // At least the handle's: it was admitted.
    let epoch = core.store.size(extent).epoch;
    told(core, Word { extent, what: What::Thaw { image, sequence }, epoch }).await
}

/// Waits until a metadata server was told, by whomever.
async fn told(core: &Arc<Core>, word: Word) -> Result<(), SettleError> {
    let late = core.env.clock.sleep_ms(SETTLE_MS_MAX);
    tokio::pin!(late);
    loop {
        let Some(mut answer) = begin(core, word)? else { return Ok(()) };
        let answered = async { answer.wait_for(Option::is_some).await.ok().and_then(|answer| *answer) };
        tokio::select! {
            answer = answered => match answer {
                // It was given up for want of others who wait, when we came.
                Some(Err(SettleError::Late)) => {}
                Some(outcome) => return outcome,
                // The task was dropped: the process is ending.
                None => return Err(SettleError::Late),
            },
            () = &mut late => return Err(SettleError::Late),
        }
    }
}

/// Has it told, unless somebody is at it; `None` if that was done meanwhile.
fn begin(core: &Arc<Core>, word: Word) -> Result<Option<Answer>, SettleError> {
    let mut under_way = core.thaws.under_way.lock();
    let among = under_way.len();
    match under_way.entry(word.about()) {
        Entry::Occupied(known) => Ok(Some(known.get().clone())),
        // Whoever told it has said so to the store before it left the table.
        Entry::Vacant(_) if word.is_known(core) => Ok(None),
        Entry::Vacant(_) if THAWS_MAX <= among => Err(SettleError::Late),
        Entry::Vacant(place) => {
            let (says, answer) = watch::channel(None);
            place.insert(answer.clone());
            // A task of its own: whoever asked first may go away, others wait for the same.
            let core = Arc::clone(core);
            tokio::spawn(async move {
                let outcome = tell(&core, word, &says).await;
                core.thaws.under_way.lock().remove(&word.about());
                // Nobody may wait any more.
                let _ = says.send(Some(outcome));
            });
            Ok(Some(answer))
        }
    }
}

/// Tells it until it is heard, or nobody waits any more: the table waits, too.
async fn tell(core: &Core, word: Word, says: &Says) -> Result<(), SettleError> {
    let Word { extent, epoch, .. } = word;
    loop {
        match ask(core, word).await {
            Some(Ok(_)) => {
                word.is_heard(core);
                return Ok(());
            }
            Some(Err(AskError::Refused(Refusal::NotHome))) => {
                copies::depose(core, extent, epoch).await;
                return Err(SettleError::Deposed);
            }
            Some(Err(error)) => tracing::debug!(%extent, %error, "no metadata server hears of a WRITE"),
            None => {}
        }
        if says.receiver_count() <= 1 {
            return Err(SettleError::Late);
        }
        core.env.clock.sleep_ms(THAW_PAUSE_MS).await;
    }
}

/// One call; `None` if there is no metadata server to call.
async fn ask(core: &Core, word: Word) -> Option<Result<Nothing, AskError>> {
    let _turn = core.thaws.calls.acquire().await.ok()?;
    let (link, server) = (core.directory.metadata()?, core.server()?.0);
    let extent = ExtentName { ino: word.extent.ino, index: word.extent.index };
    Some(match word.what {
        What::Thaw { sequence, .. } => {
            link.ask::<Nothing>(Procedure::Thaw, &Thaw { server, extent, sequence }).await
        }
        What::Promise => link.ask::<Nothing>(Procedure::Promise, &Promise { server, extent }).await,
    })
}
