//! The scrub: reads all images and all data of the journal again and again, slowly, compares them
//! with their checksums, and has bad ones made good.
//!
//! `plan` decides what is next and when, `progress` and `note` keep how far it is, `image` looks
//! after one image, `journal` after what the journal says of one extent, `structure` after what
//! surrounds that.
//!
//! INVARIANT: nothing that was found to be bad is passed over: it is made good, or counted as bad
//! and told with its place.
//! Spec: docs/protocol/seal.md §10.

mod image;
mod journal;
mod metrics;
mod note;
mod plan;
mod progress;
mod structure;
mod wanted;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use ds_image::ImageId;
use layout::ExtentId;
use parking_lot::Mutex;

use crate::core::Core;
use crate::limits::SCRUB_NOTE_MS;
pub(crate) use metrics::ScrubMetrics;
use note::Note;
pub(crate) use plan::Settings;
use plan::{Now, Outcome, Plan, Step, Stock, Target};
pub(crate) use wanted::Wanted;

/// The scrub of a server.
struct Scrub {
    core: Arc<Core>,
    plan: Mutex<Plan>,
}

/// Scrubs, for ever; not at all if the period is 0.
pub(crate) async fn run(core: Arc<Core>, settings: Settings, dir: PathBuf) {
    if settings.period_ms == 0 {
        return;
    }
    let mut note = Note::new(&core.env.disk, &dir, core.store.uuid());
    let plan = Mutex::new(Plan::new(settings, note.load().await));
    let scrub = Scrub { core, plan };
    let (mut listed, mut noted_ms) = (Listed::default(), 0);
    loop {
        let now = scrub.now();
        for extent in scrub.core.wanted.take() {
            scrub.plan.lock().look_at(Target::Extent(extent), now);
        }
        let step = scrub.plan.lock().step(now, &mut Here { core: &scrub.core, listed: &mut listed });
        let due = match step {
            Step::Rest { ms } => {
                scrub.show();
                tokio::select! {
                    () = scrub.core.env.clock.sleep_ms(ms) => {}
                    () = scrub.core.wanted.came() => {}
                }
                false
            }
            Step::Begin | Step::End => {
                if step == Step::End {
                    scrub.structure().await;
                }
                scrub.tell(step);
                true
            }
            Step::Check(target) => {
                let outcome = scrub.check(target).await;
                let now = scrub.now();
                scrub.plan.lock().done(target, outcome, now);
                tokio::task::yield_now().await;
                noted_ms + SCRUB_NOTE_MS <= now.ms
            }
        };
        scrub.show();
        if due {
            noted_ms = now.ms;
            let progress = *scrub.plan.lock().progress();
            note.save(&progress).await;
        }
    }
}

impl Scrub {
    fn now(&self) -> Now {
        let clock = &self.core.env.clock;
        Now { unix_ns: clock.wall_ns(), ms: clock.monotonic_ms() }
    }

    /// Bytes that a whole round reads.
    fn stock_bytes(&self) -> u64 {
        self.core.images.dir.usage().bytes + self.core.store.usage().live_bytes
    }

    fn show(&self) {
        self.core.scrub.show(&self.plan.lock(), self.stock_bytes());
    }

    fn tell(&self, step: Step) {
        let progress = *self.plan.lock().progress();
        if step == Step::Begin {
            tracing::info!(bytes = self.stock_bytes(), "a round of the scrub begins");
            return;
        }
        let progress::Progress { checked_bytes, found, repaired, bad, .. } = progress;
        tracing::info!(checked_bytes, found, repaired, bad, "a round of the scrub has ended");
        if 0 < bad {
            tracing::error!(bad, "the scrub leaves bad data behind");
        }
    }

    /// Bytes were read: lets others read as well.
    async fn passed(&self, bytes: u64) {
        let core = &self.core;
        core.scrub.checked_bytes.inc_by(bytes);
        let stock_bytes = self.stock_bytes();
        let pause_ms = self.plan.lock().passed(core.env.clock.wall_ns(), bytes, stock_bytes, core.is_busy());
        if 0 < pause_ms {
            core.env.clock.sleep_ms(pause_ms).await;
        }
    }

    async fn check(&self, target: Target) -> Outcome {
        let outcome = match target {
            Target::Image(image) => self.image(image).await,
            Target::Extent(extent) => self.extent(extent).await,
        };
        self.count(outcome);
        outcome
    }

    fn count(&self, outcome: Outcome) {
        self.core.scrub.found.inc_by(outcome.repaired + outcome.bad);
        self.core.scrub.repaired.inc_by(outcome.repaired);
    }
}

/// Extents that were listed and not looked at yet: listing them takes a look at all.
#[derive(Default)]
struct Listed {
    extents: VecDeque<ExtentId>,
}

/// What is here.
struct Here<'a> {
    core: &'a Core,
    listed: &'a mut Listed,
}

impl Stock for Here<'_> {
    fn image_after(&mut self, after: Option<ImageId>) -> Option<ImageId> {
        self.core.images.dir.list(after).first().map(|entry| entry.image)
    }

    fn extent_after(&mut self, after: Option<ExtentId>) -> Option<ExtentId> {
        let extents = &mut self.listed.extents;
        // Whatever is in there was listed in this order, so what is not above belongs to another
        // round.
        while extents.front().is_some_and(|first| Some(*first) <= after) {
            extents.pop_front();
        }
        if extents.is_empty() {
            extents.extend(self.core.store.extents_after(after));
        }
        extents.front().copied()
    }
}
