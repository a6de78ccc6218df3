//! Telling a metadata server that something lies above an image, before the first WRITE that does.
//!
//! A WRITE that is admitted above an image of which nobody was told gives its place back, waits until somebody was, and is admitted
//! again. It is asked then and not before it had a place: an image may come into use in between. And it is not written meanwhile:
//! WRITEs may hide all of an image, and then neither this journal nor a backup's shows any more that somebody is to be told.
//!
//! INVARIANT: no WRITE of a client that lies above an image that was in use when it was admitted is in a journal, here or on a
//! backup, before a metadata server has answered a THAW of that image. One THAW of an extent is under way at a time.
//! Spec: docs/protocol/seal.md §8.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use ds_store::Ticket;
use layout::{Epoch, ExtentId};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::images::Thaw;
use wire_nfs::control::{Nothing, Procedure, Refusal};

use crate::copies::{self, SettleError};
use crate::core::Core;
use crate::limits::{SETTLE_MS_MAX, THAW_CALLS_MAX, THAW_PAUSE_MS, THAWS_MAX};
use crate::link::AskError;

/// Those that wait for the same answer; nothing as long as there is none.
type Answer = watch::Receiver<Option<Result<(), SettleError>>>;
type Says = watch::Sender<Option<Result<(), SettleError>>>;

/// The THAWs under way.
pub(crate) struct Thaws {
    under_way: Mutex<HashMap<ExtentId, Answer>>,
    calls: Semaphore,
}

impl Default for Thaws {
    fn default() -> Self {
        Self { under_way: Mutex::default(), calls: Semaphore::new(THAW_CALLS_MAX) }
    }
}

/// What is to be told.
#[derive(Clone, Copy, Debug)]
struct Word {
    extent: ExtentId,
    /// The sequence of the image.
    image: u64,
    /// That of an act above it.
    sequence: u64,
    /// The highest epoch that is known while we still may be home.
    epoch: Epoch,
}

/// A WRITE has its place above this image, and gives it back: waits until it may ask for another one.
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
    told(core, Word { extent, image, sequence, epoch }).await
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
    match under_way.entry(word.extent) {
        Entry::Occupied(known) => Ok(Some(known.get().clone())),
        // Whoever told it has said so to the store before it left the table.
        Entry::Vacant(_) if core.store.frozen(word.extent) != Some(word.image) => Ok(None),
        Entry::Vacant(_) if THAWS_MAX <= among => Err(SettleError::Late),
        Entry::Vacant(place) => {
            let (says, answer) = watch::channel(None);
            place.insert(answer.clone());
            // A task of its own: whoever asked first may go away, others wait for the same.
            let core = Arc::clone(core);
            tokio::spawn(async move {
                let outcome = tell(&core, word, &says).await;
                core.thaws.under_way.lock().remove(&word.extent);
                // Nobody may wait any more.
                let _ = says.send(Some(outcome));
            });
            Ok(Some(answer))
        }
    }
}

/// Tells it until it is heard, or nobody waits any more: the table waits, too.
async fn tell(core: &Core, word: Word, says: &Says) -> Result<(), SettleError> {
    let Word { extent, image, sequence, epoch } = word;
    while 1 < says.receiver_count() {
        match ask(core, extent, sequence).await {
            Some(Ok(_)) => {
                core.store.thawed(extent, image);
                core.images.metrics.thawed.inc();
                tracing::debug!(%extent, sequence, "something lies above the image");
                return Ok(());
            }
            Some(Err(AskError::Refused(Refusal::NotHome))) => {
                copies::depose(core, extent, epoch).await;
                return Err(SettleError::Deposed);
            }
            Some(Err(error)) => tracing::debug!(%extent, %error, "no metadata server hears of a WRITE"),
            None => {}
        }
        core.env.clock.sleep_ms(THAW_PAUSE_MS).await;
    }
    Err(SettleError::Late)
}

/// One call; `None` if there is nobody to call.
async fn ask(core: &Core, extent: ExtentId, sequence: u64) -> Option<Result<Nothing, AskError>> {
    let _turn = core.thaws.calls.acquire().await.ok()?;
    let (link, server) = (core.directory.metadata()?, core.server()?);
    let extent = ExtentName { ino: extent.ino, index: extent.index };
    let args = Thaw { server: server.0, extent, sequence };
    Some(link.ask::<Nothing>(Procedure::Thaw, &args).await)
}
