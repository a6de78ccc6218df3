//! The scrub: reads all images and all data of the journal again and again, slowly, compares them
//! with their checksums, and has bad ones repaired.
//!
//! `plan` decides what is next and when, `pace` holds the scrub to it, `progress` and `note` keep
//! how far it is, `image` looks after one image, `journal` after what the journal says of one
//! extent, `structure` after what surrounds that.
//!
//! INVARIANT: the scrub passes over nothing that it found bad: it has it repaired, or counts it as
//! bad and logs its place.
//! Spec: docs/protocol/seal.md §10.

pub(crate) mod image;
mod journal;
pub(crate) mod metrics;
mod note;
mod pace;
mod plan;
mod progress;
mod structure;
pub(crate) mod wanted;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use ds_image::ImageId;
use ds_store::Store;
use env::Env;
use layout::ExtentId;
use parking_lot::Mutex;

use crate::images::shelf::Shelf;
use crate::lease::Serving;
use crate::limits::SCRUB_NOTE_MS;
use crate::metrics::ClientLoad;
use crate::restore::Restorer;
use image::ImageScrub;
use journal::check_extent;
use metrics::ScrubMetrics;
use note::Note;
use pace::Pace;
pub(crate) use plan::Settings;
use plan::{Outcome, Plan, Step, Stock, Target};
use structure::check_structure;
use wanted::Wanted;

/// The scrub of a server.
pub(crate) struct Scrub {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) serving: Arc<Serving>,
    pub(crate) load: Arc<ClientLoad>,
    pub(crate) metrics: ScrubMetrics,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) restorer: Arc<Restorer>,
    pub(crate) images: ImageScrub,
}

impl Scrub {
    /// Scrubs, for ever; not at all if the period is 0.
    pub(crate) async fn run_rounds(self, settings: Settings, dir: PathBuf) {
        if settings.period_ms == 0 {
            return;
        }
        let mut note = Note::new(&self.env.disk, &dir, self.store.uuid());
        let plan = Mutex::new(Plan::new(settings, note.load_progress().await));
        let pace = Pace {
            clock: Arc::clone(&self.env.clock),
            store: self.store.clone(),
            shelf: Arc::clone(&self.images.shelf),
            load: Arc::clone(&self.load),
            metrics: self.metrics.clone(),
            plan,
        };
        let (mut listed, mut noted_ms) = (Listed::default(), 0);
        loop {
            let now = pace.now();
            for extent in self.wanted.take_extents() {
                pace.plan.lock().add_target(Target::Extent(extent), now);
            }
            let mut here = Here { store: &self.store, shelf: &pace.shelf, listed: &mut listed };
            let step = pace.plan.lock().next_step(now, &mut here);
            let due = match step {
                Step::Rest { ms } => {
                    pace.show_progress();
                    tokio::select! {
                        () = pace.clock.sleep_ms(ms) => {}
                        () = self.wanted.wait_for_request() => {}
                    }
                    false
                }
                Step::Begin | Step::End => {
                    if step == Step::End {
                        check_structure(&pace, &self.store, &self.serving).await;
                    }
                    pace.log_round(step);
                    true
                }
                Step::Check(target) => {
                    let outcome = self.check_target(&pace, target).await;
                    let now = pace.now();
                    pace.plan.lock().note_outcome(target, outcome, now);
                    tokio::task::yield_now().await;
                    noted_ms + SCRUB_NOTE_MS <= now.ms
                }
            };
            pace.show_progress();
            if due {
                noted_ms = now.ms;
                let progress = *pace.plan.lock().progress();
                note.save_progress(&progress).await;
            }
        }
    }

    async fn check_target(&self, pace: &Pace, target: Target) -> Outcome {
        let outcome = match target {
            Target::Image(image) => self.images.check_image(pace, image).await,
            Target::Extent(extent) => check_extent(pace, &self.store, &self.restorer, extent).await,
        };
        pace.count(outcome);
        outcome
    }
}

/// Extents that were listed and not checked yet: listing them takes a look at all.
#[derive(Default)]
struct Listed {
    extents: VecDeque<ExtentId>,
}

/// What is here to check.
struct Here<'a> {
    store: &'a Store,
    shelf: &'a Shelf,
    listed: &'a mut Listed,
}

impl Stock for Here<'_> {
    fn image_after(&mut self, after: Option<ImageId>) -> Option<ImageId> {
        let next = self.shelf.dir.list(after).first().map(|entry| entry.image);
        assert!(next.is_none() || after < next, "the directory lists images in order");
        next
    }

    fn extent_after(&mut self, after: Option<ExtentId>) -> Option<ExtentId> {
        let extents = &mut self.listed.extents;
        // Extents were listed in this order, so one that is not above belongs to another round.
        while extents.front().is_some_and(|first| Some(*first) <= after) {
            extents.pop_front();
        }
        if extents.is_empty() {
            extents.extend(self.store.extents_after(after));
        }
        let next = extents.front().copied();
        assert!(next.is_none() || after < next, "the store lists extents in order");
        next
    }
}
