//! Shows the images here to metadata servers, and carries out their decisions.
//!
//! One task asks, so there are never two questions about one image under way.
//!
//! INVARIANT: a file is deleted only when a metadata server has said so in answer to a question
//! that is younger than whatever last made the file, and only while the journal does not use it.
//! Spec: docs/protocol/seal.md §2.

use std::sync::Arc;

use ds_image::{DeleteError, ImageId, ImageSum, StoredImage};
use ds_store::Store;
use env::Clock;
use futures_util::stream::{FuturesUnordered, StreamExt};
use layout::Epoch;
use wire_nfs::control::Procedure;
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::images::{ImageWord, ImageWords, ShowImages, ShownImage, Standing};
use wire_nfs::control::limits::IMAGES_MAX;

use super::known::{Entry, Facts, Sealing, Shown, read_sealing};
use super::uses::{NotUsed, Uses};
use crate::copies::CopyTable;
use crate::directory::Directory;
use crate::images::shelf::Shelf;
use crate::lease::Serving;
use crate::limits::{
    SAY_AGAIN_MS, SAY_ROUND_MAX, SEAL_AGAIN_MS, SEAL_PERIOD_MS, SHOW_PERIOD_MS, SHOW_WAITING_MS, USES_MAX,
};
use crate::link::extent_name;
use crate::space::Space;

/// Shows images to metadata servers.
pub(crate) struct Reporter {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) table: Arc<CopyTable>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) space: Arc<Space>,
    pub(crate) uses: Uses,
}

/// A question about one image.
struct Question {
    shown: ShownImage,
    sealing: Option<Sealing>,
}

impl Question {
    fn image(&self) -> ImageId {
        ImageId(self.shown.image)
    }

    fn about_parity(image: ImageId, payload_bytes: u32, sum: ImageSum) -> Self {
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
        Self { shown, sealing: None }
    }

    fn about_extent(
        sealing: &Sealing,
        standing: Standing,
        (epoch, sequence): (Epoch, u64),
        sum: ImageSum,
    ) -> Self {
        assert_ne!(standing, Standing::Parity, "parity is of no extent");
        let shown = ShownImage {
            image: sealing.image.image.0,
            standing,
            extent: extent_name(sealing.extent),
            epoch: epoch.0,
            sequence,
            content_bytes: sealing.image.content_bytes,
            file_bytes: sealing.image.file_bytes,
            sum: sum.0,
            root: sealing.image.root,
        };
        Self { shown, sealing: Some(*sealing) }
    }
}

impl Reporter {
    /// Shows images, for ever.
    pub(crate) async fn show_images(self) {
        let mut list_due_ms = 0;
        loop {
            self.clock.sleep_ms(SEAL_PERIOD_MS).await;
            if !self.serving.is_serving() || self.directory.metadata().is_none() {
                continue;
            }
            let now_ms = self.clock.monotonic_ms();
            if self.shown.take_look_due() || list_due_ms <= now_ms {
                list_due_ms = now_ms + SHOW_PERIOD_MS;
                let absent = self.find_absent().await;
                self.shown.list_images(&self.shelf.dir, &absent);
            }
            self.show_due(now_ms).await;
        }
    }

    /// The images in use, but not here, of extents that this server may be primary of: of a primary
    /// that was a replica a moment ago, no metadata server may have heard yet that it uses an
    /// image.
    async fn find_absent(&self) -> Vec<Sealing> {
        let mut found = Vec::new();
        for extent in self.table.extents() {
            // The scrub looks after a record that cannot be read.
            let Ok(Some((sequence, image))) = self.store.image(extent).await else { continue };
            if !self.shelf.dir.contains(image.image) {
                found.push(Sealing { extent, epoch: Epoch(0), sequence, image });
            }
        }
        found
    }

    /// Asks about all images that are due.
    async fn show_due(&self, now_ms: u64) {
        let (mut questions, mut says) = (Vec::new(), 0);
        for image in self.shown.due_images(now_ms) {
            if let Some(question) = self.question_about(image, now_ms, &mut says).await {
                questions.push(question);
            }
            if questions.len() == IMAGES_MAX {
                self.ask_questions(std::mem::take(&mut questions)).await;
            }
        }
        if !questions.is_empty() {
            self.ask_questions(questions).await;
        }
    }

    /// The question about an image, if there is one.
    async fn question_about(&self, image: ImageId, now_ms: u64, says: &mut usize) -> Option<Question> {
        let shown = &self.shown;
        let entry = shown.find_entry(image)?;
        let later = |ms: u64| shown.delay_report(image, now_ms + ms);
        let Some(facts) = self.read_facts(image, &entry).await else {
            later(SHOW_PERIOD_MS);
            return None;
        };
        let (sealing, sum) = match facts {
            Facts::Parity { payload_bytes, sum } => {
                return Some(Question::about_parity(image, payload_bytes, sum));
            }
            Facts::Extent(sealing, sum) => (sealing, sum),
        };
        match self.store.is_image_used(sealing.extent, image).await {
            Err(_) => {
                later(SHOW_PERIOD_MS);
                None
            }
            Ok(false) if entry.absent => {
                shown.remove_entry(image);
                None
            }
            Ok(false) => {
                shown.change_entry(image, |entry| (entry.said, entry.noted) = (None, false));
                let Some(sum) = self.read_sum(image, sum).await else {
                    later(SHOW_PERIOD_MS);
                    return None;
                };
                let place = (sealing.epoch, sealing.sequence);
                Some(Question::about_extent(&sealing, Standing::Unused, place, sum))
            }
            Ok(true) if entry.noted => {
                later(SHOW_PERIOD_MS);
                None
            }
            Ok(true) => {
                let epoch = self.confirm_use(image, &entry, &sealing, now_ms, says).await?;
                // Only now: THAW tells of every WRITE that is admitted from here on.
                let Some(above) = self.find_above(&sealing).await else {
                    later(SEAL_PERIOD_MS);
                    return None;
                };
                let sum = sum.unwrap_or(ImageSum([0; 32]));
                Some(Question::about_extent(&sealing, Standing::Used, (epoch, above), sum))
            }
        }
    }

    /// The epoch of the set that uses the image, once every server of it does.
    async fn confirm_use(
        &self,
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
        match self.uses.confirm_use(sealing.extent, &sealing.image).await {
            Ok(epoch) => {
                self.shown.change_entry(image, |entry| entry.said = Some(epoch));
                Some(epoch)
            }
            Err(why) => {
                let ms = if why == NotUsed::NotPrimary { SEAL_AGAIN_MS } else { SHOW_WAITING_MS };
                self.shown.delay_report(image, now_ms + ms);
                None
            }
        }
    }

    /// The last act above an image that is in use, 0 for none; `None` if it is not in use any more,
    /// or something is under way.
    async fn find_above(&self, sealing: &Sealing) -> Option<u64> {
        let (sequence, used) = self.store.image(sealing.extent).await.ok()??;
        if used.image != sealing.image.image {
            return None;
        }
        let above = self.store.above_image(sealing.extent, sequence)?;
        assert!(above == 0 || sequence < above, "acts above an image have higher sequences");
        Some(above)
    }

    /// What the file says; read once.
    async fn read_facts(&self, image: ImageId, entry: &Entry) -> Option<Facts> {
        if entry.facts.is_some() {
            return entry.facts;
        }
        let facts = match self.shelf.dir.open_any(image).await {
            Ok(StoredImage::Extent(found)) => Facts::Extent(read_sealing(found.info())?, None),
            Ok(StoredImage::Parity(found)) => {
                let payload_bytes = u32::try_from(found.info().payload_bytes).ok()?;
                Facts::Parity { payload_bytes, sum: found.info().sum }
            }
            Err(error) => {
                tracing::warn!(%image, %error, "an image cannot be shown");
                return None;
            }
        };
        self.shown.change_entry(image, |entry| entry.facts = Some(facts));
        Some(facts)
    }

    /// The sum of an extent's image, which its file does not say: all of it is read, once.
    async fn read_sum(&self, image: ImageId, known: Option<ImageSum>) -> Option<ImageSum> {
        if known.is_some() {
            return known;
        }
        let StoredImage::Extent(found) = self.shelf.dir.open_any(image).await.ok()? else { return None };
        let sum =
            found.sum().await.inspect_err(|error| tracing::warn!(%image, %error, "an image is bad")).ok()?;
        self.shown.change_entry(image, |entry| {
            if let Some(Facts::Extent(_, known)) = &mut entry.facts {
                *known = Some(sum);
            }
        });
        Some(sum)
    }

    async fn ask_questions(&self, questions: Vec<Question>) {
        assert!(questions.len() <= IMAGES_MAX, "the questions fit a call");
        let (Some(link), Some(server)) = (self.directory.metadata(), self.directory.own()) else { return };
        let moment = self.shelf.moment();
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
            under_way.push(self.apply_decision(question, word, moment));
        }
        while under_way.next().await.is_some() {}
        self.shelf.forget_touched_before(moment);
    }

    /// Applies the metadata server's decision about an image, which was asked for at `moment`.
    async fn apply_decision(&self, question: &Question, word: ImageWord, moment: u64) {
        let (image, shown) = (question.image(), &self.shown);
        let now_ms = self.clock.monotonic_ms();
        let next = |ms: u64| shown.delay_report(image, now_ms + ms);
        let is_used = question.shown.standing == Standing::Used;
        match word {
            ImageWord::Wait if is_used => {
                // The set may be another one by now: its replicas are to confirm it again.
                shown.change_entry(image, |entry| entry.said = None);
                next(SAY_AGAIN_MS);
            }
            ImageWord::Wait => {
                question.sealing.iter().for_each(|sealing| shown.add_waiting(sealing));
                next(SHOW_WAITING_MS);
            }
            ImageWord::Keep => {
                self.end_waiting(question);
                shown.change_entry(image, |entry| entry.noted = is_used);
                next(SHOW_PERIOD_MS);
            }
            ImageWord::Use => match question.sealing.filter(|_| !is_used) {
                Some(sealing) => next(self.use_image(&sealing).await),
                None => next(SHOW_PERIOD_MS),
            },
            ImageWord::Delete if is_used => next(SHOW_PERIOD_MS),
            ImageWord::Delete => {
                self.end_waiting(question);
                next(SHOW_WAITING_MS);
                self.delete_image(question, moment).await;
            }
        }
    }

    /// Puts an image into use; answers when it is to be shown again.
    async fn use_image(&self, sealing: &Sealing) -> u64 {
        let (image, shown) = (sealing.image.image, &self.shown);
        match self.uses.use_image(sealing).await {
            Ok(epoch) => {
                assert_eq!(epoch, sealing.epoch, "the set is the one that the image was made of");
                shown.change_entry(image, |entry| entry.said = Some(epoch));
                shown.end_waiting(sealing);
                // What comes above it may be sealed again.
                self.store.defer_sealing(sealing.extent, 0);
                // Where nothing of it shows it is not used, and not to be asked about all the time.
                match self.store.is_image_used(sealing.extent, image).await {
                    Ok(true) => 0,
                    Ok(false) | Err(_) => SHOW_PERIOD_MS,
                }
            }
            Err(NotUsed::Later) => SHOW_WAITING_MS,
            Err(NotUsed::NotPrimary) => SHOW_PERIOD_MS,
            Err(NotUsed::Outdated) => {
                // It never will be: the extent may be sealed again.
                shown.end_waiting(sealing);
                self.store.defer_sealing(sealing.extent, 0);
                SHOW_PERIOD_MS
            }
        }
    }

    /// Notes that an image which waited for its group waits no more: its extent may be sealed
    /// again.
    fn end_waiting(&self, question: &Question) {
        if let Some(sealing) = question.sealing.filter(|sealing| self.shown.end_waiting(sealing)) {
            self.store.defer_sealing(sealing.extent, 0);
        }
    }

    async fn delete_image(&self, question: &Question, moment: u64) {
        let image = question.image();
        assert_ne!(question.shown.standing, Standing::Used, "an image in use is not deleted");
        if self.shelf.was_touched_since(image, moment) {
            return;
        }
        if let Some(sealing) = question.sealing
            && !matches!(self.store.is_image_used(sealing.extent, image).await, Ok(false))
        {
            return;
        }
        match self.shelf.delete_image(image).await {
            Ok(()) => {
                self.shelf.metrics.deleted.inc();
                self.space.note_images();
            }
            Err(DeleteError::Absent | DeleteError::Busy) => {}
            Err(DeleteError::Io(error)) => tracing::error!(
                %image, %error,
                "an image cannot be deleted"
            ),
        }
    }
}
