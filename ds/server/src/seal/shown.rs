//! What metadata servers are shown of the images here, and what is done about their words.
//!
//! One task asks, so there are never two questions about one image under way.
//!
//! INVARIANT: a file is deleted only when a metadata server has said so in answer to a question
//! that is younger than whatever last made the file, and only while the journal does not use it.
//! Spec: docs/protocol/seal.md §2.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ds_image::{DeleteError, ImageId, ImageSum, StoredImage};
use futures_util::stream::{FuturesUnordered, StreamExt};
use layout::Epoch;
use wire_nfs::control::Procedure;
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::images::{ImageWord, ImageWords, ShowImages, ShownImage, Standing};
use wire_nfs::control::limits::IMAGES_MAX;

use super::known::{Entry, Facts, Sealing, sealing};
use super::uses::{self, NotUsed};
use crate::core::Core;
use crate::limits::{
    SAY_AGAIN_MS, SAY_ROUND_MAX, SEAL_AGAIN_MS, SEAL_PERIOD_MS, SHOW_PERIOD_MS, SHOW_WAITING_MS, USES_MAX,
};

/// Something to be asked about.
struct Question {
    shown: ShownImage,
    sealing: Option<Sealing>,
}

impl Question {
    fn image(&self) -> ImageId {
        ImageId(self.shown.image)
    }
}

/// The images in use, but not here, of extents that we may be home of: of a home that was a backup
/// a moment ago, no metadata server may have heard yet that it uses an image.
async fn in_use_elsewhere(core: &Core) -> Vec<Sealing> {
    let mut found = Vec::new();
    for extent in core.copies.extents() {
        // One that cannot be read is somebody else's trouble.
        let Ok(Some((sequence, image))) = core.store.image(extent).await else { continue };
        if !core.images.dir.contains(image.image) {
            found.push(Sealing { extent, epoch: Epoch(0), sequence, image });
        }
    }
    found
}

/// Shows images, for ever.
pub(crate) async fn run(core: Arc<Core>) {
    let mut whole_ms = 0;
    loop {
        core.env.clock.sleep_ms(SEAL_PERIOD_MS).await;
        if !core.is_serving() || core.directory.metadata().is_none() {
            continue;
        }
        let now_ms = core.env.clock.monotonic_ms();
        if core.shown.look.swap(false, Ordering::Relaxed) || whole_ms <= now_ms {
            whole_ms = now_ms + SHOW_PERIOD_MS;
            let absent = in_use_elsewhere(&core).await;
            core.shown.look(&core.images.dir, &absent);
        }
        round(&core, now_ms).await;
    }
}

/// Asks about all that are due.
async fn round(core: &Arc<Core>, now_ms: u64) {
    let (mut questions, mut says) = (Vec::new(), 0);
    for image in core.shown.due(now_ms) {
        if let Some(question) = question(core, image, now_ms, &mut says).await {
            questions.push(question);
        }
        if questions.len() == IMAGES_MAX {
            ask(core, std::mem::take(&mut questions)).await;
        }
    }
    if !questions.is_empty() {
        ask(core, questions).await;
    }
}

/// What is to be asked about an image, if anything.
async fn question(core: &Arc<Core>, image: ImageId, now_ms: u64, says: &mut usize) -> Option<Question> {
    let entry = core.shown.entries.lock().get(&image).copied()?;
    let later = |ms: u64| core.shown.put_off(image, now_ms + ms);
    let Some(facts) = facts(core, image, &entry).await else {
        later(SHOW_PERIOD_MS);
        return None;
    };
    let (sealing, sum) = match facts {
        Facts::Parity { payload_bytes, sum } => return Some(parity(image, payload_bytes, sum)),
        Facts::Extent(sealing, sum) => (sealing, sum),
    };
    let used = core.store.is_image_used(sealing.extent, image).await;
    match used {
        Err(_) => {
            later(SHOW_PERIOD_MS);
            None
        }
        Ok(false) if entry.absent => {
            core.shown.entries.lock().remove(&image);
            None
        }
        Ok(false) => {
            core.shown.with(image, |entry| (entry.said, entry.noted) = (None, false));
            let Some(sum) = sum_of(core, image, sum).await else {
                later(SHOW_PERIOD_MS);
                return None;
            };
            Some(of_extent(&sealing, Standing::Unused, (sealing.epoch, sealing.sequence), sum))
        }
        Ok(true) if entry.noted => {
            later(SHOW_PERIOD_MS);
            None
        }
        Ok(true) => {
            let epoch = said(core, image, &entry, &sealing, now_ms, says).await?;
            // Only now: whatever is admitted from here on is told with THAW.
            let Some(above) = above(core, &sealing).await else {
                later(SEAL_PERIOD_MS);
                return None;
            };
            let sum = sum.unwrap_or(ImageSum([0; 32]));
            Some(of_extent(&sealing, Standing::Used, (epoch, above), sum))
        }
    }
}

/// The epoch of the set that uses the image, once every server of it does.
async fn said(
    core: &Arc<Core>,
    image: ImageId,
    entry: &Entry,
    sealing: &Sealing,
    now_ms: u64,
    says: &mut usize,
) -> Option<Epoch> {
    if entry.said.is_some() {
        return entry.said;
    }
    if *says == SAY_ROUND_MAX {
        return None;
    }
    *says += 1;
    match uses::confirm(core, sealing.extent, &sealing.image).await {
        Ok(epoch) => {
            core.shown.with(image, |entry| entry.said = Some(epoch));
            Some(epoch)
        }
        Err(why) => {
            let ms = if why == NotUsed::NotHome { SEAL_AGAIN_MS } else { SHOW_WAITING_MS };
            core.shown.put_off(image, now_ms + ms);
            None
        }
    }
}

/// The last act above an image that is in use, 0 for none; `None` if it is not in use any more, or
/// something is under way.
async fn above(core: &Core, sealing: &Sealing) -> Option<u64> {
    let (sequence, used) = core.store.image(sealing.extent).await.ok()??;
    if used.image != sealing.image.image {
        return None;
    }
    core.store.above_image(sealing.extent, sequence)
}

fn parity(image: ImageId, payload_bytes: u32, sum: ImageSum) -> Question {
    let shown = ShownImage {
        image: image.0,
        standing: Standing::Parity,
        extent: ExtentName { ino: 0, index: 0 },
        epoch: 0,
        sequence: 0,
        content_bytes: 0,
        file_bytes: payload_bytes,
        sum: sum.0,
        root: [0; 32],
    };
    Question { shown, sealing: None }
}

fn of_extent(
    sealing: &Sealing,
    standing: Standing,
    (epoch, sequence): (Epoch, u64),
    sum: ImageSum,
) -> Question {
    let shown = ShownImage {
        image: sealing.image.image.0,
        standing,
        extent: ExtentName { ino: sealing.extent.ino, index: sealing.extent.index },
        epoch: epoch.0,
        sequence,
        content_bytes: sealing.image.content_bytes,
        file_bytes: sealing.image.file_bytes,
        sum: sum.0,
        root: sealing.image.root,
    };
    Question { shown, sealing: Some(*sealing) }
}

/// What the file says; looked up once.
async fn facts(core: &Core, image: ImageId, entry: &Entry) -> Option<Facts> {
    if entry.facts.is_some() {
        return entry.facts;
    }
    let facts = match core.images.dir.open_any(image).await {
        Ok(StoredImage::Extent(found)) => Facts::Extent(sealing(found.info())?, None),
        Ok(StoredImage::Parity(found)) => {
            let payload_bytes = u32::try_from(found.info().payload_bytes).ok()?;
            Facts::Parity { payload_bytes, sum: found.info().sum }
        }
        Err(error) => {
            tracing::warn!(%image, %error, "an image cannot be shown");
            return None;
        }
    };
    core.shown.with(image, |entry| entry.facts = Some(facts));
    Some(facts)
}

/// The sum of an extent's image, which its file does not say: all of it is read, once.
async fn sum_of(core: &Core, image: ImageId, known: Option<ImageSum>) -> Option<ImageSum> {
    if known.is_some() {
        return known;
    }
    let StoredImage::Extent(found) = core.images.dir.open_any(image).await.ok()? else { return None };
    let sum =
        found.sum().await.inspect_err(|error| tracing::warn!(%image, %error, "an image is bad")).ok()?;
    core.shown.with(image, |entry| {
        if let Some(Facts::Extent(_, known)) = &mut entry.facts {
            *known = Some(sum);
        }
    });
    Some(sum)
}

async fn ask(core: &Arc<Core>, questions: Vec<Question>) {
    let (Some(link), Some(server)) = (core.directory.metadata(), core.server()) else { return };
    let moment = core.images.moment();
    let args = ShowImages { server: server.0, images: questions.iter().map(|one| one.shown).collect() };
    let words = match link.ask::<ImageWords>(Procedure::Images, &args).await {
        Ok(answer) if answer.words.len() == questions.len() => answer.words,
        Ok(_) => return,
        Err(error) => {
            tracing::debug!(%error, "no metadata server tells what images are good for");
            return;
        }
    };
    let mut under_way = FuturesUnordered::new();
    for (question, word) in questions.iter().zip(words) {
        if under_way.len() == USES_MAX {
            under_way.next().await;
        }
        under_way.push(hear(core, question, word, moment));
    }
    while under_way.next().await.is_some() {}
    core.images.forget_touched_before(moment);
}

/// Carries out a word.
async fn hear(core: &Arc<Core>, question: &Question, word: ImageWord, moment: u64) {
    let image = question.image();
    let now_ms = core.env.clock.monotonic_ms();
    let next = |ms: u64| core.shown.put_off(image, now_ms + ms);
    let is_used = question.shown.standing == Standing::Used;
    match word {
        ImageWord::Wait if is_used => {
            // The set may be another one by now: it is to be said again.
            core.shown.with(image, |entry| entry.said = None);
            next(SAY_AGAIN_MS);
        }
        ImageWord::Wait => {
            question.sealing.iter().for_each(|sealing| core.shown.wait(sealing));
            next(SHOW_WAITING_MS);
        }
        ImageWord::Keep => {
            ended(core, question);
            core.shown.with(image, |entry| entry.noted = is_used);
            next(SHOW_PERIOD_MS);
        }
        ImageWord::Use => match question.sealing.filter(|_| !is_used) {
            Some(sealing) => next(begin(core, &sealing).await),
            None => next(SHOW_PERIOD_MS),
        },
        ImageWord::Delete if is_used => next(SHOW_PERIOD_MS),
        ImageWord::Delete => {
            ended(core, question);
            next(SHOW_WAITING_MS);
            delete(core, question, moment).await;
        }
    }
}

/// Puts an image into use; answers when it is to be shown again.
async fn begin(core: &Arc<Core>, sealing: &Sealing) -> u64 {
    let image = sealing.image.image;
    match uses::begin(core, sealing).await {
        Ok(epoch) => {
            core.shown.with(image, |entry| entry.said = Some(epoch));
            core.shown.wait_is_over(sealing);
            // What comes above it may be sealed again.
            core.store.defer_sealing(sealing.extent, 0);
            // Where nothing of it shows it is not used, and not to be asked about all the time.
            match core.store.is_image_used(sealing.extent, image).await {
                Ok(true) => 0,
                Ok(false) | Err(_) => SHOW_PERIOD_MS,
            }
        }
        Err(NotUsed::Later) => SHOW_WAITING_MS,
        Err(NotUsed::NotHome) => SHOW_PERIOD_MS,
        Err(NotUsed::Outdated) => {
            // It never will be: the extent may be sealed again.
            core.shown.wait_is_over(sealing);
            core.store.defer_sealing(sealing.extent, 0);
            SHOW_PERIOD_MS
        }
    }
}

/// An image that waited for its group waits no more: its extent may be sealed again.
fn ended(core: &Core, question: &Question) {
    if let Some(sealing) = question.sealing.filter(|sealing| core.shown.wait_is_over(sealing)) {
        core.store.defer_sealing(sealing.extent, 0);
    }
}

async fn delete(core: &Core, question: &Question, moment: u64) {
    let image = question.image();
    if core.images.was_touched_since(image, moment) {
        return;
    }
    if let Some(sealing) = question.sealing
        && !matches!(core.store.is_image_used(sealing.extent, image).await, Ok(false))
    {
        return;
    }
    match core.images.delete(image).await {
        Ok(()) => {
            core.images.metrics.deleted.inc();
            core.note_images();
        }
        Err(DeleteError::Absent | DeleteError::Busy) => {}
        Err(DeleteError::Io(error)) => tracing::error!(%image, %error, "an image cannot be deleted"),
    }
}
