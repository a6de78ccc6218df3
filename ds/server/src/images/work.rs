//! Images that metadata servers have made here: turns to make them, and the rate at which they are.
//!
//! `encode` makes the parity of a group, `rebuild` makes one image of a group again.
//!
//! Spec: docs/protocol/seal.md §3, §6.

use std::sync::Arc;

use env::Clock;
use tokio::sync::{Semaphore, SemaphorePermit};
use wire_nfs::control::Refusal;

use super::Images;
use super::outlet::Site;
use super::shelf::Shelf;
use crate::limits::{IMAGE_WORK_WAIT_MS_MAX, IMAGE_WORKS_MAX, IMAGE_WORKS_QUEUED_MAX};
use crate::space::Space;
use crate::throttle::Throttle;

/// What images are made with.
pub(crate) struct ImageWork {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) images: Arc<Images>,
    pub(super) site: Site,
    pub(super) space: Arc<Space>,
    /// Bytes of images that are made again.
    pub(super) repair: Throttle,
    turns: Turns,
}

/// Turns to make images.
struct Turns {
    /// Groups being encoded and images being made again.
    works: Semaphore,
    /// Those, and calls that wait for their turn.
    calls: Semaphore,
}

/// The right to do what a metadata server asks for, as long as this lives.
pub(super) struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _turn: SemaphorePermit<'a>,
}

impl ImageWork {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        images: Arc<Images>,
        space: Arc<Space>,
        repair: Throttle,
    ) -> Self {
        let works = Semaphore::new(IMAGE_WORKS_MAX);
        let calls = Semaphore::new(IMAGE_WORKS_MAX + IMAGE_WORKS_QUEUED_MAX);
        let site = images.site();
        Self { clock, images, site, space, repair, turns: Turns { works, calls } }
    }

    /// The images here.
    pub(super) fn shelf(&self) -> &Shelf {
        &self.site.shelf
    }

    /// The right to do what a metadata server asks for: in the order in which the calls came.
    ///
    /// # Errors
    /// BUSY if too many wait already, or its turn does not come.
    pub(super) async fn wait_for_call(&self) -> Result<Turn<'_>, Refusal> {
        let place = self.turns.calls.try_acquire().map_err(|_| Refusal::Busy)?;
        assert!(
            self.turns.calls.available_permits() < IMAGE_WORKS_MAX + IMAGE_WORKS_QUEUED_MAX,
            "a call has a place"
        );
        tokio::select! {
            biased;
            turn = self.turns.works.acquire() => {
                turn.map(|turn| Turn { _place: place, _turn: turn }).map_err(|_| Refusal::Busy)
            }
            () = self.clock.sleep_ms(IMAGE_WORK_WAIT_MS_MAX) => Err(Refusal::Busy),
        }
    }

    /// The right to make an image again: only so many are made at a time.
    pub(crate) async fn wait_for_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.works.acquire().await.ok()
    }
}
